//! Linear layers with a common input as one matrix product over their frozen weights, with the LoRA pairs of those that
//! are trained and, where the adapter has them, residuals added to the weights.

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};

use super::kept_weight::{FrozenWeight, KeptWeight, times_transposed};
use super::kernel::{Place, add_columns};
use super::team::Team;

/// Values of a row that share a scale in 8 bits, at most.
const BLOCK: usize = 64;

/// Frozen linear layers with a common input, their outputs side by side. `Clone` shares the weights.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    weight: FrozenWeight,
    /// `[1, outputs]`.
    bias: Option<Tensor<2>>,
}

/// The place of one trained pair in the flat adapter vector and in its projection.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PairPlace {
    /// `A`, `[rank, inputs]`, in the flat vector.
    pub a: Range<usize>,
    /// `B`, `[outputs, rank]`, in the flat vector.
    pub b: Range<usize>,
    /// Rows of `A`.
    pub rank: usize,
    /// The factor of `B A`.
    pub scale: f32,
    /// The projection's columns that the pair adds to.
    pub outputs: Range<usize>,
    /// The layer's residual, `[outputs, inputs]`, in the flat vector.
    pub residual: Option<Range<usize>>,
}

/// The trained pairs of a projection.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PairPlan {
    pub pairs: Vec<PairPlace>,
    pub inputs: usize,
    pub outputs: usize,
}

/// The pairs of a projection as two matrices: the `A`s stacked, the `B`s in a block-diagonal matrix.
#[derive(Debug)]
pub(super) struct Pairs {
    /// `[ranks of all pairs, inputs]`.
    a: Tensor<2>,
    /// `[outputs, ranks of all pairs]`, times each pair's scale.
    b: Tensor<2>,
    /// The frozen weight plus the residuals; none where there is no residual.
    weight: Option<Tensor<2>>,
}

/// The tensors that a projection saves for its backward pass.
pub(super) struct Saved {
    /// The input of the pairs, `[rows, inputs]`: the projection's input after dropout.
    input: Tensor<2>,
    /// `input A^T`, `[rows, ranks of all pairs]`; `None` without pairs.
    low: Option<Tensor<2>>,
    /// The dropout mask.
    mask: Option<Tensor<2>>,
}

impl Projection {
    /// `weight`: `[outputs, inputs]`, row-major; `bias`: a value an output.
    pub fn new(weight: Vec<f32>, bias: Option<Vec<f32>>, inputs: usize, place: &Place) -> Self {
        let outputs = weight.len() / inputs;
        let bias = bias.map(|bias| place.tensor(bias, [1, outputs]));
        Self { weight: FrozenWeight::Tensor(place.tensor(weight, [outputs, inputs])), bias }
    }

    /// The same of a weight that stays in its file.
    pub fn kept(weight: KeptWeight, bias: Option<Vec<f32>>, place: &Place) -> Self {
        let [outputs, _] = weight.dims();
        let bias = bias.map(|bias| place.tensor(bias, [1, outputs]));
        Self { weight: FrozenWeight::Kept(weight), bias }
    }

    /// The same projection in 8 bits: each weight is a whole number from -127 to 127 times the scale of its block, a
    /// part of a row, so no weight moves by more than a 254th of the largest magnitude in its block. Where a row cannot
    /// be cut into blocks that the device reads, the weights stay as they are.
    pub fn quantized(self, place: &Place) -> Self {
        let FrozenWeight::Tensor(weight) = &self.weight else { return self };
        let [_, inputs] = weight.dims();
        // GPU kernels read four values at a time.
        let step = if place.host { 1 } else { 4 };
        let fits = |block: &usize| inputs.is_multiple_of(*block) && block.is_multiple_of(step);
        let Some(block) = (1..=BLOCK.min(inputs)).rev().find(fits) else { return self };
        let scheme = QuantScheme::default().with_value(QuantValue::Q8S).per_block([1, block as u8], ScaleDtype::F32);
        Self { weight: FrozenWeight::Tensor(weight.clone().quantize_dynamic(&scheme)), bias: self.bias }
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        let bias = self.bias.as_ref().map_or(0, |bias| bias.dims()[1]);
        self.weight.dims().iter().product::<usize>() + bias
    }

