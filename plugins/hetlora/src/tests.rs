//! Zero-padded aggregation against the paper's formula, written out on whole matrices.

use cellm_plugin::harness::{Adapter, Aggregation, Harness, near, normal_updates};
use cellm_plugin::{PolicyError, UpdateInfo, Vector};

use super::HetLora;

/// A `[3, 5]` at 0, B `[4, 3]` at 15; A `[3, 2]` at 27, B `[6, 3]` at 33: 51 values.
const LAYERS: [(u32, u32); 2] = [(4, 5), (6, 2)];
const RANK: usize = 3;
const VALUES: u32 = 51;

type Cohort = Vec<(Vec<f32>, UpdateInfo)>;

fn hetlora(weighting: &str, absent: &str) -> Aggregation<HetLora> {
    let given = [("weighting", weighting.into()), ("absent", absent.into())];
    Aggregation::new(&Adapter::lora(RANK as u32, &LAYERS), &given).unwrap()
}

fn normal(seed: u64, number: u64) -> Vec<f32> {
    Vector::random_normal(VALUES, seed, number).values()
}

/// Updates of clients of these ranks that leave what is above their rank alone.
fn of_ranks(ranks: &[u32]) -> Cohort {
    let mut cohort = normal_updates(ranks.len() as u32, VALUES, 7);
    for ((update, info), rank) in cohort.iter_mut().zip(ranks) {
        info.rank = *rank;
        keep(update, trained(*rank));
    }
    cohort
}

fn trained(rank: u32) -> usize {
    if rank == 0 { RANK } else { rank as usize }
}

/// For each coordinate its layer and its direction.
fn directions() -> Vec<(usize, usize)> {
    let (mut all, mut layer) = (Vec::new(), 0);
    for (outputs, inputs) in LAYERS {
        all.extend((0..RANK * inputs as usize).map(|i| (layer, i / inputs as usize)));
        all.extend((0..RANK * outputs as usize).map(|i| (layer, i % RANK)));
        layer += 1;
    }
    all
}

fn keep(values: &mut [f32], rank: usize) {
    values
        .iter_mut()
        .zip(directions())
        .filter(|(_, (_, direction))| *direction >= rank)
        .for_each(|(value, _)| *value = 0.0);
}

/// `||B A||_F` of each layer, by way of the whole product.
fn norms(end: &[f32]) -> Vec<f64> {
    let mut offset = 0;
    let norm = |(outputs, inputs): (u32, u32)| {
        let (outputs, inputs) = (outputs as usize, inputs as usize);
        let (a, b) = (&end[offset..], &end[offset + RANK * inputs..]);
        offset += RANK * (inputs + outputs);
        let entry = |i: usize, j: usize| {
            (0..RANK).map(|k| f64::from(b[i * RANK + k]) * f64::from(a[k * inputs + j])).sum::<f64>()
        };
        (0..outputs * inputs).map(|at| entry(at / inputs, at % inputs).powi(2)).sum::<f64>().sqrt()
    };
    LAYERS.into_iter().map(norm).collect()
}

/// The formula: the weighted mean of padded ends, less the base. With `skip` the mean is over those that have a direction.
fn expected(base: &[f32], cohort: &Cohort, by_norm: bool, skip: bool) -> Vec<f32> {
    let (mut sums, mut weights) = (vec![0.0; base.len()], vec![0.0; base.len()]);
    for (update, info) in cohort {
        let mut end: Vec<f32> = base.iter().zip(update).map(|(base, update)| base + update).collect();
        keep(&mut end, trained(info.rank));
        let norms = if by_norm { norms(&end) } else { vec![1.0; LAYERS.len()] };
        for (j, (layer, direction)) in directions().into_iter().enumerate() {
            sums[j] += norms[layer] * f64::from(end[j]);
            weights[j] += if skip && direction >= trained(info.rank) { 0.0 } else { norms[layer] };
        }
    }
    sums.iter().zip(&weights).zip(base).map(|((sum, weight), base)| (sum / weight) as f32 - base).collect()
}

#[test]
fn equal_ranks_and_uniform_weights_are_the_plain_mean() {
    let (base, cohort) = (normal(1, 0), of_ranks(&[0, 0, 3, 3]));
    let mean = expected(&[0.0; VALUES as usize], &cohort, false, false);
    for absent in ["zero", "skip"] {
        assert!(near(&hetlora("uniform", absent).round(1, &base, &cohort).unwrap(), &mean, 1e-6));
    }
}

