//! Adapters, vectors and calls to try a policy with.

use std::sync::Arc;

use rand_core::Rng;

use crate::adapter::{AdapterLayout, Role, TensorSpec};
use crate::policy::{Content, Context, Direction};
use crate::random::{self, Purpose};

/// An adapter with its seeded start.
#[derive(Clone)]
pub(super) struct Adapter {
    pub layout: Arc<AdapterLayout>,
    pub start: Arc<Vec<f32>>,
}

impl Adapter {
    pub fn new(layout: Arc<AdapterLayout>) -> Self {
        let start = layout.start().0;
        Self { layout, start }
    }

    /// LoRA pairs of one rank for layers of these sizes, `(out, in)` each.
    pub fn lora(rank: usize, layers: &[(usize, usize)]) -> Self {
        let mut specs = Vec::new();
        for (number, (out, into)) in layers.iter().enumerate() {
            let layer = format!("base_model.model.model.layers.{number}.self_attn.q_proj");
            let seed = specs.len() as u64;
            let tensor = |end: &str, role, shape| {
                let (name, scale) = (format!("{layer}.{end}.weight"), 2.0);
                TensorSpec { name, role, shape, rank, scale, seed }
            };
            specs.push(tensor("lora_A", Role::LoraA, vec![rank, *into]));
            specs.push(tensor("lora_B", Role::LoraB, vec![*out, rank]));
        }
        Self::new(Arc::new(AdapterLayout::new(specs)))
    }

    /// With a residual beside each pair, which only the server changes.
    pub fn with_residuals(&self) -> Self {
        let mut specs: Vec<TensorSpec> = self.layout.tensors().iter().map(|tensor| tensor.spec.clone()).collect();
        for pair in self.layout.tensors().chunks(2) {
            let [a, b] = pair else { continue };
            let layer = a.spec.name.trim_start_matches("base_model.model.").trim_end_matches(".lora_A.weight");
            let shape = vec![b.spec.shape[0], a.spec.shape[1]];
            let (name, role) = (TensorSpec::residual_name(layer), Role::Base);
            specs.push(TensorSpec { name, role, shape, rank: 0, scale: 1.0, seed: 0 });
        }
        Self::new(Arc::new(AdapterLayout::new(specs)))
    }

    pub fn values(&self) -> usize {
        self.layout.values()
    }
}

/// From two values to some thousands; even and odd, ranks that are powers of two and ones that are not.
pub(super) fn adapters() -> Vec<Adapter> {
    vec![
        Adapter::lora(1, &[(1, 1)]),
        Adapter::lora(3, &[(5, 2)]),
        Adapter::lora(4, &[(24, 40), (40, 24)]),
        Adapter::lora(8, &[(64, 64), (160, 64), (33, 65)]),
    ]
}

/// Bell-shaped with heavy tails, about 1e-3 a value, like what local training leaves.
pub(super) fn delta(len: usize, seed: u64) -> Arc<Vec<f32>> {
    let mut stream = random::stream(seed, Purpose::NoopDelta, 0, 0);
    let mut draw = || (stream.next_u32() >> 8) as f32 / (1 << 24) as f32 - 0.5;
    let mut value = || {
        let bell = draw() + draw() + draw() + draw();
        bell * bell.abs() * 4e-3
    };
    Arc::new((0..len).map(|_| value()).collect())
}

/// A delta of what clients train, zero where the plan does not have a coordinate.
pub(super) fn masked_delta(adapter: &Adapter, seed: u64, plan: Option<&[u32]>) -> Arc<Vec<f32>> {
    let drawn = delta(adapter.values(), seed);
    let mut masked = vec![0.0; drawn.len()];
    let trained = adapter.layout.trained();
    match plan {
        None => masked[..trained].copy_from_slice(&drawn[..trained]),
        Some(plan) => {
            plan.iter().map(|at| *at as usize).filter(|at| *at < trained).for_each(|at| masked[at] = drawn[at])
        }
    }
    Arc::new(masked)
}

/// The context of a call with this content, in the first of 40 rounds.
pub(super) fn context(content: Content, density: f64) -> Context {
    let upload = content == Content::Delta;
    Context {
        direction: if upload { Direction::Upload } else { Direction::Download },
        content,
        round: 1,
        rounds: 40,
        seed: 1,
        client: upload.then_some(3),
        tier: 0,
        density,
        rank: 0,
        byte_budget: None,
        examples: if upload { 32 } else { 0 },
        loss: upload.then_some(2.0),
        last_seen: None,
    }
}

/// The norm of `a - b`.
pub(super) fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

/// The norm.
pub(super) fn norm(a: &[f32]) -> f64 {
    a.iter().map(|a| f64::from(*a).powi(2)).sum::<f64>().sqrt()
}
