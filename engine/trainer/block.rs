//! One Llama block: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`, forward and backward.

use burn::tensor::Tensor;

use super::checkpoint::{Checkpoint, LlamaConfig};
use super::kernel::{Attention, Heads, Place, RmsNorm, Rotary, swiglu, swiglu_backward};
use super::projection::{Kept, PairPlan, Pairs, Projection};
use super::{TrainerError, dropout::Dropout};

/// The projections of a block, in the order in which data flows, each with its layers as a checkpoint names them.
pub(super) const PROJECTIONS: [&[&str]; 4] =
    [&["q_proj", "k_proj", "v_proj"], &["o_proj"], &["gate_proj", "up_proj"], &["down_proj"]];

/// The path of a linear layer of a block in a checkpoint, such as `model.layers.0.self_attn.q_proj`.
pub(super) fn path(layer: usize, linear: &str) -> String {
    let part = if ["gate_proj", "up_proj", "down_proj"].contains(&linear) { "mlp" } else { "self_attn" };
    format!("model.layers.{layer}.{part}.{linear}")
}

/// `[outputs, inputs]` of a linear layer.
pub(super) fn shape(config: &LlamaConfig, linear: &str) -> [usize; 2] {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let heads = heads(config);
    match linear {
        "q_proj" => [heads.query * heads.size, hidden],
        "k_proj" | "v_proj" => [heads.key_value * heads.size, hidden],
        "o_proj" => [hidden, heads.query * heads.size],
        "down_proj" => [hidden, inner],
        _ => [inner, hidden],
    }
}

/// The heads that a config describes.
pub(super) fn heads(config: &LlamaConfig) -> Heads {
    Heads { query: config.heads, key_value: config.kv_heads(), size: config.head_size() }
}

/// The frozen weights of a block.
#[derive(Debug)]
pub(super) struct Block {
    norms: [RmsNorm; 2],
    /// In the order of [`PROJECTIONS`].
    projections: [Projection; 4],
}

/// The pairs of a block, in the order of [`PROJECTIONS`].
pub(super) type BlockPairs = [Option<Pairs>; 4];
/// Where the pairs of a block lie, in the order of [`PROJECTIONS`].
pub(super) type BlockPlan = [PairPlan; 4];
/// Weights with residuals added, in the order of [`PROJECTIONS`]; `None` where the frozen ones stand.
pub(super) type BlockWeights = [Option<Tensor<2>>; 4];

/// What all blocks share in one pass over a batch.
pub(super) struct Pass<'a> {
    pub rotary: &'a Rotary,
    pub heads: Heads,
    pub place: &'a Place,
    /// Tokens of each sequence, padding included.
    pub lengths: &'a [usize],
}

/// What a block keeps for its backward pass.
pub(super) struct BlockKept {
    input: Tensor<2>,
    middle: Tensor<2>,
    attention: Attention,
    gate_up: Tensor<2>,
    projections: [Kept; 4],
}

impl Block {
    /// Reads block number `layer`.
    pub fn read(file: &Checkpoint, config: &LlamaConfig, layer: usize, place: &Place) -> Result<Self, TrainerError> {
        let norm = |name: &str| -> Result<RmsNorm, TrainerError> {
            let weight = file.values(&format!("model.layers.{layer}.{name}.weight"), &[config.hidden_size])?;
            Ok(RmsNorm::new(weight, config.rms_norm_eps, place))
        };
        let projection = |linears: &[&str]| -> Result<Projection, TrainerError> {
            let (mut weight, mut inputs) = (Vec::new(), 0);
            for linear in linears {
                let shape = shape(config, linear);
                inputs = shape[1];
                weight.extend(file.values(&format!("{}.weight", path(layer, linear)), &shape)?);
            }
            Ok(Projection::new(weight, inputs, place))
        };
        let [qkv, out, gate_up, down] = PROJECTIONS;
        Ok(Self {
            norms: [norm("input_layernorm")?, norm("post_attention_layernorm")?],
            projections: [projection(qkv)?, projection(out)?, projection(gate_up)?, projection(down)?],
        })
    }

