//! The median against a huge client, and in any order.

use cellm_plugin::PolicyError;
use cellm_plugin::harness::{Adapter, Aggregation, normal_updates, update_info};

use super::Median;

fn median() -> Aggregation<Median> {
    Aggregation::new(&Adapter::lora(1, &[(2, 2)]), &[]).unwrap()
}

#[test]
fn one_huge_client_moves_nothing_beyond_what_the_others_sent() {
    let honest = normal_updates(4, 4, 1);
    let mut cohort = honest.clone();
    cohort.insert(2, (vec![1e30; 4], update_info(9, &[])));
    let found = median().round(1, &[0.0; 4], &cohort).unwrap();
    for (j, value) in found.iter().enumerate() {
        assert!(honest.iter().any(|(update, _)| update[j] >= *value), "coordinate {j}: {value}");
    }
}

#[test]
fn of_an_even_number_it_is_the_mean_of_the_middle_two() {
    let cohort: Vec<_> = [1.0, 10.0, 2.0, -5.0].map(|value| (vec![value; 4], update_info(0, &[]))).into();
    assert_eq!(median().round(1, &[0.0; 4], &cohort), Ok(vec![1.5; 4]));
}

#[test]
fn the_order_of_clients_does_not_matter() {
    let mut cohort = normal_updates(5, 4, 2);
    let one = median().round(1, &[0.0; 4], &cohort);
    cohort.rotate_left(2);
    assert_eq!(one, median().round(1, &[0.0; 4], &cohort));
}

#[test]
fn a_round_forgets_the_one_before_and_needs_an_update() {
    let mut median = median();
    let second = normal_updates(3, 4, 4);
    median.round(1, &[0.0; 4], &normal_updates(3, 4, 3)).unwrap();
    assert_eq!(median.round(1, &[0.0; 4], &second), self::median().round(1, &[0.0; 4], &second));
    assert_eq!(median.round(1, &[0.0; 4], &[]), Err(PolicyError::NoUpdates));
}
