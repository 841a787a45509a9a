//! One block of a transformer, forward and backward: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`; or,
//! with the norms behind, `norm(x + attention(x))`, then `norm(x + feed_forward(x))`.

use burn::tensor::Tensor;

use super::family::{Linear, NormOrder, Spec};
use super::kept_weight::KeptWeight;
use super::kernel::{
    Activation, Attention, AttentionPattern, HeadNorms, Heads, KeyValueCache, Masks, Norm, NormKind, Place, Rotary,
    read_f32,
};
use super::projection::{PairPlan, Pairs, Projection, Saved};
use super::team::Team;
use super::weights::Checkpoint;
use super::{Quantize, TrainerError, dropout::Dropout};

/// The frozen weights of a block.
#[derive(Debug)]
pub(super) struct Block {
    norms: [Norm; 2],
    order: NormOrder,
    head_norms: Option<HeadNorms>,
    pattern: AttentionPattern,
    /// The factor of the attention scores.
    scale: f32,
    activation: Activation,
    /// In the order of [`Spec::linears`].
    projections: [Projection; 4],
}

/// The pairs of a block, in the order of [`Spec::linears`].
pub(super) type BlockPairs = [Option<Pairs>; 4];
/// The place of each pair of a block in the flat adapter vector, in the order of [`Spec::linears`].
pub(super) type BlockPlan = [PairPlan; 4];
/// Frozen weights plus residuals, in the order of [`Spec::linears`]; `None` where there is no residual.
pub(super) type BlockWeights = [Option<Tensor<2>>; 4];

/// The values that all blocks share in one pass over a batch.
pub(super) struct Pass<'a> {
    pub rotary: &'a Rotary,
    pub masks: Masks,
    pub heads: Heads,
    pub place: &'a Place,
    /// Positions of each sequence, padding included.
    pub lengths: &'a [usize],
    /// The position of the first row of each sequence.
    pub start: usize,
    /// Threads that share the products with frozen weights.
    pub team: Option<&'a Team>,
}

/// The tensors that a block's forward pass saves for its backward pass; `A` are those of the attention.
pub(super) struct BlockSaved<A = Attention> {
    /// The inputs of the two norms.
    unnormed: [Tensor<2>; 2],
    /// Queries, keys and values before the norms of each head; none where the model has no such norms.
    unnormed_heads: Option<Tensor<2>>,
    attention: A,
    /// The input of the activation.
    inner: Tensor<2>,
    projections: [Saved; 4],
}

impl Block {
    /// Reads the weights of block `number`.
    pub fn read(
        file: &Checkpoint,
        spec: &Spec,
        number: usize,
        (quantize, place): (Quantize, &Place),
    ) -> Result<Self, TrainerError> {
        let [first, second] = spec.names.norms.map(|name| read_norm(file, spec, spec.path(number, name), place));
        let head_norms = match spec.names.head_norms {
            Some(names) => {
                let weight = |name| file.values(&tensor_name(file, spec, number, name, "weight"), &[spec.heads.size]);
                let weights = [weight(names[0])?, weight(names[1])?];
                Some(HeadNorms::new(spec.heads, weights, spec.epsilon, place))
            }
            None => None,
        };
        let [qkv, out, up, down] = &spec.linears;
        let projection = |linears: &[Linear]| match quantize {
            Quantize::None => read_projection(file, spec, number, linears, place),
            Quantize::Int8 => Ok(read_projection(file, spec, number, linears, place)?.quantized(place)),
            Quantize::Keep => keep_projection(file, spec, number, linears, place),
        };
        Ok(Self {
            norms: [first?, second?],
            order: spec.norm_order,
            head_norms,
            pattern: spec.patterns[number],
            scale: spec.scales[number],
            activation: spec.activation,
            projections: [projection(qkv)?, projection(out)?, projection(up)?, projection(down)?],
        })
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        let norms: usize = self.norms.iter().map(Norm::parameters).sum();
        let head_norms = self.head_norms.as_ref().map_or(0, HeadNorms::parameters);
        norms + head_norms + self.projections.iter().map(Projection::parameters).sum::<usize>()
    }

    /// The weights that have residuals, plus these residuals of the flat vector.
    pub fn with_residuals(&self, plan: &BlockPlan, flat: &[f32], place: &Place) -> BlockWeights {
        std::array::from_fn(|number| self.projections[number].with_residuals(&plan[number], flat, place))
    }

