//! The built-in aggregators as components: whole rounds with the server's memory, on LoRA pairs with residuals.

use std::sync::{Arc, LazyLock};

use rand_core::Rng;

use super::tests::host;
use super::*;
use crate::adapter::{AdapterLayout, Role, TensorSpec};
use crate::random::{self, Purpose};

static HOST: LazyLock<PolicyHost> = LazyLock::new(|| host(&LimitsConfig::default()));

const OUTPUTS: usize = 7;
const INPUTS: usize = 5;
const RANK: usize = 2;
/// Offsets of B and of the residual, and the number of all values.
const B: usize = RANK * INPUTS;
const RESIDUAL: usize = B + OUTPUTS * RANK;
const VALUES: usize = RESIDUAL + OUTPUTS * INPUTS;
const SCALE: f32 = 2.0;

fn layout() -> AdapterLayout {
    let tensor = |end: &str, role, shape: [usize; 2], rank| {
        let name = format!("base_model.model.model.layers.0.self_attn.q_proj.{end}.weight");
        TensorSpec { name, role, shape: shape.into(), rank, scale: if rank > 0 { SCALE } else { 1.0 }, seed: 3 }
    };
    AdapterLayout::new(vec![
        tensor("lora_A", Role::LoraA, [RANK, INPUTS], RANK),
        tensor("lora_B", Role::LoraB, [OUTPUTS, RANK], RANK),
        tensor("residual", Role::Base, [OUTPUTS, INPUTS], 0),
    ])
}