    /// The weight plus the residuals of a flat vector; `None` where there are none, or all are zero. Costs a pass over
    /// the weight.
    pub fn with_residuals(&self, plan: &PairPlan, flat: &[f32], place: &Place) -> Option<Tensor<2>> {
        let residuals = || plan.pairs.iter().filter_map(|pair| Some((&pair.outputs, &flat[pair.residual.clone()?])));
        if residuals().all(|(_, values)| values.iter().all(|value| *value == 0.0)) {
            return None;
        }
        let mut sum = vec![0.0; plan.outputs * plan.inputs];
        for (outputs, values) in residuals() {
            sum[outputs.start * plan.inputs..outputs.end * plan.inputs].copy_from_slice(values);
        }
        Some(self.frozen(place) + place.tensor(sum, [plan.outputs, plan.inputs]))
    }

    /// The output for `[rows, inputs]`: `[rows, outputs]`; with the saved tensors. A team shares the product with the
    /// frozen weights.
    pub fn forward(
        &self,
        input: Tensor<2>,
        pairs: Option<&Pairs>,
        mask: Option<Tensor<2>>,
        (place, team): (&Place, Option<&Team>),
    ) -> (Tensor<2>, Saved) {
        let output = match self.kept_weight(pairs) {
            Some(kept) => kept.times_transposed(&input, team),
            None => times_transposed(input.clone(), &self.weight(pairs, place), team),
        };
        let output = match &self.bias {
            Some(bias) => add_columns(output, bias, place),
            None => output,
        };
        let Some(pairs) = pairs else { return (output, Saved { input, low: None, mask: None }) };
        let input = match &mask {
            Some(mask) => input * mask.clone(),
            None => input,
        };
        let low = input.clone().matmul(pairs.a.clone().transpose());
        let output = output + low.clone().matmul(pairs.b.clone().transpose());
        (output, Saved { input, low: Some(low), mask })
    }

    /// The gradient of the input, given that of the output.
    pub fn backward_input(
        &self,
        saved: &Saved,
        pairs: Option<&Pairs>,
        gradient: &Tensor<2>,
        place: &Place,
    ) -> Tensor<2> {
        let through_base = match self.kept_weight(pairs) {
            Some(kept) => kept.times(gradient),
            None => gradient.clone().matmul(self.weight(pairs, place)),
        };
        let Some(pairs) = pairs else { return through_base };
        let through_pairs = gradient.clone().matmul(pairs.b.clone()).matmul(pairs.a.clone());
        match &saved.mask {
            Some(mask) => through_base + through_pairs * mask.clone(),
            None => through_base + through_pairs,
        }
    }

    fn weight(&self, pairs: Option<&Pairs>, place: &Place) -> Tensor<2> {
        pairs.and_then(|pairs| pairs.weight.clone()).unwrap_or_else(|| self.frozen(place))
    }

    /// The weight that stays in its file, unless residuals were added to it.
    fn kept_weight(&self, pairs: Option<&Pairs>) -> Option<&KeptWeight> {
        match &self.weight {
            FrozenWeight::Kept(kept) if pairs.is_none_or(|pairs| pairs.weight.is_none()) => Some(kept),
            _ => None,
        }
    }

    /// The frozen weight in the place's type; dequantized for this use where it is held in 8 bits or in its file.
    fn frozen(&self, place: &Place) -> Tensor<2> {
        match &self.weight {
            FrozenWeight::Tensor(weight) => weight.clone().dequantize().cast(place.dtype),
            FrozenWeight::Kept(kept) => kept.whole(),
        }
    }
}