    /// The block's output for `x`: `[rows, hidden]` to the same shape; with the saved tensors.
    pub fn forward(
        &self,
        x: Tensor<2>,
        pairs: &BlockPairs,
        pass: &Pass,
        dropout: Option<&mut Dropout>,
    ) -> (Tensor<2>, BlockSaved) {
        let seen = (self.pattern, &pass.masks);
        let attend = |qkv| Attention::forward(qkv, pass.heads, seen, pass.lengths, pass.place);
        self.forward_with(x, pairs, pass, dropout, attend)
    }

    /// The block's output for positions that follow those in `cache`, which gets them too.
    pub fn extend(&self, x: Tensor<2>, pairs: &BlockPairs, pass: &Pass, cache: &mut KeyValueCache) -> Tensor<2> {
        let attend = |qkv: Tensor<2>| {
            let first = cache.is_empty();
            read_f32(&qkv, |qkv| cache.append(pass.heads, qkv));
            let attended = match first {
                true => Attention::forward(qkv, pass.heads, (self.pattern, &pass.masks), pass.lengths, pass.place).0,
                false => {
                    let attended = read_f32(&qkv, |qkv| cache.attend(pass.heads, self.pattern, qkv));
                    pass.place.tensor(attended, [qkv.dims()[0], pass.heads.query * pass.heads.size])
                }
            };
            (attended, ())
        };
        self.forward_with(x, pairs, pass, None, attend).0
    }

    fn forward_with<A>(
        &self,
        x: Tensor<2>,
        pairs: &BlockPairs,
        pass: &Pass,
        mut dropout: Option<&mut Dropout>,
        attend: impl FnOnce(Tensor<2>) -> (Tensor<2>, A),
    ) -> (Tensor<2>, BlockSaved<A>) {
        let mut project = |number: usize, input: Tensor<2>| {
            let mask = match &mut dropout {
                Some(dropout) if pairs[number].is_some() => Some(dropout.mask(input.dims(), pass.place)),
                _ => None,
            };
            self.projections[number].forward(input, pairs[number].as_ref(), mask, (pass.place, pass.team))
        };
        let read = match self.order {
            NormOrder::Pre => self.norms[0].forward(&x),
            NormOrder::Post => x.clone(),
        };
        let (qkv, kept_qkv) = project(0, read);
        let (qkv, unnormed_heads) = match &self.head_norms {
            Some(norms) => (norms.forward(&qkv), Some(qkv)),
            None => (qkv, None),
        };
        let (attended, attention) = attend(pass.rotary.forward(qkv, pass.lengths, pass.start, self.scale));
        let (attended, kept_out) = project(1, attended);
        let sum = x.clone() + attended;
        // The input of the feed-forward part, and what its output is added to.
        let (read, middle) = match self.order {
            NormOrder::Pre => (self.norms[1].forward(&sum), sum.clone()),
            NormOrder::Post => {
                let normed = self.norms[0].forward(&sum);
                (normed.clone(), normed)
            }
        };
        let (inner, kept_up) = project(2, read);
        let (fed, kept_down) = project(3, self.activation.forward(&inner, pass.place));
        let output = middle + fed;
        let (output, unnormed) = match self.order {
            NormOrder::Pre => (output, [x, sum]),
            NormOrder::Post => (self.norms[1].forward(&output), [sum, output]),
        };
        let projections = [kept_qkv, kept_out, kept_up, kept_down];
        (output, BlockSaved { unnormed, unnormed_heads, attention, inner, projections })
    }

    /// The gradient of the block's input and of its pairs' matrices A and B by projection, given the gradient of its
    /// output. Without `need_input` nothing below the first projection is computed, and the first result has no
    /// meaning.
    pub fn backward(
        &self,
        saved: BlockSaved,
        pairs: &BlockPairs,
        gradient: Tensor<2>,
        pass: &Pass,
        need_input: bool,
    ) -> (Tensor<2>, [Option<[Tensor<2>; 2]>; 4]) {
        let BlockSaved { unnormed, unnormed_heads, attention, inner, projections } = saved;
        let [kept_qkv, kept_out, kept_up, kept_down] = &projections;
        let back = |number: usize, saved: &Saved, gradient: &Tensor<2>| {
            self.projections[number].backward_input(saved, pairs[number].as_ref(), gradient, pass.place)
        };
        let of_pairs = |number: usize, saved: &Saved, gradient: &Tensor<2>| {
            pairs[number].as_ref().and_then(|pairs| pairs.backward(saved, gradient))
        };
        let gradient = match self.order {
            NormOrder::Pre => gradient,
            NormOrder::Post => self.before_norm(1, &unnormed, gradient),
        };
        let of_down = of_pairs(3, kept_down, &gradient);
        let of_fed = back(3, kept_down, &gradient);
        let of_inner = self.activation.backward(inner, of_fed, pass.place);
        let of_up = of_pairs(2, kept_up, &of_inner);
        let of_read = back(2, kept_up, &of_inner);
        let gradient = match self.order {
            NormOrder::Pre => self.norms[1].backward(&unnormed[1], of_read, gradient),
            NormOrder::Post => self.before_norm(0, &unnormed, gradient + of_read),
        };
        let of_out = of_pairs(1, kept_out, &gradient);
        let of_attended = back(1, kept_out, &gradient);
        let of_qkv = attention.backward(of_attended, pass.lengths, pass.place);
        let of_qkv = pass.rotary.backward(of_qkv, pass.lengths, self.scale);
        let of_qkv = match (&self.head_norms, &unnormed_heads) {
            (Some(norms), Some(unnormed)) => norms.backward(unnormed, of_qkv),
            _ => of_qkv,
        };
        let of_pairs_qkv = of_pairs(0, kept_qkv, &of_qkv);
        let gradient = match (need_input, self.order) {
            (true, NormOrder::Pre) => self.norms[0].backward(&unnormed[0], back(0, kept_qkv, &of_qkv), gradient),
            (true, NormOrder::Post) => gradient + back(0, kept_qkv, &of_qkv),
            (false, _) => gradient,
        };
        (gradient, [of_pairs_qkv, of_out, of_up, of_down])
    }

