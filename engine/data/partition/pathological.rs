//! Flower's `PathologicalPartitioner`: each client has a given number of classes, and a class is split evenly over the
//! clients that have it (Li et al. 2021, <https://arxiv.org/abs/2102.02079>).

use rand_core::Rng;

use super::super::{DataError, Dataset};
use super::{ClassAssignment, Config, classes, even_parts, random_draws};

/// Record indices of each client; a class that no client has is left out.
pub(super) fn split(dataset: &Dataset, config: &Config, random: &mut impl Rng) -> Result<Vec<Vec<u32>>, DataError> {
    let mut classes = classes(dataset);
    let each = config.num_classes_per_partition;
    if each > classes.len() {
        let allowed = format!("at most {}, the classes of {}", classes.len(), dataset.name());
        return Err(DataError::value("partition.num_classes_per_partition", each, allowed));
    }
    let mut owners: Vec<Vec<usize>> = vec![Vec::new(); classes.len()];
    for client in 0..config.clients {
        for class in chosen(client, classes.len(), each, config.class_assignment_mode, random) {
            owners[class].push(client);
        }
    }
    let mut shards = vec![Vec::new(); config.clients];
    for ((class, records), owners) in classes.iter_mut().zip(&owners) {
        if owners.len() > records.len() {
            let (clients, records) = (owners.len(), records.len());
            return Err(DataError::ClassTooSmall { class: (*class).into(), records, clients });
        }
        random_draws::shuffle(random, records);
        for (client, part) in owners.iter().zip(even_parts(records, owners.len())) {
            shards[*client].extend_from_slice(part);
        }
    }
    Ok(shards)
}

/// The classes of a client.
fn chosen(client: usize, classes: usize, each: usize, mode: ClassAssignment, random: &mut impl Rng) -> Vec<usize> {
    let first = client % classes;
    let fixed = match mode {
        ClassAssignment::Deterministic => return (0..each).map(|at| (first + at) % classes).collect(),
        ClassAssignment::FirstDeterministic => Some(first),
        ClassAssignment::Random => None,
    };
    let mut others: Vec<u32> = (0..classes as u32).filter(|class| Some(*class as usize) != fixed).collect();
    random_draws::shuffle(random, &mut others);
    let others = others.into_iter().map(|class| class as usize);
    fixed.into_iter().chain(others).take(each).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::Config as DataConfig;
    use super::super::tests::{config, even, names};
    use super::super::{Kind, partition};
    use super::*;

    fn split(mode: ClassAssignment, each: usize, clients: usize) -> Vec<Vec<String>> {
        let (data, split) = (even(5, 12), |config| partition(&even(5, 12), &config, &DataConfig::default(), 1));
        let config = Config {
            class_assignment_mode: mode,
            num_classes_per_partition: each,
            ..config(Kind::Pathological, clients)
        };
        names(&data, &split(config).unwrap())
    }

    #[test]
    fn every_client_has_so_many_classes() {
        for mode in [ClassAssignment::Random, ClassAssignment::Deterministic, ClassAssignment::FirstDeterministic] {
            let found = split(mode, 3, 7);
            assert!(found.iter().all(|classes| classes.len() == 3), "{mode:?}: {found:?}");
        }
    }

    #[test]
    fn fixed_classes_go_round() {
        let found = split(ClassAssignment::Deterministic, 2, 6);
        assert_eq!(found[..2], [vec!["id1", "id2"], vec!["id2", "id3"]]);
        assert_eq!((found[4].clone(), found[5].clone()), (vec!["id1".into(), "id5".into()], found[0].clone()));
        for (client, classes) in split(ClassAssignment::FirstDeterministic, 2, 5).iter().enumerate() {
            assert!(classes.contains(&format!("id{}", client + 1)), "{client}: {classes:?}");
        }
    }

    #[test]
    fn what_cannot_be_shared_is_named_with_both_numbers() {
        let message = |each, clients| {
            let config = Config {
                num_classes_per_partition: each,
                class_assignment_mode: ClassAssignment::Deterministic,
                ..config(Kind::Pathological, clients)
            };
            partition(&even(2, 3), &config, &DataConfig::default(), 1).unwrap_err().to_string()
        };
        let error = "partition.num_classes_per_partition is 3, it must be at most 2, the classes of even";
        assert_eq!(message(3, 2), error);
        assert_eq!(message(2, 4), "class `id1` has 3 records, but 4 clients are to share it");
    }
}