impl Pairs {
    /// The gradients of `a` and of `b`, given that of the projection's output.
    pub fn backward(&self, saved: &Saved, gradient: &Tensor<2>) -> Option<[Tensor<2>; 2]> {
        let low = saved.low.clone()?;
        let of_low = gradient.clone().matmul(self.b.clone());
        let of_a = of_low.transpose().matmul(saved.input.clone());
        let of_b = gradient.clone().transpose().matmul(low);
        Some([of_a, of_b])
    }
}

impl PairPlan {
    /// The sum of the ranks of all pairs.
    fn width(&self) -> usize {
        self.pairs.iter().map(|pair| pair.rank).sum()
    }

    /// Each pair with its first row in `a` and its first column in `b`.
    fn pairs_with_offsets(&self) -> impl Iterator<Item = (usize, &PairPlace)> {
        self.pairs.iter().scan(0, |first, pair| Some((std::mem::replace(first, *first + pair.rank), pair)))
    }

    /// The pairs' matrices from the flat vector; `None` where the projection has no pair. `weight` is
    /// the result of [`Projection::with_residuals`] for the same vector.
    pub fn pairs(&self, flat: &[f32], weight: Option<&Tensor<2>>, place: &Place) -> Option<Pairs> {
        let width = self.width();
        if width == 0 {
            return None;
        }
        let mut a = Vec::with_capacity(width * self.inputs);
        let mut b = vec![0.0; self.outputs * width];
        for (first, pair) in self.pairs_with_offsets() {
            a.extend_from_slice(&flat[pair.a.clone()]);
            let rows = b[pair.outputs.start * width..pair.outputs.end * width].chunks_exact_mut(width);
            for (row, values) in rows.zip(flat[pair.b.clone()].chunks_exact(pair.rank)) {
                for (to, from) in row[first..].iter_mut().zip(values) {
                    *to = from * pair.scale;
                }
            }
        }
        let (a, b) = (place.tensor(a, [width, self.inputs]), place.tensor(b, [self.outputs, width]));
        Some(Pairs { a, b, weight: weight.cloned() })
    }

    /// Writes the gradients of [`Pairs`] to their places in a flat gradient.
    pub fn write_gradients(&self, of_a: &[f32], of_b: &[f32], flat: &mut [f32]) {
        let width = self.width();
        for (first, pair) in self.pairs_with_offsets() {
            flat[pair.a.clone()].copy_from_slice(&of_a[first * self.inputs..(first + pair.rank) * self.inputs]);
            let rows = of_b[pair.outputs.start * width..pair.outputs.end * width].chunks_exact(width);
            for (to, row) in flat[pair.b.clone()].chunks_exact_mut(pair.rank).zip(rows) {
                for (to, from) in to.iter_mut().zip(&row[first..]) {
                    *to = from * pair.scale;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::values::values;

    #[test]
    fn eight_bits_move_no_weight_by_more_than_half_a_step_of_its_block() {
        let (outputs, inputs) = (5, 172);
        let weight: Vec<f32> =
            (0..outputs * inputs).map(|at| (at as f32 * 0.7).sin() * (1.0 + at as f32 / 100.0)).collect();
        let projection = Projection::new(weight.clone(), None, inputs, &Place::cpu()).quantized(&Place::cpu());
        let read = values(projection.frozen(&Place::cpu())).unwrap();
        // 172 has no divisor between 43 and 64.
        for (block, (weight, read)) in weight.chunks(43).zip(read.chunks(43)).enumerate() {
            let largest = weight.iter().fold(0.0, |largest: f32, value| largest.max(value.abs()));
            let moved = weight.iter().zip(read).map(|(weight, read)| (weight - read).abs()).fold(0.0, f32::max);
            assert!(moved > 0.0 && moved <= 1.001 * largest / 254.0, "block {block}: {moved} of {largest}");
        }
        assert_eq!(projection.parameters(), outputs * inputs);
        let FrozenWeight::Tensor(quantized) = projection.weight else { panic!("it was made of values") };
        let bytes = quantized.to_data().into_bytes().len();
        assert!(bytes < weight.len() * 4 / 3, "{bytes} bytes for {} weights", weight.len());
    }
}
