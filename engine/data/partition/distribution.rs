//! Flower's `DistributionPartitioner`: each class is split over the clients that have it by the proportions of the
//! config (after Li et al. 2020, <https://arxiv.org/abs/1812.06127>).

use rand_core::Rng;

use super::super::{DataError, Dataset};
use super::{Config, classes, random_draws};

/// Record indices of each client.
pub(super) fn split(dataset: &Dataset, config: &Config, random: &mut impl Rng) -> Result<Vec<Vec<u32>>, DataError> {
    let mut classes = classes(dataset);
    check(classes.len(), dataset.name(), config)?;
    let mut shards = vec![Vec::new(); config.clients];
    let count = classes.len();
    for (number, ((class, records), row)) in classes.iter_mut().zip(&config.distribution_array).enumerate() {
        random_draws::shuffle(random, records);
        let counts = if config.rescale { scaled(class, records.len(), row, config, random)? } else { rounded(row) };
        if counts.iter().sum::<usize>() > records.len() {
            let found = format!("{} records of class `{class}` together", counts.iter().sum::<usize>());
            let allowed = format!("at most {}, as many as there are", records.len());
            return Err(DataError::value("partition.distribution_array", found, allowed));
        }
        let mut rest = records.as_slice();
        for (owner, size) in owners(number, row.len(), count, config).into_iter().zip(counts) {
            let (part, after) = rest.split_at(size);
            shards[owner].extend_from_slice(part);
            rest = after;
        }
    }
    Ok(shards)
}

/// Checks that the array has a row for each class, and a column for each client that has the class.
fn check(classes: usize, name: &str, config: &Config) -> Result<(), DataError> {
    let (clients, each) = (config.clients, config.num_unique_labels_per_partition);
    if each > classes {
        let allowed = format!("at most {classes}, the classes of {name}");
        return Err(DataError::value("partition.num_unique_labels_per_partition", each, allowed));
    }
    if !clients.is_multiple_of(classes) {
        let allowed = format!("a multiple of {classes}, the classes of {name}");
        return Err(DataError::value("partition.clients", clients, allowed));
    }
    let (rows, columns) = (config.distribution_array.len(), config.distribution_array.first().map_or(0, Vec::len));
    let wanted = each * clients / classes;
    if (rows, columns) != (classes, wanted) {
        let allowed = format!("{classes} rows of {wanted}: a row a class, a number for each client that has it");
        return Err(DataError::value("partition.distribution_array", format!("{rows} rows of {columns}"), allowed));
    }
    Ok(())
}

/// The clients that have a class, ascending: in every block of as many clients as there are classes, the one with the
/// class's number and the `each - 1` after it.
fn owners(class: usize, columns: usize, classes: usize, config: &Config) -> Vec<usize> {
    let each = config.num_unique_labels_per_partition;
    let owner = |column: usize| (class + classes + 1 - each + column % each) % classes + classes * (column / each);
    let mut owners: Vec<usize> = (0..columns).map(owner).collect();
    owners.sort_unstable();
    owners
}

/// The split of a class: the preassigned records, then in proportion to the row; the rest of the rounding goes to
/// random clients.
fn scaled(
    class: &str,
    records: usize,
    row: &[f64],
    config: &Config,
    random: &mut impl Rng,
) -> Result<Vec<usize>, DataError> {
    let before = config.preassigned_num_samples_per_label;
    let Some(rest) = records.checked_sub(before.saturating_mul(row.len())) else {
        let allowed = format!("at most {}: class `{class}` has {records} records", records / row.len());
        return Err(DataError::value("partition.preassigned_num_samples_per_label", before, allowed));
    };
    let sum: f64 = row.iter().sum();
    let share = |value: &f64| if sum > 0.0 { (value / sum * rest as f64) as usize } else { 0 };
    let mut counts: Vec<usize> = row.iter().map(share).collect();
    for _ in counts.iter().sum()..rest {
        counts[random_draws::uniform_below(random, row.len() as u64) as usize] += 1;
    }
    counts.iter_mut().for_each(|count| *count += before);
    Ok(counts)
}

fn rounded(row: &[f64]) -> Vec<usize> {
    row.iter().map(|value| value.round() as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::Config as DataConfig;
    use super::super::tests::{config, even, names};
    use super::super::{Kind, Partition, partition};
    use super::*;

    fn distribution(clients: usize, array: &[&[f64]]) -> Config {
        let distribution_array = array.iter().map(|row| row.to_vec()).collect();
        Config { distribution_array, ..config(Kind::Distribution, clients) }
    }

    fn split(config: &Config) -> Result<Partition, String> {
        partition(&even(3, 40), config, &DataConfig::default(), 1).map_err(|error| error.to_string())
    }

    #[test]
    fn a_class_belongs_to_the_clients_of_its_number_and_those_after_it() {
        let config = Config { num_unique_labels_per_partition: 2, ..config(Kind::Distribution, 20) };
        assert_eq!(owners(0, 4, 10, &config), [0, 9, 10, 19]);
        assert_eq!(owners(1, 4, 10, &config), [0, 1, 10, 11]);
        assert_eq!(owners(3, 4, 10, &config), [2, 3, 12, 13]);
    }

    #[test]
    fn shares_are_proportions_of_all_records_after_the_preassigned_ones() {
        let mut config = distribution(3, &[&[1.0, 3.0], &[1.0, 1.0], &[0.0, 5.0]]);
        config.preassigned_num_samples_per_label = 2;
        let found = split(&config).unwrap();
        let sizes: Vec<_> = found.shards.iter().map(|shard| shard.train.len() + shard.validation.len()).collect();
        // Class 0 (clients 0 and 2): 11 and 29; class 1 (0 and 1): 20 and 20; class 2 (1 and 2): 2 and 38.
        assert_eq!(sizes, [31, 22, 67]);
        let classes = names(&even(3, 40), &found);
        assert_eq!(classes, [vec!["id1", "id2"], vec!["id2", "id3"], vec!["id1", "id3"]]);
    }

    #[test]
    fn shares_may_be_numbers_of_records() {
        let config = Config { rescale: false, ..distribution(3, &[&[5.0, 5.0], &[10.0, 30.0], &[1.0, 1.0]]) };
        let sizes: Vec<_> =
            split(&config).unwrap().shards.iter().map(|shard| shard.train.len() + shard.validation.len()).collect();
        assert_eq!(sizes, [15, 31, 6]);
        let config = Config { rescale: false, ..distribution(3, &[&[5.0, 36.0], &[1.0, 3.0], &[1.0, 1.0]]) };
        assert_eq!(
            split(&config).unwrap_err(),
            "partition.distribution_array is 41 records of class `id1` together, it must be at most 40, as many as there are"
        );
    }

    #[test]
    fn an_array_that_does_not_fit_is_an_error_with_the_shape_that_would() {
        let message = |clients, array: &[&[f64]]| split(&distribution(clients, array)).unwrap_err();
        let error = message(6, &[&[1.0, 3.0], &[1.0, 1.0], &[0.0, 5.0]]);
        assert!(error.starts_with("partition.distribution_array is 3 rows of 2, it must be 3 rows of 4"), "{error}");
        assert!(
            message(4, &[&[1.0]])
                .starts_with("partition.clients is 4, it must be a multiple of 3, the classes of even")
        );
        let mut config = distribution(3, &[&[1.0, 3.0], &[1.0, 1.0], &[0.0, 5.0]]);
        config.preassigned_num_samples_per_label = 30;
        assert!(
            split(&config).unwrap_err().contains("per_label is 30, it must be at most 20: class `id1` has 40 records")
        );
    }
}
