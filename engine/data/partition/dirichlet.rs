//! Flower's `DirichletPartitioner`: each class is split by proportions drawn from Dirichlet(alpha) (Yurochkin et al.
//! 2019, <https://arxiv.org/abs/1905.12022>).

use rand_core::Rng;

use super::super::{DataError, Dataset};
use super::{Config, groups, random_draws, too_many};

/// Draws before giving up on `min_partition_size`.
const ATTEMPTS: usize = 10;

/// Record indices of each client.
pub(super) fn split(dataset: &Dataset, config: &Config, random: &mut impl Rng) -> Result<Vec<Vec<u32>>, DataError> {
    let records = dataset.len();
    if config.clients > records {
        return Err(too_many(dataset, config, records, "records"));
    }
    let classes = groups(dataset);
    let mut best = 0;
    for _ in 0..ATTEMPTS {
        let shards = attempt(&classes, records, config, random);
        let smallest = shards.iter().map(Vec::len).min().unwrap_or(0);
        if smallest >= config.min_partition_size {
            return Ok(shards);
        }
        best = best.max(smallest);
    }
    Err(DataError::PartitionTooSmall {
        smallest: best,
        attempts: ATTEMPTS,
        wanted: config.min_partition_size,
        alpha: config.alpha,
        clients: config.clients,
        records,
    })
}

fn attempt(classes: &[(&str, Vec<u32>)], records: usize, config: &Config, random: &mut impl Rng) -> Vec<Vec<u32>> {
    let mut shards = vec![Vec::new(); config.clients];
    let average = records as f64 / config.clients as f64;
    for (_, class) in classes {
        let mut shares = random_draws::dirichlet(random, config.alpha, config.clients);
        if config.self_balancing {
            leave_out_the_full(&mut shares, &shards, average);
        }
        let (mut sum, mut start) = (0.0, 0);
        for (client, (shard, share)) in shards.iter_mut().zip(&shares).enumerate() {
            sum += share;
            let last = client + 1 == config.clients;
            let end = if last { class.len() } else { ((sum * class.len() as f64) as usize).clamp(start, class.len()) };
            shard.extend_from_slice(&class[start..end]);
            start = end;
        }
    }
    shards
}

/// Sets the proportions of clients above the average to 0 and scales the others to sum to 1. At least one client is not
/// above it.
fn leave_out_the_full(shares: &mut [f64], shards: &[Vec<u32>], average: f64) {
    let full = |shard: &Vec<u32>| shard.len() as f64 > average;
    for (share, shard) in shares.iter_mut().zip(shards) {
        if full(shard) {
            *share = 0.0;
        }
    }
    let sum: f64 = shares.iter().sum();
    let open = shards.iter().filter(|shard| !full(shard)).count() as f64;
    for (share, shard) in shares.iter_mut().zip(shards) {
        if sum > 0.0 {
            *share /= sum;
        } else if !full(shard) {
            *share = 1.0 / open;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Config as DataConfig;
    use super::super::tests::{config, triangle};
    use super::super::{Kind, Partition, partition};
    use super::*;
    use crate::random::{Purpose, stream};

    fn shards(dataset: &Dataset, config: &Config, seed: u64) -> Vec<Vec<u32>> {
        split(dataset, config, &mut stream(seed, Purpose::Partition, 0, 0)).unwrap()
    }

    /// Mean over clients of the share that a client's largest class has among its records.
    fn concentration(dataset: &Dataset, shards: &[Vec<u32>]) -> f64 {
        let largest = |shard: &Vec<u32>| {
            let mut counts = std::collections::HashMap::new();
            for &record in shard {
                *counts.entry(dataset.natural_id(record)).or_insert(0_u32) += 1;
            }
            f64::from(counts.into_values().max().unwrap_or(0)) / shard.len().max(1) as f64
        };
        shards.iter().map(largest).sum::<f64>() / shards.len() as f64
    }

    #[test]
    fn every_record_has_one_owner() {
        for balanced in [false, true] {
            let config = Config { self_balancing: balanced, ..config(Kind::Dirichlet, 7) };
            let mut all: Vec<u32> = shards(&triangle(30), &config, 1).concat();
            all.sort_unstable();
            assert_eq!(all, (0..465).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_small_alpha_gives_each_client_few_classes_and_a_large_one_all_of_them() {
        let data = triangle(40);
        let at = |alpha| concentration(&data, &shards(&data, &Config { alpha, ..config(Kind::Dirichlet, 8) }, 1));
        let (tiny, small, large) = (at(1e-6), at(0.1), at(1e6));
        assert!(tiny > small && small > 1.5 * large, "{tiny} {small} {large}");
    }

    #[test]
    fn balancing_keeps_clients_near_the_average() {
        let data = triangle(60);
        let largest = |self_balancing| {
            let config = Config { self_balancing, alpha: 0.05, ..config(Kind::Dirichlet, 6) };
            (0..20).map(|seed| shards(&data, &config, seed).iter().map(Vec::len).max().unwrap()).max().unwrap()
        };
        // 1,830 records over 6 clients: a client at the average of 305 may still get one class of 60.
        assert!(largest(true) <= 365 && largest(false) > 365);
    }

    #[test]
    fn a_minimum_that_cannot_hold_is_an_error_with_the_numbers() {
        let config = Config { min_partition_size: 60, ..config(Kind::Dirichlet, 4) };
        let error = partition(&triangle(20), &config, &DataConfig::default(), 1).unwrap_err().to_string();
        for part in
            ["in 10 draws", "partition.min_partition_size is 60", "partition.alpha 0.5", "4 clients, 210 records"]
        {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_minimum_that_can_hold_does() {
        let config = Config { min_partition_size: 20, alpha: 1.0, ..config(Kind::Dirichlet, 5) };
        let Partition { shards } = partition(&triangle(40), &config, &DataConfig::default(), 1).unwrap();
        assert!(shards.iter().all(|shard| shard.train.len() + shard.validation.len() >= 20));
    }
}
