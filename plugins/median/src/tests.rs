//! The median against a huge client, and in any order.

use cellm_plugin::cohort::{info, layout, options, round, updates};
use cellm_plugin::{Aggregator, PolicyError};

use super::Median;

fn median() -> Median {
    Median::new(layout(&[(2, 2)], 1, false), &options::<Median>(&[])).unwrap()
}

#[test]
fn one_huge_client_moves_nothing_beyond_what_the_others_sent() {
    let honest = updates(4, 4, 1);
    let mut cohort = honest.clone();
    cohort.insert(2, (info(9), vec![1e30; 4]));
    let found = round(&mut median(), &[0.0; 4], &cohort).unwrap();
    for (j, value) in found.iter().enumerate() {
        assert!(honest.iter().any(|(_, update)| update[j] >= *value), "coordinate {j}: {value}");
    }
}

#[test]
fn of_an_even_number_it_is_the_mean_of_the_middle_two() {
    let cohort: Vec<_> = [1.0, 10.0, 2.0, -5.0].map(|value| (info(0), vec![value; 4])).into();
    assert_eq!(round(&mut median(), &[0.0; 4], &cohort), Ok(vec![1.5; 4]));
}

#[test]
fn the_order_of_clients_does_not_matter() {
    let mut cohort = updates(5, 4, 2);
    let one = round(&mut median(), &[0.0; 4], &cohort);
    cohort.rotate_left(2);
    assert_eq!(one, round(&mut median(), &[0.0; 4], &cohort));
}

#[test]
fn a_round_forgets_the_one_before_and_needs_an_update() {
    let mut median = median();
    let second = updates(3, 4, 4);
    round(&mut median, &[0.0; 4], &updates(3, 4, 3)).unwrap();
    assert_eq!(round(&mut median, &[0.0; 4], &second), round(&mut self::median(), &[0.0; 4], &second));
    assert_eq!(round(&mut median, &[0.0; 4], &[]), Err(PolicyError::NoUpdates));
}
