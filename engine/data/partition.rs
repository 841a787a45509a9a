//! Partitioners: a dataset in, one shard for each client out. They and their arguments have the names of Flower
//! Datasets; the random draws are our own, so a seed gives other shards there.

mod by_size;
mod config;
mod dirichlet;
mod distribution;
mod grouped;
mod inner_dirichlet;
mod pathological;
mod random_draws;
mod shard;

use std::collections::HashMap;

pub use config::{ClassAssignment, Config, GroupMode, Kind};

use super::name_interner::by_value;
use super::{Config as DataConfig, DataError, Dataset};
use crate::random::{Purpose, stream};

/// One client's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The client's name: its natural id, else `client-N`.
    pub name: String,
    /// Indices of its training records, ascending.
    pub train: Vec<u32>,
    /// Indices of its validation records, ascending.
    pub validation: Vec<u32>,
}

/// The shards of all clients, in roster order; no record is in two shards, and with some partitioners some are in none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The shards, by client number.
    pub shards: Vec<Shard>,
}

/// Splits the records over clients, then each client's records into training and validation. Depends on the arguments
/// alone. A shard of `n` records holds out `n * validation`, rounded.
///
/// # Errors
/// [`DataError`] for settings outside their range or at odds with the data, for more clients than the data can give,
/// for a split that leaves a client too small, and [`DataError::EmptyShard`] for a client without a training record.
pub fn partition(dataset: &Dataset, config: &Config, data: &DataConfig, seed: u64) -> Result<Partition, DataError> {
    config.validate()?;
    let by_id = matches!(config.kind, Kind::NaturalId | Kind::GroupedNaturalId);
    if config.clients > dataset.len() && !by_id {
        return Err(too_many(dataset, config, dataset.len(), "records"));
    }
    let random = &mut stream(seed, Purpose::Partition, 0, 0);
    let owned = match config.kind {
        Kind::NaturalId => natural_id(dataset, config)?,
        Kind::GroupedNaturalId => numbered(grouped::split(dataset, config)?),
        Kind::Iid => numbered(by_size::iid(dataset, config, random)?),
        Kind::Dirichlet => numbered(dirichlet::split(dataset, config, random)?),
        Kind::InnerDirichlet => numbered(inner_dirichlet::split(dataset, config, random)?),
        Kind::Distribution => numbered(distribution::split(dataset, config, random)?),
        Kind::Pathological => numbered(pathological::split(dataset, config, random)?),
        Kind::Shard => numbered(shard::split(dataset, config, random)?),
        Kind::Size => numbered(by_size::given(dataset, config, random)?),
        Kind::Linear => numbered(by_size::by_number(dataset, config, |number| number, random)?),
        Kind::Square => numbered(by_size::by_number(dataset, config, |number| number * number, random)?),
        Kind::Exponential => {
            // Divided by the largest, so that no power overflows.
            let largest = config.clients as f64;
            numbered(by_size::by_number(dataset, config, |number| libm::exp(number - largest), random)?)
        }
    };
    let shards = owned.into_iter().zip(0..).map(|((name, records), client)| split(name, records, data, seed, client));
    Ok(Partition { shards: shards.collect::<Result<_, _>>()? })
}

impl Partition {
    /// The shards of a roster whose records lie elsewhere.
    pub fn elsewhere(names: &[String]) -> Self {
        let shard = |name: &String| Shard { name: name.clone(), train: Vec::new(), validation: Vec::new() };
        Self { shards: names.iter().map(shard).collect() }
    }

    /// Gives client `number` all records of its site's dataset, split as [`partition`] splits a client's.
    ///
    /// # Errors
    /// [`DataError::EmptyShard`] where nothing is left to train on.
    pub fn with_site(
        mut self,
        number: u32,
        dataset: &Dataset,
        data: &DataConfig,
        seed: u64,
    ) -> Result<Self, DataError> {
        if let Some(shard) = self.shards.get_mut(number as usize) {
            let records = (0..).take(dataset.len()).collect();
            *shard = split(std::mem::take(&mut shard.name), records, data, seed, number)?;
        }
        Ok(self)
    }
}