    /// The gradient of the input of a norm, given that of its output, which nothing goes around.
    fn before_norm(&self, number: usize, unnormed: &[Tensor<2>; 2], gradient: Tensor<2>) -> Tensor<2> {
        self.norms[number].backward(&unnormed[number], gradient, unnormed[number].zeros_like())
    }
}

/// Reads a norm by the whole path of its module.
pub(super) fn read_norm(file: &Checkpoint, spec: &Spec, path: String, place: &Place) -> Result<Norm, TrainerError> {
    let values = |part| file.values(&file.checkpoint_name(&format!("{path}.{part}")), &[spec.hidden]);
    let bias = match spec.norm {
        NormKind::Rms => None,
        NormKind::Layer => Some(values("bias")?),
    };
    Ok(Norm::new(values("weight")?, bias, spec.epsilon, place))
}

fn tensor_name(file: &Checkpoint, spec: &Spec, block: usize, part: &str, kind: &str) -> String {
    file.checkpoint_name(&format!("{}.{kind}", spec.path(block, part)))
}

/// Reads the linear layers of one common input. Where one of them has a bias, the others get a zero bias.
fn read_projection(
    file: &Checkpoint,
    spec: &Spec,
    block: usize,
    linears: &[Linear],
    place: &Place,
) -> Result<Projection, TrainerError> {
    let values = linears.iter().map(|linear| linear.outputs * linear.inputs).sum();
    let (mut weight, mut inputs) = (Vec::with_capacity(values), 0);
    for linear in linears {
        inputs = linear.inputs;
        let name = tensor_name(file, spec, block, linear.path, "weight");
        weight.extend(match linear.transposed {
            false => file.values(&name, &[linear.outputs, linear.inputs])?,
            true => transpose(&file.values(&name, &[linear.inputs, linear.outputs])?, linear.outputs),
        });
    }
    Ok(Projection::new(weight, read_biases(file, spec, block, linears)?, inputs, place))
}

/// The linear layers of one common input, whose weights stay in their file.
fn keep_projection(
    file: &Checkpoint,
    spec: &Spec,
    block: usize,
    linears: &[Linear],
    place: &Place,
) -> Result<Projection, TrainerError> {
    let (mut parts, mut inputs) = (Vec::with_capacity(linears.len()), 0);
    for linear in linears {
        inputs = linear.inputs;
        let name = tensor_name(file, spec, block, linear.path, "weight");
        parts.push(file.kept_rows(&name, &[linear.outputs, linear.inputs])?);
    }
    Ok(Projection::kept(KeptWeight::new(parts, inputs, place), read_biases(file, spec, block, linears)?, place))
}

/// The biases of linear layers; none where no layer has one.
fn read_biases(
    file: &Checkpoint,
    spec: &Spec,
    block: usize,
    linears: &[Linear],
) -> Result<Option<Vec<f32>>, TrainerError> {
    let mut bias = Vec::new();
    for linear in linears {
        match linear.bias {
            true => bias.extend(file.values(&tensor_name(file, spec, block, linear.path, "bias"), &[linear.outputs])?),
            false => bias.resize(bias.len() + linear.outputs, 0.0),
        }
    }
    Ok(linears.iter().any(|linear| linear.bias).then_some(bias))
}

/// The transpose of a row-major `[rows, columns]`.
fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns;
    let mut swapped = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            swapped[column * rows + row] = *value;
        }
    }
    swapped
}