fn draws(number: u32) -> Vec<f32> {
    let mut stream = random::stream(9, Purpose::NoopDelta, number, 0);
    (0..VALUES).map(|_| (stream.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// Updates that leave the residual alone, as clients do.
fn updates(clients: u32, number: u32) -> Vec<Vec<f32>> {
    let mut updates: Vec<_> = (0..clients).map(|client| draws(100 * number + client)).collect();
    updates.iter_mut().for_each(|update| update[RESIDUAL..].fill(0.0));
    updates
}

fn sum(one: &[f32], other: &[f32]) -> Vec<f32> {
    one.iter().zip(other).map(|(one, other)| one + other).collect()
}

/// A round as the engine makes it: an instance of its own, and the memory as the rounds before left it.
fn round(
    policy: &str,
    options: &str,
    number: u32,
    base: &[f32],
    updates: &[Vec<f32>],
    memory: &mut Memory,
) -> Result<Vec<f32>, PolicyError> {
    let policy = HOST.load(policy)?;
    let mut instance = policy.aggregator(&Arc::new(layout()), options)?;
    let meta = RoundMeta { round: number, rounds: 9, seed: 1, cohort: updates.len() as u32 };
    instance.begin(&meta, Arc::new(base.into()), memory)?;
    for (client, update) in (0..).zip(updates) {
        let meta = UpdateMeta { client, examples: 3, loss: Some(1.0 + f64::from(client)), norm: 1.0, tier: 0, rank: 0 };
        instance.accept(update.clone().into(), &meta, memory)?;
    }
    let aggregate = instance.finish(memory)?;
    if policy.steps() {
        return instance.step(number, Arc::new(base.into()), aggregate, memory).map(Arc::unwrap_or_clone);
    }
    Ok(sum(base, &aggregate))
}

/// The layer's change of its frozen weight: residual plus scaled B times A, row-major.
fn weight(values: &[f32]) -> Vec<f32> {
    let entry = |i: usize, j: usize| {
        let products = (0..RANK).map(|k| f64::from(values[B + i * RANK + k]) * f64::from(values[k * INPUTS + j]));
        values[RESIDUAL + i * INPUTS + j] + SCALE * products.sum::<f64>() as f32
    };
    (0..OUTPUTS * INPUTS).map(|at| entry(at / INPUTS, at % INPUTS)).collect()
}

fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    (0..vectors[0].len()).map(|j| vectors.iter().map(|vector| vector[j] / vectors.len() as f32).sum()).collect()
}

fn near(one: &[f32], other: &[f32]) -> bool {
    one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-5)
}

#[test]
fn every_aggregator_finishes_rounds_and_agrees_on_updates_that_are_all_the_same() {
    let (base, update) = (draws(1), updates(1, 1).remove(0));
    for policy in ["fedavg", "trimmed-mean", "median", "krum", "hetlora", "flexlora", "fedex", "flora", "fedlol"] {
        let mut memory = Memory::default();
        let end = round(policy, "{}", 1, &base, &vec![update.clone(); 5], &mut memory).unwrap();
        assert!(near(&weight(&end), &weight(&sum(&base, &update))), "{policy}");
        let again = round(policy, "{}", 2, &end, &updates(5, 2), &mut memory).unwrap();
        assert!(again.len() == VALUES && again.iter().all(|value| value.is_finite()) && again != end, "{policy}");
    }
}

#[test]
fn a_loss_that_is_not_known_reaches_the_component_as_such_and_counts_as_in_the_plain_mean() {
    let (base, updates) = (Arc::new(draws(1)), updates(4, 1));
    let aggregate = |losses: [Option<f64>; 4]| {
        let memory = &mut Memory::default();
        let mut instance = HOST.load("fedlol").unwrap().aggregator(&Arc::new(layout()), "{}").unwrap();
        instance.begin(&RoundMeta { round: 1, rounds: 9, seed: 1, cohort: 4 }, base.clone(), memory).unwrap();
        for ((client, update), loss) in (0..).zip(&updates).zip(losses) {
            let meta = UpdateMeta { client, examples: 3, loss, norm: 1.0, tier: 0, rank: 0 };
            instance.accept(update.clone().into(), &meta, memory).unwrap();
        }
        instance.finish(memory).unwrap()
    };
    let weighted = |weights: [f32; 4]| -> Vec<f32> {
        (0..VALUES).map(|at| updates.iter().zip(weights).map(|(update, weight)| update[at] * weight).sum()).collect()
    };
    // What is not known counts as 2, the mean of 1 and 3: (8 - loss) / (3 * 8).
    let found = aggregate([Some(1.0), None, Some(3.0), Some(f64::NAN)]);
    assert!(near(&found, &weighted([7.0 / 24.0, 0.25, 5.0 / 24.0, 0.25])), "{found:?}");
    assert!(near(&aggregate([None; 4]), &weighted([0.25; 4])));
    assert!(near(
        &aggregate([Some(0.0), Some(2.0), Some(2.0), Some(4.0)]),
        &weighted([8.0, 6.0, 6.0, 4.0].map(|w| w / 24.0))
    ));
}

#[test]
fn fedex_and_flora_give_the_exact_mean_of_the_clients_layers() {
    let (base, updates) = (draws(1), updates(4, 1));
    let expected = mean(&updates.iter().map(|update| weight(&sum(&base, update))).collect::<Vec<_>>());
    for policy in ["fedex", "flora"] {
        let end = round(policy, "{}", 1, &base, &updates, &mut Memory::default()).unwrap();
        assert!(near(&weight(&end), &expected), "{policy}");
    }
    assert!(!near(&weight(&sum(&base, &mean(&updates))), &expected));
}

#[test]
fn flora_takes_its_first_start_from_the_servers_memory() {
    let (base, mut memory) = (draws(1), Memory::default());
    let options = r#"{"restart":"start"}"#;
    let end = round("flora", options, 1, &base, &updates(3, 1), &mut memory).unwrap();
    let moved = sum(&end, &draws(2));
    let end = round("flora", options, 2, &moved, &updates(3, 2), &mut memory).unwrap();
    assert!(near(&end[..B], &base[..B]) && end[B..RESIDUAL].iter().all(|value| *value == 0.0));
}

#[test]
fn a_cohort_too_small_and_a_layout_without_residuals_are_typed_errors() {
    let error = round("krum", r#"{"byzantine":2}"#, 1, &draws(1), &updates(6, 1), &mut Memory::default()).unwrap_err();
    let expected = "6 clients were sampled, krum with byzantine 2 and multi 1 needs at least 7";
    assert!(error.to_string().contains(expected), "{error}");
    let pairs: Vec<_> = layout().tensors()[..2].iter().map(|tensor| tensor.spec.clone()).collect();
    let pairs = Arc::new(AdapterLayout::new(pairs));
    for policy in ["fedex", "flora"] {
        let error = HOST.load(policy).unwrap().aggregator(&pairs, "{}").map(drop).unwrap_err();
        assert!(error.to_string().contains("set lora.residual = true"), "{error}");
    }
}
