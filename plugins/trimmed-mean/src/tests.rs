//! The trimmed mean: what is cut, what is left, and when nothing would be.

use cellm_plugin::PolicyError;
use cellm_plugin::harness::{Adapter, Aggregation, normal_updates, update_info};

use super::{TrimmedMean, cut};

fn trimmed(trim: f64) -> Result<Aggregation<TrimmedMean>, PolicyError> {
    Aggregation::new(&Adapter::lora(1, &[(2, 2)]), &[("trim", trim.into())])
}

#[test]
fn the_extremes_of_each_coordinate_are_cut() {
    let cohort: Vec<_> = [1.0, 1e30, 2.0, -1e30, 6.0].map(|value| (vec![value; 4], update_info(0, &[]))).into();
    assert_eq!(trimmed(0.2).unwrap().round(1, &[0.0; 4], &cohort), Ok(vec![3.0; 4]));
}

#[test]
fn the_share_is_rounded_up_and_whole_numbers_stay() {
    assert_eq!((cut(0.2, 5), cut(0.2, 6), cut(0.1, 8), cut(0.07, 100), cut(0.2, 15)), (1, 2, 1, 7, 3));
}

#[test]
fn the_order_of_clients_does_not_matter() {
    let mut cohort = normal_updates(7, 4, 2);
    let one = trimmed(0.25).unwrap().round(1, &[0.0; 4], &cohort);
    cohort.rotate_left(3);
    assert_eq!(one, trimmed(0.25).unwrap().round(1, &[0.0; 4], &cohort));
}

#[test]
fn too_few_updates_and_too_large_a_share_are_errors_with_both_values() {
    let mut policy = trimmed(0.2).unwrap();
    let Err(PolicyError::Other(message)) = policy.round(1, &[0.0; 4], &normal_updates(2, 4, 1)) else { panic!() };
    assert_eq!(message, "2 updates came, but trim 0.2 cuts 1 at each end and needs at least 3");
    assert_eq!(policy.round(1, &[0.0; 4], &[]), Err(PolicyError::NoUpdates));
    let Err(PolicyError::BadOption(bad)) = trimmed(0.5).map(drop) else { panic!() };
    assert_eq!((bad.name.as_str(), bad.found.as_str()), ("trim", "0.5"));
}
