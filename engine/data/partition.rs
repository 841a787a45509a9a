//! Who owns which record: a dataset in, one shard a client out. The partitioners and their arguments are those of Flower
//! Datasets (`NaturalIdPartitioner`, `IidPartitioner`, `DirichletPartitioner`).

mod config;
mod dirichlet;
mod draw;

use std::collections::HashMap;

use rand_core::Rng;

pub use config::{Config, Kind};

use super::{Config as DataConfig, DataError, Dataset};
use crate::random::{Purpose, stream};

/// One client's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The client's name: its natural id, else `client-N`.
    pub name: String,
    /// Numbers of the records it trains on, ascending.
    pub train: Vec<u32>,
    /// Numbers of the records it is evaluated on, ascending.
    pub validation: Vec<u32>,
}

/// All clients, in roster order; no record has two owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The shards; a client's number is its place here.
    pub shards: Vec<Shard>,
}

/// Splits the records over clients, then each client's records into training and validation. Depends on the arguments alone.
///
/// A shard of `n` records holds out `n * validation`, rounded.
///
/// # Errors
/// Settings outside their range, more clients than the data can give, a Dirichlet split that leaves a client too small,
/// and [`DataError::EmptyShard`] where a client has no record to train on.
pub fn partition(dataset: &Dataset, config: &Config, data: &DataConfig, seed: u64) -> Result<Partition, DataError> {
    config.validate()?;
    let random = &mut stream(seed, Purpose::Partition, 0, 0);
    let owned = match config.kind {
        Kind::NaturalId => natural_id(dataset, config)?,
        Kind::Iid => numbered(iid(dataset, config, random)?),
        Kind::Dirichlet => numbered(dirichlet::split(dataset, config, random)?),
    };
    let shards = owned.into_iter().zip(0..).map(|((name, records), client)| split(name, records, data, seed, client));
    Ok(Partition { shards: shards.collect::<Result<_, _>>()? })
}

/// One client an id, the one with most text first, equals in the order of the data.
fn natural_id(dataset: &Dataset, config: &Config) -> Result<Vec<(String, Vec<u32>)>, DataError> {
    let mut groups = groups(dataset);
    let size = |records: &[u32]| records.iter().map(|&i| dataset.records[i as usize].text.len()).sum::<usize>();
    groups.sort_by_cached_key(|(_, records)| std::cmp::Reverse(size(records)));
    if config.clients > groups.len() {
        return Err(too_many(dataset, config, groups.len(), "ids"));
    }
    if config.clients > 0 {
        groups.truncate(config.clients);
    }
    Ok(groups.into_iter().map(|(name, records)| (name.to_owned(), records)).collect())
}

