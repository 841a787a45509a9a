//! One round of an aggregator on given updates, for tests of its mathematics. In: a layout of LoRA pairs, options, what the
//! clients start from, and their updates. Out: the aggregated delta.

use crate::{
    Aggregator, Layout, OptionValue, Options, Policy, PolicyError, Role, RoundInfo, TensorInfo, UpdateInfo, Vector,
};

/// A layout of LoRA pairs, `(outputs, inputs)` each, of this rank and scale 2; with `residual` a residual of each layer
/// behind all pairs.
pub fn layout(layers: &[(u32, u32)], rank: u32, residual: bool) -> Layout {
    let mut layout = Layout { tensors: Vec::new(), values: 0 };
    let name = |layer: usize, end: &str| format!("base_model.model.layers.{layer}.{end}.weight");
    for (layer, (outputs, inputs)) in layers.iter().enumerate() {
        place(&mut layout, name(layer, "lora_A"), Role::LoraA, [rank, *inputs], rank);
        place(&mut layout, name(layer, "lora_B"), Role::LoraB, [*outputs, rank], rank);
    }
    for (layer, (outputs, inputs)) in layers.iter().enumerate().filter(|_| residual) {
        place(&mut layout, name(layer, "residual"), Role::Base, [*outputs, *inputs], 0);
    }
    layout
}

fn place(layout: &mut Layout, name: String, role: Role, shape: [u32; 2], rank: u32) {
    let (offset, len, scale) = (layout.values, shape[0] * shape[1], if rank > 0 { 2.0 } else { 1.0 });
    let seed = layout.tensors.len() as u64;
    layout.tensors.push(TensorInfo { name, role, shape: shape.into(), rank, scale, seed, offset, len });
    layout.values += len;
}

/// The policy's options: its defaults, but for these.
pub fn options<P: Policy>(given: &[(&str, OptionValue)]) -> Options {
    let value = |name: &str, default: OptionValue| {
        given.iter().find(|(known, _)| *known == name).map_or(default, |(_, value)| value.clone())
    };
    let declared = P::describe().options.into_iter();
    Options::new(declared.map(|option| (option.name.clone(), value(&option.name, option.default))).collect())
}

/// What is known of client number `client`'s update: one example, loss 1, no tier.
pub fn info(client: u32) -> UpdateInfo {
    UpdateInfo { client, examples: 1, loss: 1.0, norm: 1.0, tier: 0, rank: 0 }
}

/// The first of five rounds: `begin`, `accept` of each update, `finish`. All updates were sampled and all came.
pub fn round<A: Aggregator>(
    policy: &mut A,
    base: &[f32],
    updates: &[(UpdateInfo, Vec<f32>)],
) -> Result<Vec<f32>, PolicyError> {
    let info = RoundInfo { round: 1, rounds: 5, seed: 17, cohort: updates.len() as u32 };
    policy.begin(&info, &Vector::from_values(base.into()))?;
    for (info, update) in updates {
        policy.accept(&Vector::from_values(update.clone()), info)?;
    }
    Ok(policy.finish()?.values())
}

/// `clients` updates of `values` normal draws each, of the clients 0, 1, ...
pub fn updates(clients: u32, values: u32, seed: u64) -> Vec<(UpdateInfo, Vec<f32>)> {
    (0..clients).map(|client| (info(client), normal(values, seed, client.into()))).collect()
}

/// Normal draws.
pub fn normal(values: u32, seed: u64, number: u64) -> Vec<f32> {
    Vector::random_normal(values, seed, number).values()
}

/// Whether both are as long and differ nowhere by more than `most`.
pub fn near(one: &[f32], other: &[f32], most: f32) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| (one - other).abs() <= most)
}
