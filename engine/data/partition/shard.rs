//! Flower's `ShardPartitioner`: records sorted by class and cut into shards, which clients get at random (McMahan et
//! al. 2017, <https://arxiv.org/abs/1602.05629>).

use rand_core::Rng;

use super::super::{DataError, Dataset};
use super::{Config, classes, even_parts, random_draws};

/// Record indices of each client.
pub(super) fn split(dataset: &Dataset, config: &Config, random: &mut impl Rng) -> Result<Vec<Vec<u32>>, DataError> {
    let sorted: Vec<u32> = classes(dataset).into_iter().flat_map(|(_, records)| records).collect();
    let (clients, each) = (config.clients, config.num_shards_per_partition);
    let size = match config.shard_size {
        0 => sorted.len() / clients.saturating_mul(each),
        size => size,
    };
    let whole = sorted.len().checked_div(size).unwrap_or(0);
    let shards = match each {
        0 => whole + usize::from(config.keep_incomplete_shard && !sorted.len().is_multiple_of(size.max(1))),
        each => clients.saturating_mul(each),
    };
    if (each > 0 && (size == 0 || shards > whole)) || shards < clients {
        let records = sorted.len();
        return Err(DataError::TooFewShards {
            shards: if each > 0 { whole } else { shards },
            size,
            clients,
            each,
            records,
        });
    }
    let mut order: Vec<u32> = (0..shards as u32).collect();
    random_draws::shuffle(random, &mut order);
    let records = |shard: &u32| {
        let first = *shard as usize * size;
        &sorted[first..sorted.len().min(first + size)]
    };
    let client = |shards: &[u32]| shards.iter().flat_map(records).copied().collect();
    Ok(even_parts(&order, clients).map(client).collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::Config as DataConfig;
    use super::super::tests::{config, even, names};
    use super::super::{Kind, partition};
    use super::*;

    fn sizes(config: &Config) -> Result<Vec<usize>, String> {
        let split = partition(&even(5, 20), config, &DataConfig::default(), 1).map_err(|error| error.to_string())?;
        Ok(split.shards.iter().map(|shard| shard.train.len() + shard.validation.len()).collect())
    }

    fn shard(clients: usize, each: usize, size: usize) -> Config {
        Config { num_shards_per_partition: each, shard_size: size, ..config(Kind::Shard, clients) }
    }

    #[test]
    fn shards_have_one_size_and_clients_so_many_of_them() {
        assert_eq!(sizes(&shard(4, 2, 0)).unwrap(), [24; 4]);
        assert_eq!(sizes(&shard(4, 2, 10)).unwrap(), [20; 4]);
        assert_eq!(sizes(&shard(4, 0, 9)).unwrap(), [27, 27, 27, 18]);
        let mut all = sizes(&Config { keep_incomplete_shard: true, ..shard(4, 0, 9) }).unwrap();
        all.sort_unstable();
        assert_eq!(all.iter().sum::<usize>(), 100);
    }

    #[test]
    fn clients_have_few_classes() {
        let data = even(10, 10);
        let split = partition(&data, &shard(5, 2, 10), &DataConfig::default(), 1).unwrap();
        assert!(names(&data, &split).iter().all(|classes| classes.len() == 2));
    }

    #[test]
    fn too_few_shards_are_an_error_with_the_numbers() {
        assert_eq!(
            sizes(&shard(4, 3, 10)).unwrap_err(),
            "shard partition: 100 records make 10 shards of 10, but 4 clients are to have 3 each"
        );
        assert_eq!(
            sizes(&shard(4, 0, 30)).unwrap_err(),
            "shard partition: 100 records make 3 shards of 30, but 4 clients are to have 1 each"
        );
        assert!(sizes(&shard(60, 2, 0)).unwrap_err().contains("make 0 shards of 0"));
    }
}