/// Records by natural id, in the order in which the ids first occur.
fn groups(dataset: &Dataset) -> Vec<(&str, Vec<u32>)> {
    let mut places = HashMap::new();
    let mut groups: Vec<(&str, Vec<u32>)> = Vec::new();
    for (record, number) in dataset.records.iter().zip(0..) {
        let id = record.natural_id.as_deref().unwrap_or_default();
        let place = *places.entry(id).or_insert_with(|| {
            groups.push((id, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(number);
    }
    groups
}

/// Shuffled, then cut into equal parts; the first ones are one longer where it does not divide.
fn iid(dataset: &Dataset, config: &Config, random: &mut impl Rng) -> Result<Vec<Vec<u32>>, DataError> {
    let (records, clients) = (dataset.records.len(), config.clients);
    if clients > records {
        return Err(too_many(dataset, config, records, "records"));
    }
    let mut numbers: Vec<u32> = (0..).take(records).collect();
    draw::shuffle(random, &mut numbers);
    let mut rest = numbers.as_slice();
    let mut shards = Vec::with_capacity(clients);
    for client in 0..clients {
        let (shard, after) = rest.split_at(records / clients + usize::from(client < records % clients));
        shards.push(shard.to_vec());
        rest = after;
    }
    Ok(shards)
}

fn numbered(shards: Vec<Vec<u32>>) -> Vec<(String, Vec<u32>)> {
    let width = shards.len().saturating_sub(1).to_string().len();
    let name = |client: usize| format!("client-{client:0width$}");
    shards.into_iter().enumerate().map(|(client, records)| (name(client), records)).collect()
}

fn split(name: String, mut records: Vec<u32>, data: &DataConfig, seed: u64, client: u32) -> Result<Shard, DataError> {
    let count = records.len();
    let held_out = ((count as f64) * f64::from(data.validation)).round() as usize;
    if held_out >= count {
        return Err(DataError::EmptyShard {
            client: name,
            records: count,
            validation: held_out,
            share: data.validation,
        });
    }
    draw::shuffle(&mut stream(seed, Purpose::Split, 0, client), &mut records);
    let mut train = records.split_off(held_out);
    train.sort_unstable();
    records.sort_unstable();
    Ok(Shard { name, train, validation: records })
}

fn too_many(dataset: &Dataset, config: &Config, found: usize, unit: &'static str) -> DataError {
    DataError::TooManyClients { name: dataset.name.clone(), wanted: config.clients, found, unit }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::Record;
    use super::*;

    /// Records `a`, `b`, `b`, `c`, `c`, `c`, ... : the n-th id has n records.
    pub(super) fn triangle(ids: usize) -> Dataset {
        let name = |id: usize| format!("id{id}").into();
        let record = |id| Record { text: "to be".into(), label: None, natural_id: Some(name(id)), class: None };
        Dataset {
            records: (1..=ids).flat_map(|id| (0..id).map(move |_| record(id))).collect(),
            name: "triangle".into(),
            classes: std::sync::Arc::default(),
        }
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
    fn natural_ids_come_largest_first_and_may_be_cut_to_a_number() {
        let data = DataConfig::default();
        let all = partition(&triangle(6), &config(Kind::NaturalId, 0), &data, 1).unwrap();
        let names: Vec<_> = all.shards.iter().map(|shard| shard.name.as_str()).collect();
        assert_eq!(names, ["id6", "id5", "id4", "id3", "id2", "id1"]);
        assert_eq!(owners(&all), (0..21).collect::<Vec<_>>());
        let two = partition(&triangle(6), &config(Kind::NaturalId, 2), &data, 1).unwrap();
        assert_eq!(two.shards, all.shards[..2]);
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
        assert_eq!(split(0.2), [2, 2, 2, 1, 1, 1, 1, 1, 0, 0]);
        assert_eq!(split(0.0), [0; 10]);
    }

    #[test]
    fn a_client_without_training_data_is_named_with_both_values() {
        let data = DataConfig { validation: 0.9, ..DataConfig::default() };
        let error = partition(&triangle(2), &config(Kind::NaturalId, 0), &data, 1).unwrap_err().to_string();
        assert_eq!(
            error,
            "client `id2` has no training record: 2 records in its shard, 2 of them held out (data.validation 0.9)"
        );
    }

    #[test]
    fn more_clients_than_the_data_has_is_an_error_with_both_numbers() {
        let error =
            |kind| partition(&triangle(3), &config(kind, 7), &DataConfig::default(), 1).unwrap_err().to_string();
        assert_eq!(error(Kind::NaturalId), "partition.clients is 7, triangle has 3 ids");
        assert_eq!(error(Kind::Iid), "partition.clients is 7, triangle has 6 records");
        assert_eq!(error(Kind::Dirichlet), "partition.clients is 7, triangle has 6 records");
    }

    #[test]
    fn the_bundled_data_gives_24_clients_of_one_role_each() {
        let start = Instant::now();
        let (data, config) = (DataConfig::default(), Config::default());
        let dataset = Dataset::load(&data, config.field()).unwrap();
        let split = partition(&dataset, &config, &data, 1).unwrap();
        eprintln!("bundled data loaded and split in {:?}", start.elapsed());
        assert_eq!(split.shards.len(), 24);
        for shard in &split.shards {
            let text = |numbers: &[u32]| numbers.iter().map(|&i| dataset.records[i as usize].text.len()).sum::<usize>();
            assert!(text(&shard.train) > 8_000 && text(&shard.validation) > 1_000, "{}", shard.name);
        }
    }
}
