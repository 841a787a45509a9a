//! Weights by loss against the formula, and the cases in which every client counts the same.

use cellm_plugin::harness::{Adapter, Aggregation, near, normal_updates};
use cellm_plugin::{PolicyError, UpdateInfo};

use super::FedLol;

fn fedlol() -> Aggregation<FedLol> {
    Aggregation::new(&Adapter::lora(1, &[(2, 2)]), &[]).unwrap()
}

fn with_losses(losses: &[f64]) -> Vec<(Vec<f32>, UpdateInfo)> {
    let mut cohort = normal_updates(losses.len() as u32, 4, 5);
    cohort.iter_mut().zip(losses).for_each(|((_, info), loss)| info.loss = Some(*loss));
    cohort
}

fn weighted(cohort: &[(Vec<f32>, UpdateInfo)], weights: &[f64]) -> Vec<f32> {
    let at =
        |j: usize| cohort.iter().zip(weights).map(|((update, _), weight)| weight * f64::from(update[j])).sum::<f64>();
    (0..4).map(|j| at(j) as f32).collect()
}

#[test]
fn a_weight_is_the_share_of_the_others_losses() {
    let cohort = with_losses(&[1.0, 4.0, 0.0, 3.0]);
    // L = 8 and n - 1 = 3.
    let expected = weighted(&cohort, &[7.0 / 24.0, 4.0 / 24.0, 8.0 / 24.0, 5.0 / 24.0]);
    let found = fedlol().round(1, &[0.0; 4], &cohort).unwrap();
    assert!(near(&found, &expected, 1e-6), "{found:?} {expected:?}");
}

#[test]
fn the_order_of_clients_matters_to_rounding_only() {
    let mut cohort = with_losses(&[1.0, 4.0, 2.0, 3.0, 0.5]);
    let one = fedlol().round(1, &[0.0; 4], &cohort).unwrap();
    cohort.rotate_left(2);
    assert!(near(&one, &fedlol().round(1, &[0.0; 4], &cohort).unwrap(), 1e-6));
}

#[test]
fn one_client_no_loss_and_equal_losses_count_all_the_same() {
    for losses in [&[3.0][..], &[0.0; 3], &[2.5; 4]] {
        let cohort = with_losses(losses);
        let expected = weighted(&cohort, &vec![1.0 / losses.len() as f64; losses.len()]);
        let found = fedlol().round(1, &[0.0; 4], &cohort).unwrap();
        assert!(near(&found, &expected, 1e-6), "{losses:?}: {found:?} {expected:?}");
    }
    assert_eq!(fedlol().round(1, &[0.0; 4], &[]), Err(PolicyError::NoUpdates));
}

#[test]
fn an_absurd_loss_takes_its_own_client_out_and_overflows_nothing() {
    let cohort = with_losses(&[1.0, f64::MAX, 2.0]);
    let expected = weighted(&cohort, &[0.5, 0.0, 0.5]);
    let found = fedlol().round(1, &[0.0; 4], &cohort).unwrap();
    assert!(near(&found, &expected, 1e-6), "{found:?} {expected:?}");
}

#[test]
fn a_client_whose_loss_is_not_known_counts_as_in_the_plain_mean() {
    let mut cohort = with_losses(&[1.0, 0.0, 3.0, 0.0]);
    (cohort[1].1.loss, cohort[3].1.loss) = (None, None);
    // The two others have L = 4, and what is not known counts as 2: w = (8 - l) / (3 * 8).
    let expected = weighted(&cohort, &[7.0 / 24.0, 0.25, 5.0 / 24.0, 0.25]);
    let found = fedlol().round(1, &[0.0; 4], &cohort).unwrap();
    assert!(near(&found, &expected, 1e-6), "{found:?} {expected:?}");
    cohort.rotate_left(1);
    assert!(near(&found, &fedlol().round(1, &[0.0; 4], &cohort).unwrap(), 1e-6), "in another order");
    cohort.iter_mut().for_each(|(_, info)| info.loss = None);
    let found = fedlol().round(1, &[0.0; 4], &cohort).unwrap();
    assert!(near(&found, &weighted(&cohort, &[0.25; 4]), 1e-6), "where no loss is known");
}

#[test]
fn a_client_with_a_loss_that_is_none_is_refused_and_leaves_no_trace() {
    for bad in [-1.0, f64::INFINITY] {
        let cohort = with_losses(&[1.0, bad, 3.0]);
        let mut fedlol = fedlol();
        let found = fedlol.round(1, &[0.0; 4], &cohort);
        assert_eq!(fedlol.refused, [1]);
        let others = [cohort[0].clone(), cohort[2].clone()];
        assert_eq!(found, self::fedlol().round(1, &[0.0; 4], &others));
    }
}