#[test]
fn weights_are_the_norms_of_the_products_layer_by_layer() {
    let (base, cohort) = (normal(1, 0), of_ranks(&[0, 3, 0]));
    let found = hetlora("norm", "zero").round(1, &base, &cohort).unwrap();
    assert!(near(&found, &expected(&base, &cohort, true, false), 1e-5));
}

#[test]
fn absent_directions_count_as_zeros_or_not_at_all() {
    let (base, cohort) = (normal(1, 0), of_ranks(&[1, 0, 2, 1]));
    for weighting in ["norm", "uniform"] {
        for absent in ["zero", "skip"] {
            let found = hetlora(weighting, absent).round(1, &base, &cohort).unwrap();
            let expected = expected(&base, &cohort, weighting == "norm", absent == "skip");
            assert!(near(&found, &expected, 1e-5), "{weighting} {absent}");
        }
    }
}

#[test]
fn a_direction_that_nobody_has_keeps_its_value() {
    let found = hetlora("norm", "zero").round(1, &normal(1, 0), &of_ranks(&[1, 2, 1])).unwrap();
    for (value, (_, direction)) in found.iter().zip(directions()) {
        assert_eq!(*value == 0.0, direction == 2);
    }
}

#[test]
fn what_a_client_sends_above_its_rank_is_not_looked_at() {
    let (base, cohort) = (normal(1, 0), of_ranks(&[1, 0, 2]));
    let mut noisy = cohort.clone();
    for (value, (_, direction)) in noisy[0].0.iter_mut().zip(directions()) {
        *value += if direction > 0 { 1e6 } else { 0.0 };
    }
    let honest = hetlora("norm", "zero").round(1, &base, &cohort).unwrap();
    assert!(near(&honest, &hetlora("norm", "zero").round(1, &base, &noisy).unwrap(), 1e-6));
}

#[test]
fn where_every_product_is_zero_all_weigh_the_same() {
    let mut cohort = of_ranks(&[0, 0]);
    for (update, _) in &mut cohort {
        update[15..27].fill(0.0);
        update[33..51].fill(0.0);
    }
    let found = hetlora("norm", "zero").round(1, &[0.0; VALUES as usize], &cohort).unwrap();
    assert!(near(&found, &expected(&[0.0; VALUES as usize], &cohort, false, false), 1e-5));
}

#[test]
fn the_order_of_clients_matters_to_rounding_only() {
    let (base, mut cohort) = (normal(1, 0), of_ranks(&[1, 0, 2, 1, 3]));
    let one = hetlora("norm", "zero").round(1, &base, &cohort).unwrap();
    cohort.rotate_left(2);
    assert!(near(&one, &hetlora("norm", "zero").round(1, &base, &cohort).unwrap(), 1e-5));
    assert_eq!(hetlora("norm", "zero").round(1, &base, &[]), Err(PolicyError::NoUpdates));
}

#[test]
fn a_tier_is_sent_its_first_directions_and_sends_them_back_without_indices() {
    let adapter = Adapter::lora(RANK as u32, &LAYERS).with_head(2, 4);
    let mut harness = Harness::<HetLora>::new(&adapter, 32, &[]).unwrap();
    harness.adjust = |context| context.rank = 2;
    let weights = Vector::random_normal(adapter.values(), 1, 0).values();
    let sent = harness.broadcast(1, &weights).unwrap();
    let mut expected = weights.clone();
    keep(&mut expected[..VALUES as usize], 2);
    assert_eq!(harness.receive(7, &sent), Ok(expected.clone()));
    let up = harness.upload(1, 7, &weights).unwrap();
    assert_eq!(harness.collect(&up), Ok(expected));
    // Two of three directions of the pairs, the head whole.
    let values = VALUES as u64 / 3 * 2 + 8;
    assert!((4 * values..4 * values + 128).contains(&up.bytes), "{} bytes of {values} values", up.bytes);
}

#[test]
fn a_whole_tier_is_sent_all_and_a_message_of_another_rank_is_refused() {
    let adapter = Adapter::lora(RANK as u32, &LAYERS);
    let mut harness = Harness::<HetLora>::new(&adapter, 32, &[]).unwrap();
    let sent = harness.broadcast(1, &normal(1, 0)).unwrap();
    assert_eq!(harness.receive(7, &sent), Ok(normal(1, 0)));
    let mut other = sent.clone();
    other.context.rank = 1;
    assert!(matches!(harness.receive(7, &other), Err(PolicyError::BadMessage(_))));
}
