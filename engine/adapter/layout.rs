//! The layout of an adapter: which tensors it has, in which order they lie in the flat vector of all values.

use std::fmt;

use rand_core::Rng;

use super::AdapterWeights;
use crate::random::{self, Purpose};

/// The role of a tensor. Policies rank, mask and schedule by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// LoRA A, shape `[rank, in]`: projects down.
    LoraA,
    /// LoRA B, shape `[out, rank]`: projects up.
    LoraB,
    /// The trained `rank x rank` core between a frozen A and B.
    Core,
    /// A trained task head.
    Head,
    /// A weight of the base model itself: what is added to it. [`TensorSpec::is_residual`] tells the kind that no client
    /// trains.
    Base,
}

/// PEFT's prefix of the path of a layer or head in the names of an adapter's tensors.
pub(super) const PREFIX: &str = "base_model.model.";

/// The end of a residual's name: the sum that a federation adds to a frozen base weight.
const RESIDUAL: &str = ".residual.weight";

/// The ends of the names of a pair's two matrices.
const PAIR: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

/// One tensor of an adapter as its maker describes it; [`AdapterLayout::new`] adds the place.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// The PEFT key, for example `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`, with the layer as its
    /// checkpoint calls it.
    pub name: String,
    /// The tensor's role.
    pub role: Role,
    /// Row-major shape.
    pub shape: Vec<usize>,
    /// Rank of the pair that this tensor belongs to; 0 where it has none.
    pub rank: usize,
    /// The factor `alpha / rank` by which `B A` is multiplied.
    pub scale: f32,
    /// Seed of [`TensorInfo::seeded_start`].
    pub seed: u64,
}

impl TensorSpec {
    /// The name of the residual of a linear layer, `model.layers.0.self_attn.q_proj` for example.
    pub fn residual_name(layer: &str) -> String {
        format!("{PREFIX}{layer}{RESIDUAL}")
    }

    /// The name without what PEFT puts before it.
    pub fn bare_name(&self) -> &str {
        self.name.strip_prefix(PREFIX).unwrap_or(&self.name)
    }

    /// The layer that an A, a B or a residual belongs to, `model.layers.0.self_attn.q_proj` for example; the module of a
    /// head.
    pub fn layer(&self) -> &str {
        let bare = self.bare_name();
        let end = PAIR.iter().chain([&RESIDUAL]).find_map(|end| bare.strip_suffix(end));
        end.or_else(|| Some(bare.rsplit_once('.')?.0)).unwrap_or(bare)
    }

    /// True for a residual `R`: the layer computes with `W + R`, and only the server changes `R`.
    pub fn is_residual(&self) -> bool {
        self.role == Role::Base && self.name.ends_with(RESIDUAL)
    }
}

/// One tensor of an adapter and its place in the flat vector.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// The tensor as its maker specified it.
    pub spec: TensorSpec,
    /// Index of its first value in the flat vector.
    pub offset: usize,
    /// Number of values: the product of the shape.
    pub len: usize,
}

impl TensorInfo {
    /// Values that every participant derives alone from the tensor's seed: uniform in `+-1/sqrt(in)`, Kaiming-uniform
    /// with `a = sqrt(5)`, as PEFT's start of an A and PyTorch's of a linear layer.
    pub fn seeded_start(&self) -> Vec<f32> {
        let bound = 1.0 / (self.spec.shape.last().copied().unwrap_or(1).max(1) as f32).sqrt();
        let mut stream = random::stream(self.spec.seed, Purpose::LoraStart, 0, 0);
        // 24 bits fill an f32's mantissa: the draw is the same on every platform.
        let mut unit = || (stream.next_u32() >> 8) as f32 / (1 << 24) as f32;
        (0..self.len).map(|_| (2.0 * unit() - 1.0) * bound).collect()
    }
}

/// BLAKE3 over everything in a layout that client and server must agree on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayoutHash(pub [u8; 32]);

impl LayoutHash {
    /// The first four bytes, little endian: what a frame carries.
    pub fn short(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d])
    }
}

