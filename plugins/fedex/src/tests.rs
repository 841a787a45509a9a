//! FedEx is exact: residual and product are together the mean of what the clients had.

use cellm_plugin::harness::{Adapter, Aggregation, near, normal_updates};
use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{PolicyError, UpdateInfo, Vector};

use super::FedEx;

const LAYERS: [(u32, u32); 2] = [(7, 5), (4, 9)];
const ADAPTER: u32 = 2 * (12 + 13);
const VALUES: u32 = ADAPTER + 35 + 36;

fn fedex(weighting: &str) -> Aggregation<FedEx> {
    Aggregation::new(&Adapter::lora(2, &LAYERS).with_residuals(), &[("weighting", weighting.into())]).unwrap()
}

fn normal(seed: u64, number: u64) -> Vec<f32> {
    Vector::random_normal(VALUES, seed, number).values()
}

/// Updates that leave the residuals alone, as clients do.
fn cohort(clients: u32) -> Vec<(Vec<f32>, UpdateInfo)> {
    let mut cohort = normal_updates(clients, VALUES, 2);
    cohort.iter_mut().for_each(|(update, _)| update[ADAPTER as usize..].fill(0.0));
    cohort
}

/// The layer's change of its frozen weight: `residual + scale B A`.
fn weight(pair: &Pair, values: &[f32]) -> Vec<f32> {
    let values = Vector::from_values(values.into());
    let weight = pair.residual.unwrap().of(&values);
    weight.axpy(1.0, &pair.product(&values));
    weight.values()
}

fn sum(one: &[f32], other: &[f32]) -> Vec<f32> {
    one.iter().zip(other).map(|(one, other)| one + other).collect()
}

#[test]
fn every_layer_becomes_the_exact_mean_of_the_clients_layers() {
    let (base, mut cohort) = (normal(1, 0), cohort(4));
    for (weighting, examples) in [("uniform", [1, 1, 1, 1]), ("examples", [1, 7, 2, 5])] {
        cohort.iter_mut().zip(examples).for_each(|((_, info), examples)| info.examples = examples);
        let end = sum(&base, &fedex(weighting).round(1, &base, &cohort).unwrap());
        let all: u64 = examples.iter().sum();
        for pair in pairs(&Adapter::lora(2, &LAYERS).with_residuals().layout).unwrap() {
            let mut mean = vec![0.0; (pair.outputs * pair.inputs) as usize];
            for (update, info) in &cohort {
                let of_client = weight(&pair, &sum(&base, update));
                mean.iter_mut()
                    .zip(of_client)
                    .for_each(|(mean, value)| *mean += value * info.examples as f32 / all as f32);
            }
            assert!(near(&weight(&pair, &end), &mean, 1e-5), "{weighting} {}", pair.layer);
        }
    }
}

#[test]
fn a_and_b_are_averaged_and_one_client_leaves_no_residual() {
    let (base, clients) = (normal(1, 0), cohort(3));
    let found = fedex("uniform").round(1, &base, &clients).unwrap();
    let mean: Vec<f32> =
        (0..ADAPTER as usize).map(|j| clients.iter().map(|(update, _)| update[j] / 3.0).sum()).collect();
    assert!(near(&found[..ADAPTER as usize], &mean, 1e-6));
    let alone = fedex("uniform").round(1, &base, &cohort(1)).unwrap();
    assert!(alone[ADAPTER as usize..].iter().all(|value| value.abs() < 1e-6));
}

#[test]
fn the_order_of_clients_matters_to_rounding_only() {
    let (base, mut cohort) = (normal(1, 0), cohort(5));
    let one = fedex("uniform").round(1, &base, &cohort).unwrap();
    cohort.rotate_left(2);
    assert!(near(&one, &fedex("uniform").round(1, &base, &cohort).unwrap(), 1e-5));
}

#[test]
fn without_residuals_the_error_names_the_key() {
    let Err(PolicyError::Other(message)) = Aggregation::<FedEx>::new(&Adapter::lora(2, &LAYERS), &[]).map(drop) else {
        panic!()
    };
    assert_eq!(message, "fedex needs a residual beside each of 2 pairs, 2 have none: set lora.residual = true");
    assert_eq!(fedex("uniform").round(1, &[0.0; VALUES as usize], &[]), Err(PolicyError::NoUpdates));
}
