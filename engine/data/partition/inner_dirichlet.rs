//! Flower's `InnerDirichletPartitioner`: each client draws proportions of the classes from Dirichlet(alpha), then its
//! records one by one by them (Acar et al. 2021, <https://arxiv.org/abs/2111.04263>).

use rand_core::Rng;

use super::super::{DataError, Dataset};
use super::{Config, by_size, classes, random_draws, too_many};

/// Record indices of each client, of even parts where the config gives no sizes. The next client to draw is chosen at
/// random among those that are not full; a class without records left is drawn no more.
pub(super) fn split(dataset: &Dataset, config: &Config, random: &mut impl Rng) -> Result<Vec<Vec<u32>>, DataError> {
    by_size::check_sum(dataset, config)?;
    if config.clients > dataset.len() {
        return Err(too_many(dataset, config, dataset.len(), "records"));
    }
    let mut classes: Vec<Vec<u32>> = classes(dataset).into_iter().map(|(_, records)| records).collect();
    classes.iter_mut().for_each(|records| random_draws::shuffle(random, records));
    let wanted = match config.partition_sizes.as_slice() {
        [] => vec![dataset.len() / config.clients; config.clients],
        sizes => sizes.to_vec(),
    };
    let mut shares: Vec<Vec<f64>> =
        wanted.iter().map(|_| random_draws::dirichlet(random, config.alpha, classes.len())).collect();
    let mut shards: Vec<Vec<u32>> = wanted.iter().map(|size| Vec::with_capacity(*size)).collect();
    let mut open: Vec<usize> = (0..wanted.len()).collect();
    while !open.is_empty() {
        let at = random_draws::uniform_below(random, open.len() as u64) as usize;
        let client = open[at];
        for (share, class) in shares[client].iter_mut().zip(&classes) {
            if class.is_empty() {
                *share = 0.0;
            }
        }
        let class = random_draws::weighted_index(random, &shares[client]).unwrap_or_else(|| {
            // All of the client's classes are used up: any other class is taken.
            let left: Vec<usize> = (0..classes.len()).filter(|class| !classes[*class].is_empty()).collect();
            left[random_draws::uniform_below(random, left.len() as u64) as usize]
        });
        shards[client].extend(classes[class].pop());
        if shards[client].len() == wanted[client] {
            open.swap_remove(at);
        }
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::super::super::Config as DataConfig;
    use super::super::tests::{concentration, config, even};
    use super::super::{Kind, partition};
    use super::*;

    #[test]
    fn clients_have_their_sizes_and_a_small_alpha_gives_them_few_classes() {
        let data = even(10, 100);
        let at = |alpha| {
            let config = Config { alpha, partition_sizes: vec![50, 100, 20], ..config(Kind::InnerDirichlet, 0) };
            let split = partition(&data, &config, &DataConfig::default(), 1).unwrap();
            let sizes: Vec<_> = split.shards.iter().map(|shard| shard.train.len() + shard.validation.len()).collect();
            assert_eq!(sizes, [50, 100, 20]);
            concentration(&data, &split)
        };
        let (small, large) = (at(0.1), at(1e6));
        assert!(small > 2.0 * large, "{small} {large}");
    }

    #[test]
    fn without_sizes_clients_have_even_parts() {
        let config = Config { alpha: 0.1, ..config(Kind::InnerDirichlet, 7) };
        let split = partition(&even(10, 10), &config, &DataConfig::default(), 1).unwrap();
        assert!(split.shards.iter().all(|shard| shard.train.len() + shard.validation.len() == 14));
        let error = partition(&even(2, 3), &config, &DataConfig::default(), 1).unwrap_err().to_string();
        assert!(error.contains("partition.clients is 7") && error.contains("6 records"), "{error}");
    }

    #[test]
    fn when_a_clients_classes_are_used_up_it_takes_others() {
        let config = Config { alpha: 1e-6, partition_sizes: vec![30, 30], ..config(Kind::InnerDirichlet, 0) };
        let split = partition(&even(4, 15), &config, &DataConfig::default(), 1).unwrap();
        assert!(split.shards.iter().all(|shard| shard.train.len() + shard.validation.len() == 30));
    }
}
