//! Weights by loss against the formula, and the cases in which every client counts the same.

use cellm_plugin::cohort::{layout, near, options, round, updates};
use cellm_plugin::{Aggregator, PolicyError, UpdateInfo};

use super::FedLol;

fn fedlol() -> FedLol {
    FedLol::new(layout(&[(2, 2)], 1, false), &options::<FedLol>(&[])).unwrap()
}

fn with_losses(losses: &[f64]) -> Vec<(UpdateInfo, Vec<f32>)> {
    let mut cohort = updates(losses.len() as u32, 4, 5);
    cohort.iter_mut().zip(losses).for_each(|((info, _), loss)| info.loss = *loss);
    cohort
}

fn weighted(cohort: &[(UpdateInfo, Vec<f32>)], weights: &[f64]) -> Vec<f32> {
    let at =
        |j: usize| cohort.iter().zip(weights).map(|((_, update), weight)| weight * f64::from(update[j])).sum::<f64>();
    (0..4).map(|j| at(j) as f32).collect()
}

#[test]
fn a_weight_is_the_share_of_the_others_losses() {
    let cohort = with_losses(&[1.0, 4.0, 0.0, 3.0]);
    // L = 8 and n - 1 = 3.
    let expected = weighted(&cohort, &[7.0 / 24.0, 4.0 / 24.0, 8.0 / 24.0, 5.0 / 24.0]);
    let found = round(&mut fedlol(), &[0.0; 4], &cohort).unwrap();
    assert!(near(&found, &expected, 1e-6), "{found:?} {expected:?}");
}

#[test]
fn the_order_of_clients_matters_to_rounding_only() {
    let mut cohort = with_losses(&[1.0, 4.0, 2.0, 3.0, 0.5]);
    let one = round(&mut fedlol(), &[0.0; 4], &cohort).unwrap();
    cohort.rotate_left(2);
    assert!(near(&one, &round(&mut fedlol(), &[0.0; 4], &cohort).unwrap(), 1e-6));
}

#[test]
fn one_client_no_loss_a_missing_loss_and_equal_losses_count_all_the_same() {
    for losses in [&[3.0][..], &[0.0; 3], &[2.5; 4], &[1.0, f64::NAN, 2.0], &[1.0, 2.0, -1.0], &[f64::INFINITY, 1.0]] {
        let cohort = with_losses(losses);
        let expected = weighted(&cohort, &vec![1.0 / losses.len() as f64; losses.len()]);
        let found = round(&mut fedlol(), &[0.0; 4], &cohort).unwrap();
        assert!(near(&found, &expected, 1e-6), "{losses:?}: {found:?} {expected:?}");
    }
    assert_eq!(round(&mut fedlol(), &[0.0; 4], &[]), Err(PolicyError::NoUpdates));
}

#[test]
fn an_absurd_loss_takes_its_own_client_out_and_overflows_nothing() {
    let cohort = with_losses(&[1.0, f64::MAX, 2.0]);
    let expected = weighted(&cohort, &[0.5, 0.0, 0.5]);
    let found = round(&mut fedlol(), &[0.0; 4], &cohort).unwrap();
    assert!(near(&found, &expected, 1e-6), "{found:?} {expected:?}");
}
