//! Made-up adapters: a layout as the engine makes it for LoRA pairs, the seeded start, and vectors that look like training.

use crate::pairs::pairs;
use crate::{Layout, Role, TensorInfo};

/// A layout and its start.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// A and B of each pair in turn, then what was added.
    pub layout: Layout,
    /// `W0`: A even in `+-1/sqrt(in)`, everything else zero.
    pub start: Vec<f32>,
}

impl Adapter {
    /// LoRA pairs of one rank for layers of these sizes, `(out, in)` each; `alpha` is twice the rank.
    pub fn lora(rank: u32, layers: &[(u32, u32)]) -> Self {
        let mut adapter = Self { layout: Layout { tensors: Vec::new(), values: 0 }, start: Vec::new() };
        for (number, (out, into)) in layers.iter().enumerate() {
            let layer = format!("base_model.model.layers.{number}.proj");
            adapter.push(&format!("{layer}.lora_A.weight"), Role::LoraA, &[rank, *into], rank);
            adapter.push(&format!("{layer}.lora_B.weight"), Role::LoraB, &[*out, rank], rank);
        }
        adapter
    }

    /// With a trained head of this shape behind the rest.
    pub fn with_head(mut self, out: u32, into: u32) -> Self {
        self.push("base_model.model.score.weight", Role::Head, &[out, into], 0);
        self
    }

    /// With a residual of each layer behind the rest, as `lora.residual = true` has it.
    pub fn with_residuals(mut self) -> Self {
        let pairs = pairs(&self.layout).unwrap_or_default();
        for pair in pairs {
            self.push(&format!("{}.residual.weight", pair.layer), Role::Base, &[pair.outputs, pair.inputs], 0);
        }
        self
    }

    /// With another tensor behind the rest.
    pub fn push(&mut self, name: &str, role: Role, shape: &[u32], rank: u32) {
        let (len, offset) = (shape.iter().product(), self.layout.values);
        let (scale, seed) = (if rank > 0 { 2.0 } else { 1.0 }, 1000 + self.layout.tensors.len() as u64);
        let start = match (role, shape) {
            (Role::LoraA, [.., into]) => {
                let bound = 1.0 / (*into as f32).sqrt();
                let draws = cellm_kernels::random_uniform(len as usize, seed, 0);
                draws.iter().map(|draw| (2.0 * draw - 1.0) * bound).collect()
            }
            _ => vec![0.0; len as usize],
        };
        self.start.extend(start);
        self.layout.values += len;
        let shape = shape.to_vec();
        self.layout.tensors.push(TensorInfo { name: name.into(), role, shape, rank, scale, seed, offset, len });
    }

    /// Number of values.
    pub fn values(&self) -> u32 {
        self.layout.values
    }

    /// A delta of about this norm that looks like training: heavy tails, a size of its own for each tensor.
    pub fn delta(&self, seed: u64, norm: f64) -> Vec<f32> {
        let mut delta = cellm_kernels::random_normal(self.start.len(), seed, 1);
        for value in &mut delta {
            *value *= value.abs();
        }
        let sizes = cellm_kernels::random_uniform(self.layout.tensors.len(), seed, 2);
        for (tensor, size) in self.layout.tensors.iter().zip(sizes) {
            let values = &mut delta[tensor.offset as usize..][..tensor.len as usize];
            cellm_kernels::scale(values, 0.2 + size);
        }
        let factor = norm / cellm_kernels::norm(&delta).max(f64::MIN_POSITIVE);
        cellm_kernels::scale(&mut delta, factor as f32);
        delta
    }

    /// The start, moved by [`Self::delta`].
    pub fn weights(&self, seed: u64, norm: f64) -> Vec<f32> {
        let mut weights = self.start.clone();
        cellm_kernels::axpy(&mut weights, 1.0, &self.delta(seed, norm));
        weights
    }
}