    /// How many weights there are.
    pub fn parameters(&self) -> usize {
        let norms: usize = self.norms.iter().map(RmsNorm::parameters).sum();
        norms + self.projections.iter().map(Projection::parameters).sum::<usize>()
    }

    /// The weights that have residuals in a flat vector, with these added.
    pub fn with_residuals(&self, plan: &BlockPlan, flat: &[f32], place: &Place) -> BlockWeights {
        std::array::from_fn(|number| self.projections[number].with_residuals(&plan[number], flat, place))
    }

    /// `x`: `[rows, hidden]` to the same shape.
    pub fn forward(
        &self,
        x: Tensor<2>,
        pairs: &BlockPairs,
        pass: &Pass,
        mut dropout: Option<&mut Dropout>,
    ) -> (Tensor<2>, BlockKept) {
        let mut project = |number: usize, input: Tensor<2>| {
            let mask = match &mut dropout {
                Some(dropout) if pairs[number].is_some() => Some(dropout.mask(input.dims(), pass.place)),
                _ => None,
            };
            self.projections[number].forward(input, pairs[number].as_ref(), mask)
        };
        let (qkv, kept_qkv) = project(0, self.norms[0].forward(&x));
        let qkv = pass.rotary.forward(qkv, pass.lengths);
        let (attended, attention) = Attention::forward(qkv, pass.heads, pass.lengths, pass.place);
        let (attended, kept_out) = project(1, attended);
        let middle = x.clone() + attended;
        let (gate_up, kept_gate_up) = project(2, self.norms[1].forward(&middle));
        let (fed, kept_down) = project(3, swiglu(&gate_up, pass.place));
        let output = middle.clone() + fed;
        let projections = [kept_qkv, kept_out, kept_gate_up, kept_down];
        (output, BlockKept { input: x, middle, attention, gate_up, projections })
    }

    /// The gradient of the input, given that of the output, and those of the pairs' two matrices by projection. With
    /// `need_input` false nothing below the first projection is computed, and what comes back first has no meaning.
    pub fn backward(
        &self,
        kept: BlockKept,
        pairs: &BlockPairs,
        gradient: Tensor<2>,
        pass: &Pass,
        need_input: bool,
    ) -> (Tensor<2>, [Option<[Tensor<2>; 2]>; 4]) {
        let [kept_qkv, kept_out, kept_gate_up, kept_down] = &kept.projections;
        let back = |number: usize, kept: &Kept, gradient: &Tensor<2>| {
            self.projections[number].backward_input(kept, pairs[number].as_ref(), gradient)
        };
        let of_pairs = |number: usize, kept: &Kept, gradient: &Tensor<2>| {
            pairs[number].as_ref().and_then(|pairs| pairs.backward(kept, gradient))
        };
        let of_down = of_pairs(3, kept_down, &gradient);
        let of_fed = back(3, kept_down, &gradient);
        let of_gate_up = swiglu_backward(kept.gate_up, of_fed, pass.place);
        let of_pairs_gate_up = of_pairs(2, kept_gate_up, &of_gate_up);
        let of_normed = back(2, kept_gate_up, &of_gate_up);
        let gradient = self.norms[1].backward(&kept.middle, of_normed, gradient);
        let of_out = of_pairs(1, kept_out, &gradient);
        let of_attended = back(1, kept_out, &gradient);
        let of_qkv = pass.rotary.backward(kept.attention.backward(of_attended, pass.lengths, pass.place), pass.lengths);
        let of_pairs_qkv = of_pairs(0, kept_qkv, &of_qkv);
        let gradient = match need_input {
            true => self.norms[0].backward(&kept.input, back(0, kept_qkv, &of_qkv), gradient),
            false => gradient,
        };
        (gradient, [of_pairs_qkv, of_out, of_pairs_gate_up, of_down])
    }
}