/// One client for each id. All ids come in the order of their names, as a deployed federation numbers its clients; of a number
/// of them, those with most text come first, equals in the order of the data.
fn natural_id(dataset: &Dataset, config: &Config) -> Result<Vec<(String, Vec<u32>)>, DataError> {
    let mut groups = groups(dataset);
    let size = |records: &[u32]| records.iter().map(|record| dataset.size(*record)).sum::<usize>();
    if config.clients > groups.len() {
        return Err(too_many(dataset, config, groups.len(), "ids"));
    }
    if config.clients == 0 {
        groups.sort_by_key(|(name, _)| *name);
    } else {
        groups.sort_by_cached_key(|(_, records)| std::cmp::Reverse(size(records)));
        groups.truncate(config.clients);
    }
    Ok(groups.into_iter().map(|(name, records)| (name.to_owned(), records)).collect())
}

/// Records by natural id, in the order in which the ids first occur.
fn groups(dataset: &Dataset) -> Vec<(&str, Vec<u32>)> {
    let mut places = HashMap::new();
    let mut groups: Vec<(&str, Vec<u32>)> = Vec::new();
    for number in (0..).take(dataset.len()) {
        let id = dataset.natural_id(number).unwrap_or_default();
        let place = *places.entry(id).or_insert_with(|| {
            groups.push((id, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(number);
    }
    groups
}

/// Records by class: [`groups`] sorted by name, numbers by value.
fn classes(dataset: &Dataset) -> Vec<(&str, Vec<u32>)> {
    let mut classes = groups(dataset);
    classes.sort_by(|(a, _), (b, _)| by_value(a, b));
    classes
}

/// `items` in `count` consecutive parts, the first ones longer by one where it does not divide.
fn even_parts<T>(items: &[T], count: usize) -> impl Iterator<Item = &[T]> {
    let (size, longer) = (items.len() / count.max(1), items.len() % count.max(1));
    let start = move |part: usize| part * size + part.min(longer);
    (0..count).map(move |part| &items[start(part)..start(part + 1)])
}

fn numbered(shards: Vec<Vec<u32>>) -> Vec<(String, Vec<u32>)> {
    let width = shards.len().saturating_sub(1).to_string().len();
    let name = |client: usize| format!("client-{client:0width$}");
    shards.into_iter().enumerate().map(|(client, records)| (name(client), records)).collect()
}

fn split(name: String, mut records: Vec<u32>, data: &DataConfig, seed: u64, client: u32) -> Result<Shard, DataError> {
    let count = records.len();
    let held_out = ((count as f64) * data.validation).round() as usize;
    if held_out >= count {
        return Err(DataError::EmptyShard {
            client: name,
            records: count,
            validation: held_out,
            share: data.validation,
        });
    }
    random_draws::shuffle(&mut stream(seed, Purpose::Split, 0, client), &mut records);
    let mut train = records.split_off(held_out);
    train.sort_unstable();
    records.sort_unstable();
    Ok(Shard { name, train, validation: records })
}

fn too_many(dataset: &Dataset, config: &Config, found: usize, unit: &'static str) -> DataError {
    DataError::TooManyClients { name: dataset.name().into(), wanted: config.clients, found, unit }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    /// Records `a`, `b`, `b`, `c`, `c`, `c`, ... : the n-th id has n records.
    pub(super) fn triangle(ids: usize) -> Dataset {
        Dataset::made_up("triangle", (1..=ids).flat_map(|id| (0..id).map(move |_| format!("id{id}"))))
    }

    /// `classes` classes of `each` records: `id1`, ..., one after the other.
    pub(super) fn even(classes: usize, each: usize) -> Dataset {
        let ids = (0..classes * each).map(move |record| format!("id{}", record % classes + 1));
        Dataset::made_up("even", ids)
    }

    fn records(shard: &Shard) -> impl Iterator<Item = u32> + '_ {
        shard.train.iter().chain(&shard.validation).copied()
    }

    /// The distinct natural ids of each client, sorted.
    pub(super) fn names(dataset: &Dataset, partition: &Partition) -> Vec<Vec<String>> {
        let of = |shard: &Shard| {
            let names: BTreeSet<String> =
                records(shard).map(|record| dataset.natural_id(record).unwrap().to_owned()).collect();
            let mut names: Vec<String> = names.into_iter().collect();
            names.sort_by(|a, b| by_value(a, b));
            names
        };
        partition.shards.iter().map(of).collect()
    }

    /// Mean over clients of the share that a client's largest class has among its records.
    pub(super) fn concentration(dataset: &Dataset, partition: &Partition) -> f64 {
        let largest = |shard: &Shard| {
            let mut counts = HashMap::new();
            records(shard).for_each(|record| *counts.entry(dataset.natural_id(record)).or_insert(0_u32) += 1);
            f64::from(counts.into_values().max().unwrap_or(0)) / records(shard).count().max(1) as f64
        };
        partition.shards.iter().map(largest).sum::<f64>() / partition.shards.len() as f64
    }

    pub(super) fn config(kind: Kind, clients: usize) -> Config {
        Config { kind, clients, min_partition_size: 0, ..Config::default() }
    }

    fn owners(partition: &Partition) -> Vec<u32> {
        let mut all: Vec<u32> =
            partition.shards.iter().flat_map(|shard| shard.train.iter().chain(&shard.validation).copied()).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn natural_ids_come_by_name_and_a_number_of_them_largest_first() {
        let data = DataConfig::default();
        let all = partition(&triangle(6), &config(Kind::NaturalId, 0), &data, 1).unwrap();
        let names: Vec<_> = all.shards.iter().map(|shard| shard.name.as_str()).collect();
        assert_eq!(names, ["id1", "id2", "id3", "id4", "id5", "id6"]);
        assert_eq!(owners(&all), (0..21).collect::<Vec<_>>());
        let two = partition(&triangle(6), &config(Kind::NaturalId, 2), &data, 1).unwrap();
        let names: Vec<_> = two.shards.iter().map(|shard| shard.name.as_str()).collect();
        assert_eq!(names, ["id6", "id5"]);
    }

    #[test]
    fn iid_shards_are_equal_and_own_every_record_once() {
        let split = partition(&triangle(6), &config(Kind::Iid, 4), &DataConfig::default(), 3).unwrap();
        let sizes: Vec<_> = split.shards.iter().map(|shard| shard.train.len() + shard.validation.len()).collect();
        assert_eq!(sizes, [6, 5, 5, 5]);
        assert_eq!(owners(&split), (0..21).collect::<Vec<_>>());
        assert_eq!(split.shards[1].name, "client-1");
    }

    #[test]
    fn a_split_depends_on_the_seed_and_on_nothing_else() {
        for kind in [Kind::NaturalId, Kind::Iid, Kind::Dirichlet] {
            let split = |seed| partition(&triangle(20), &config(kind, 3), &DataConfig::default(), seed).unwrap();
            assert_eq!(split(1), split(1));
            assert_ne!(split(1), split(2));
        }
    }

    /// A stored run is resumed on the shards it began with, so these numbers may never change.
    #[test]
    fn the_shards_of_a_seed_are_the_same_in_every_version() {
        let train = |kind| {
            let split = partition(&triangle(5), &config(kind, 3), &DataConfig::default(), 1).unwrap();
            split.shards.into_iter().map(|shard| shard.train).collect::<Vec<_>>()
        };
        assert_eq!(train(Kind::NaturalId), [vec![11, 12, 13, 14], vec![6, 7, 8], vec![4, 5]]);
        assert_eq!(train(Kind::Iid), [vec![0, 4, 7, 12], vec![1, 2, 9, 10], vec![5, 11, 13, 14]]);
        assert_eq!(train(Kind::Dirichlet), [vec![7, 10, 11, 12], vec![8], vec![0, 1, 2, 4, 5, 9, 14]]);
    }

    #[test]
    fn the_validation_share_of_each_shard_is_held_out() {
        let split = |validation| {
            let data = DataConfig { validation, ..DataConfig::default() };
            let split = partition(&triangle(10), &config(Kind::NaturalId, 0), &data, 1).unwrap();
            split.shards.iter().map(|shard| shard.validation.len()).collect::<Vec<_>>()
        };
        assert_eq!(split(0.2), [0, 2, 0, 1, 1, 1, 1, 1, 2, 2]);
        assert_eq!(split(0.0), [0; 10]);
        // 3.5 of 10 rounds up, as it is written; the nearest float of 32 bits is below 0.35.
        assert_eq!(split(0.35), [0, 4, 1, 1, 1, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn a_client_without_training_data_is_named_with_both_values() {
        let data = DataConfig { validation: 0.9, ..DataConfig::default() };
        let error = partition(&triangle(2), &config(Kind::NaturalId, 0), &data, 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "client `id1` has no training record: 1 records in its shard, 1 of them held out (data.validation 0.9)"
        );
    }

    #[test]
    fn more_clients_than_the_data_has_is_an_error_with_both_numbers() {
        let error =
            |kind| partition(&triangle(3), &config(kind, 7), &DataConfig::default(), 1).unwrap_err().to_string();
        assert_eq!(error(Kind::NaturalId), "partition.clients is 7, triangle has 3 ids");
        assert_eq!(error(Kind::Iid), "partition.clients is 7, triangle has 6 records");
        assert_eq!(error(Kind::Dirichlet), "partition.clients is 7, triangle has 6 records");
        for kind in [Kind::Linear, Kind::Square, Kind::Exponential, Kind::Pathological, Kind::Shard] {
            let config = Config { num_classes_per_partition: 1, shard_size: 1, ..config(kind, 100_000_000_000) };
            let error = partition(&triangle(3), &config, &DataConfig::default(), 1).unwrap_err().to_string();
            assert_eq!(error, "partition.clients is 100000000000, triangle has 6 records");
        }
    }

    const KINDS: [Kind; 12] = [
        Kind::NaturalId,
        Kind::GroupedNaturalId,
        Kind::Iid,
        Kind::Dirichlet,
        Kind::InnerDirichlet,
        Kind::Distribution,
        Kind::Pathological,
        Kind::Shard,
        Kind::Size,
        Kind::Linear,
        Kind::Square,
        Kind::Exponential,
    ];

    /// Kinds that give every record to someone, whatever the numbers.
    const COMPLETE: [Kind; 6] =
        [Kind::GroupedNaturalId, Kind::Iid, Kind::Dirichlet, Kind::Linear, Kind::Square, Kind::Exponential];

    proptest! {
        /// Whatever the numbers: a split is refused with words, or no record has two owners, nobody has nothing to train
        /// on, and the same seed gives the same split.
        #[test]
        fn every_record_has_at_most_one_owner(
            kind in prop::sample::select(&KINDS[..]),
            (classes, each, clients) in (1_usize..8, 1_usize..30, 1_usize..9),
            (number, size) in (1_usize..4, 0_usize..12),
            (alpha, flag, seed) in (0.05_f64..5.0, any::<bool>(), any::<u64>()),
        ) {
            let grouped = kind == Kind::GroupedNaturalId;
            let sized = matches!(kind, Kind::Size | Kind::InnerDirichlet);
            let columns = number * clients / classes;
            let config = Config {
                kind,
                clients: if grouped || sized { 0 } else { clients },
                alpha,
                min_partition_size: 0,
                self_balancing: flag,
                partition_sizes: vec![size + 1; clients],
                num_classes_per_partition: number,
                class_assignment_mode:
                    if flag { ClassAssignment::FirstDeterministic } else { ClassAssignment::Random },
                num_shards_per_partition: if flag { number } else { 0 },
                shard_size: size,
                keep_incomplete_shard: size % 2 == 0,
                group_size: number,
                mode: if flag { GroupMode::AllowBigger } else { GroupMode::AllowSmaller },
                sort_unique_ids: flag,
                distribution_array: vec![vec![alpha; columns]; classes],
                num_unique_labels_per_partition: number,
                preassigned_num_samples_per_label: 1,
                rescale: flag,
                ..Config::default()
            };
            let (dataset, data) = (even(classes, each), DataConfig::default());
            let Ok(split) = partition(&dataset, &config, &data, seed) else { return Ok(()) };
            let owned = owners(&split);
            prop_assert!(owned.windows(2).all(|pair| pair[0] < pair[1]), "{owned:?}");
            prop_assert!(split.shards.iter().all(|shard| !shard.train.is_empty()));
            if COMPLETE.contains(&kind) {
                prop_assert_eq!(owned.len(), classes * each);
            }
            if sized {
                prop_assert!(split.shards.iter().all(|shard| records(shard).count() == size + 1));
            }
            prop_assert_eq!(partition(&dataset, &config, &data, seed).unwrap(), split);
        }
    }

    #[test]
    fn the_bundled_data_gives_24_clients_of_one_role_each() {
        let start = Instant::now();
        let (data, config) = (DataConfig::default(), Config::default());
        let dataset = Dataset::load(&data, config.field(), None).unwrap();
        let split = partition(&dataset, &config, &data, 1).unwrap();
        eprintln!("bundled data loaded and split in {:?}", start.elapsed());
        assert_eq!(split.shards.len(), 24);
        for shard in &split.shards {
            let text = |numbers: &[u32]| numbers.iter().map(|record| dataset.size(*record)).sum::<usize>();
            assert!(text(&shard.train) > 8_000 && text(&shard.validation) > 1_000, "{}", shard.name);
        }
    }
}
