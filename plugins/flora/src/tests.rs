//! FLoRA keeps the mean product, all of it in the residual, and starts anew.

use cellm_plugin::harness::{Adapter, Aggregation, near, normal_updates};
use cellm_plugin::pairs::{Pair, pairs};
use cellm_plugin::{OptionValue, PolicyError, UpdateInfo, Vector};

use super::Flora;

const LAYERS: [(u32, u32); 2] = [(7, 5), (4, 9)];
const ADAPTER: u32 = 2 * (12 + 13);
const VALUES: u32 = ADAPTER + 35 + 36;

fn flora(restart: &str) -> Aggregation<Flora> {
    Aggregation::new(&Adapter::lora(2, &LAYERS).with_residuals(), &[("restart", restart.into())]).unwrap()
}

fn normal(seed: u64, number: u64) -> Vec<f32> {
    Vector::random_normal(VALUES, seed, number).values()
}

fn layers() -> Vec<Pair> {
    pairs(&Adapter::lora(2, &LAYERS).with_residuals().layout).unwrap()
}

/// Updates that leave the residuals alone, as clients do.
fn cohort(clients: u32, seed: u64) -> Vec<(Vec<f32>, UpdateInfo)> {
    let mut cohort = normal_updates(clients, VALUES, seed);
    cohort.iter_mut().for_each(|(update, _)| update[ADAPTER as usize..].fill(0.0));
    cohort
}

fn sum(one: &[f32], other: &[f32]) -> Vec<f32> {
    one.iter().zip(other).map(|(one, other)| one + other).collect()
}

fn weight(pair: &Pair, values: &[f32]) -> Vec<f32> {
    let values = Vector::from_values(values.into());
    let weight = pair.residual.unwrap().of(&values);
    weight.axpy(1.0, &pair.product(&values));
    weight.values()
}

#[test]
fn the_residual_takes_the_whole_mean_product_and_b_starts_at_zero() {
    let (base, cohort) = (normal(1, 0), cohort(4, 2));
    let end = sum(&base, &flora("fresh").round(1, &base, &cohort).unwrap());
    for pair in layers() {
        let mut mean = vec![0.0; (pair.outputs * pair.inputs) as usize];
        for (update, _) in &cohort {
            let of_client = weight(&pair, &sum(&base, update));
            mean.iter_mut().zip(of_client).for_each(|(mean, value)| *mean += value / 4.0);
        }
        assert!(near(&weight(&pair, &end), &mean, 1e-5), "{}", pair.layer);
        let values = Vector::from_values(end.clone());
        assert!(near(&pair.residual.unwrap().of(&values).values(), &mean, 1e-5));
        assert!(pair.b.of(&values).values().iter().all(|value| *value == 0.0));
    }
}

#[test]
fn a_fresh_start_is_bounded_differs_between_pairs_and_repeats_for_its_seed() {
    let drawn = super::restart::drawn(&layers(), 5);
    for (pair, a) in layers().iter().zip(&drawn) {
        let bound = 1.0 / (pair.inputs as f32).sqrt();
        assert!(a.max_abs() <= bound && a.max_abs() > 0.5 * bound);
        assert!((a.sum() / f64::from(a.len())).abs() < f64::from(bound) / 2.0);
    }
    assert_ne!(drawn[0].values()[..5], drawn[1].values()[..5]);
    assert_eq!(drawn[0].values(), super::restart::drawn(&layers(), 5)[0].values());
    assert_ne!(drawn[0].values(), super::restart::drawn(&layers(), 6)[0].values());
}

#[test]
fn a_start_that_is_remembered_comes_back_each_round() {
    let (base, mut flora) = (normal(1, 0), flora("start"));
    let first = flora.round(1, &base, &cohort(3, 2)).unwrap();
    let second_base = sum(&base, &first);
    let third_base = sum(&second_base, &normal(1, 1));
    let second = flora.round(2, &third_base, &cohort(3, 3)).unwrap();
    let (one, other) = (sum(&base, &first), sum(&third_base, &second));
    for pair in layers() {
        let at = pair.a.offset as usize..(pair.a.offset + pair.a.len) as usize;
        assert!(near(&one[at.clone()], &base[at.clone()], 1e-6) && near(&other[at.clone()], &base[at], 1e-6));
    }
}

#[test]
fn a_head_by_loss_counts_clients_by_the_losses_of_the_others_and_leaves_the_rest() {
    let layout = Adapter::lora(1, &[(2, 2)]).with_residuals().with_head(3, 2);
    let (values, head) = (layout.values() as usize, 8);
    let mut cohort = normal_updates(3, values as u32, 4);
    cohort.iter_mut().zip([1.0, 4.0, 3.0]).for_each(|((_, info), loss)| info.loss = Some(loss));
    let end = |options: &[(&str, OptionValue)]| {
        let mut flora: Aggregation<Flora> = Aggregation::new(&layout, options).unwrap();
        flora.round(1, &vec![0.0; values], &cohort).unwrap()
    };
    let (by_mean, by_loss) = (end(&[]), end(&[("head", "loss".into())]));
    assert_eq!(by_mean[..head], by_loss[..head]);
    // L = 8 and n - 1 = 2.
    let weighted = |j: usize| {
        let parts = cohort.iter().zip([7.0, 4.0, 5.0]);
        parts.map(|((update, _), weight)| weight / 16.0 * update[j]).sum::<f32>()
    };
    assert!(near(&by_loss[head..], &(head..values).map(weighted).collect::<Vec<_>>(), 1e-6));
    cohort[1].1.loss = Some(-1.0);
    let mut flora: Aggregation<Flora> = Aggregation::new(&layout, &[("head", "loss".into())]).unwrap();
    flora.round(1, &vec![0.0; values], &cohort).unwrap();
    assert_eq!(flora.refused, [1]);
}

#[test]
fn a_rule_for_the_head_needs_a_head() {
    let adapter = Adapter::lora(2, &LAYERS).with_residuals();
    let made = Aggregation::<Flora>::new(&adapter, &[("head", "loss".into())]);
    let Err(PolicyError::Other(message)) = made.map(drop) else { panic!() };
    assert_eq!(message, "head is \"loss\", but none of the adapter's 6 tensors is a head");
}

#[test]
fn without_residuals_the_error_names_the_key() {
    let Err(PolicyError::Other(message)) = Aggregation::<Flora>::new(&Adapter::lora(2, &LAYERS), &[]).map(drop) else {
        panic!()
    };
    assert_eq!(message, "flora needs a residual beside each of 2 pairs, 2 have none: set lora.residual = true");
    assert_eq!(flora("fresh").round(1, &[0.0; VALUES as usize], &[]), Err(PolicyError::NoUpdates));
}
