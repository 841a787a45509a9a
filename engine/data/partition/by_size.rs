//! Partitioners by size alone: Flower's `IidPartitioner`, `SizePartitioner`, `LinearPartitioner`, `SquarePartitioner`
//! and `ExponentialPartitioner`. Records are shuffled, then cut.

use rand_core::Rng;

use super::super::{DataError, Dataset};
use super::{Config, random_draws, too_many};

/// Equal parts; the first ones are one longer where it does not divide.
pub(super) fn iid(dataset: &Dataset, config: &Config, random: &mut impl Rng) -> Result<Vec<Vec<u32>>, DataError> {
    let (records, clients) = (dataset.len(), config.clients);
    if clients > records {
        return Err(too_many(dataset, config, records, "records"));
    }
    let size = |client| records / clients + usize::from(client < records % clients);
    Ok(cut(dataset, (0..clients).map(size), random))
}

/// Parts of `partition_sizes`; the rest has no owner.
pub(super) fn given(dataset: &Dataset, config: &Config, random: &mut impl Rng) -> Result<Vec<Vec<u32>>, DataError> {
    check_sum(dataset, config)?;
    Ok(cut(dataset, config.partition_sizes.iter().copied(), random))
}

/// Refuses `partition_sizes` whose sum is above the number of records.
pub(super) fn check_sum(dataset: &Dataset, config: &Config) -> Result<(), DataError> {
    let sum = config.partition_sizes.iter().fold(0_usize, |sum, size| sum.saturating_add(*size));
    if sum > dataset.len() {
        let allowed = format!("at most {}, the records of {}", dataset.len(), dataset.name());
        return Err(DataError::value("the sum of partition.partition_sizes", sum, allowed));
    }
    Ok(())
}

/// Client N, from 1, of `clients` gets records in proportion to `weight(N)`, rounded down; the last one also gets the
/// rest.
pub(super) fn by_number(
    dataset: &Dataset,
    config: &Config,
    weight: impl Fn(f64) -> f64,
    random: &mut impl Rng,
) -> Result<Vec<Vec<u32>>, DataError> {
    let (records, clients) = (dataset.len(), config.clients);
    let weights: Vec<f64> = (1..=clients).map(|number| weight(number as f64)).collect();
    let sum: f64 = weights.iter().sum();
    let mut sizes: Vec<usize> = weights.iter().map(|weight| (weight / sum * records as f64) as usize).collect();
    let left = records.saturating_sub(sizes.iter().sum());
    if let Some(last) = sizes.last_mut() {
        *last += left;
    }
    if let Some(client) = sizes.iter().position(|size| *size == 0) {
        return Err(DataError::NoShare { client, clients, records, name: dataset.name().into() });
    }
    Ok(cut(dataset, sizes.into_iter(), random))
}

fn cut(dataset: &Dataset, sizes: impl Iterator<Item = usize>, random: &mut impl Rng) -> Vec<Vec<u32>> {
    let mut numbers: Vec<u32> = (0..).take(dataset.len()).collect();
    random_draws::shuffle(random, &mut numbers);
    let mut rest = numbers.as_slice();
    let mut part = |size: usize| {
        let (part, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        part.to_vec()
    };
    sizes.map(&mut part).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::Config as DataConfig;
    use super::super::tests::{config, triangle};
    use super::super::{Kind, partition};
    use super::*;

    /// Shard sizes over 210 records.
    fn sizes(config: &Config) -> Result<Vec<usize>, String> {
        let split = partition(&triangle(20), config, &DataConfig::default(), 1).map_err(|error| error.to_string())?;
        Ok(split.shards.iter().map(|shard| shard.train.len() + shard.validation.len()).collect())
    }

    #[test]
    fn sizes_follow_the_number_of_the_client_and_the_last_one_gets_the_rest() {
        assert_eq!(sizes(&config(Kind::Linear, 5)).unwrap(), [14, 28, 42, 56, 70]);
        assert_eq!(sizes(&config(Kind::Square, 4)).unwrap(), [7, 28, 63, 112]);
        // e, e^2, e^3 of 30.19: shares of 0.0900, 0.2447, 0.6652.
        assert_eq!(sizes(&config(Kind::Exponential, 3)).unwrap(), [18, 51, 141]);
    }

    #[test]
    fn a_client_without_a_share_is_named() {
        assert_eq!(
            sizes(&config(Kind::Exponential, 30)).unwrap_err(),
            "client 0 of 30 has no share of the 210 records of triangle: take fewer partition.clients or another \
             partition.kind"
        );
    }

    #[test]
    fn given_sizes_are_kept_and_may_leave_records_out() {
        let given = |sizes: &[usize]| Config { partition_sizes: sizes.into(), ..config(Kind::Size, 0) };
        assert_eq!(sizes(&given(&[10, 100, 1])).unwrap(), [10, 100, 1]);
        assert_eq!(
            sizes(&given(&[10, 201])).unwrap_err(),
            "the sum of partition.partition_sizes is 211, it must be at most 210, the records of triangle"
        );
    }
}