impl fmt::Debug for LayoutHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for LayoutHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Every tensor of an adapter in flat order. Cheap to share behind an `Arc`, never changed once made.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterLayout {
    tensors: Vec<TensorInfo>,
    values: usize,
    hash: LayoutHash,
}

impl AdapterLayout {
    /// Lays the tensors out one after the other, in the order given.
    pub fn new(specs: Vec<TensorSpec>) -> Self {
        let mut offset = 0;
        let mut hasher = blake3::Hasher::new();
        let mut tensors = Vec::with_capacity(specs.len());
        for spec in specs {
            let len = spec.shape.iter().product();
            hasher.update(&(spec.name.len() as u64).to_le_bytes());
            hasher.update(spec.name.as_bytes());
            hasher.update(&[spec.role as u8, spec.shape.len() as u8]);
            for side in &spec.shape {
                hasher.update(&(*side as u64).to_le_bytes());
            }
            hasher.update(&(spec.rank as u64).to_le_bytes());
            hasher.update(&spec.scale.to_bits().to_le_bytes());
            hasher.update(&spec.seed.to_le_bytes());
            tensors.push(TensorInfo { spec, offset, len });
            offset += len;
        }
        let hash = LayoutHash(*hasher.finalize().as_bytes());
        Self { tensors, values: offset, hash }
    }

    /// The tensors, in flat order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// `P`, the number of values of the whole adapter.
    pub fn values(&self) -> usize {
        self.values
    }

    /// Values that local training may change: all before the first residual.
    pub fn trained(&self) -> usize {
        let residual = self.tensors.iter().find(|tensor| tensor.spec.is_residual());
        residual.map_or(self.values, |tensor| tensor.offset)
    }

    /// True where there are residuals. They lie behind everything that is trained.
    pub fn has_residual(&self) -> bool {
        self.trained() < self.values
    }

    /// The hash that client and server compare.
    pub fn hash(&self) -> LayoutHash {
        self.hash
    }

    /// `W0`, the seeded start that every participant derives alone: each LoRA A its [`TensorInfo::seeded_start`],
    /// everything else zero.
    pub fn start(&self) -> AdapterWeights {
        let mut values = vec![0.0; self.values];
        for tensor in self.tensors.iter().filter(|tensor| tensor.spec.role == Role::LoraA) {
            values[tensor.offset..tensor.offset + tensor.len].copy_from_slice(&tensor.seeded_start());
        }
        AdapterWeights(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(seed: u64) -> AdapterLayout {
        let tensor = |name: &str, role, shape: &[usize]| TensorSpec {
            name: name.into(),
            role,
            shape: shape.into(),
            rank: 2,
            scale: 1.0,
            seed,
        };
        AdapterLayout::new(vec![tensor("a", Role::LoraA, &[2, 16]), tensor("b", Role::LoraB, &[4, 2])])
    }

    #[test]
    fn tensors_lie_one_after_the_other() {
        let layout = pair(1);
        assert_eq!(layout.values(), 40);
        assert_eq!(layout.tensors()[1].offset, 32);
    }

    #[test]
    fn the_start_is_seeded_bounded_and_zero_for_b() {
        let start = pair(1).start();
        assert_eq!(start, pair(1).start());
        assert_ne!(start, pair(2).start());
        assert!(start.0[..32].iter().all(|value| value.abs() <= 0.25 && *value != 0.0));
        assert!(start.0[32..].iter().all(|value| *value == 0.0));
    }

    #[test]
    fn a_tensor_tells_its_layer() {
        let of = |name: &str| {
            let spec = TensorSpec { name: name.into(), role: Role::Head, shape: vec![], rank: 0, scale: 1.0, seed: 0 };
            spec.layer().to_owned()
        };
        assert_eq!(of("base_model.model.h.0.c_attn.lora_A.weight"), "h.0.c_attn");
        assert_eq!(of(&TensorSpec::residual_name("h.0.c_attn")), "h.0.c_attn");
        assert_eq!((of("base_model.model.classifier.bias"), of("a")), ("classifier".into(), "a".into()));
    }

    #[test]
    fn the_hash_sees_every_field() {
        assert_eq!(pair(1).hash(), pair(1).hash());
        assert_ne!(pair(1).hash(), pair(2).hash());
    }
}
