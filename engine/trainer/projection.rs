//! Linear layers that read the same input, as one matrix product over their frozen weights, with the LoRA pairs of those
//! among them that are trained and, where the adapter has them, residuals added to the weights.

use std::ops::Range;

use burn::tensor::Tensor;
use burn::tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};

use super::kernel::{Place, add_columns};

/// The most values of a row that share a scale in 8 bits.
const BLOCK: usize = 64;

/// Frozen linear layers with a common input, their outputs side by side. `Clone` shares the weights.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    /// `[outputs, inputs]`, in the place's type or in 8 bits.
    weight: Tensor<2>,
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
    /// What `B A` is multiplied by.
    pub scale: f32,
    /// The projection's columns that the pair adds to.
    pub outputs: Range<usize>,
    /// The layer's residual, `[outputs, inputs]`, in the flat vector.
    pub residual: Option<Range<usize>>,
}

/// Which layers of a projection are trained.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PairPlan {
    pub pairs: Vec<PairPlace>,
    pub inputs: usize,
    pub outputs: usize,
}

/// The pairs of a projection as two matrices: every `A` on top of the other, every `B` in its own columns and rows.
#[derive(Debug)]
pub(super) struct Pairs {
    /// `[ranks of all pairs, inputs]`.
    a: Tensor<2>,
    /// `[outputs, ranks of all pairs]`, times each pair's scale.
    b: Tensor<2>,
    /// The weight to compute with in place of the frozen one: that plus the residuals.
    weight: Option<Tensor<2>>,
}

/// What a projection keeps for its backward pass.
pub(super) struct Kept {
    /// What the pairs read, `[rows, inputs]`: the input, after dropout.
    input: Tensor<2>,
    /// `input A^T`, `[rows, ranks of all pairs]`; `None` without pairs.
    low: Option<Tensor<2>>,
    /// The dropout's factors.
    mask: Option<Tensor<2>>,
}

impl Projection {
    /// `weight`: `[outputs, inputs]`, row-major; `bias`: a value an output.
    pub fn new(weight: Vec<f32>, bias: Option<Vec<f32>>, inputs: usize, place: &Place) -> Self {
        let outputs = weight.len() / inputs;
        let bias = bias.map(|bias| place.tensor(bias, [1, outputs]));
        Self { weight: place.tensor(weight, [outputs, inputs]), bias }
    }

    /// The same with its weights in 8 bits: each is a whole number from -127 to 127 times the scale of its block, a part
    /// of a row, so no weight moves by more than a 254th of the largest magnitude of its block. Where a row cannot be cut so
    /// that the device reads it, the weights stay as they are.
    pub fn quantized(self, place: &Place) -> Self {
        let [_, inputs] = self.weight.dims();
        // GPU kernels read four values at a time.
        let step = if place.host { 1 } else { 4 };
        let fits = |block: &usize| inputs.is_multiple_of(*block) && block.is_multiple_of(step);
        let Some(block) = (1..=BLOCK.min(inputs)).rev().find(fits) else { return self };
        let scheme = QuantScheme::default().with_value(QuantValue::Q8S).per_block([1, block as u8], ScaleDtype::F32);
        Self { weight: self.weight.quantize_dynamic(&scheme), bias: self.bias }
    }

    /// How many weights there are.
    pub fn parameters(&self) -> usize {
        let bias = self.bias.as_ref().map_or(0, |bias| bias.dims()[1]);
        self.weight.dims().iter().product::<usize>() + bias
    }

    /// The weight plus the residuals of a flat vector; `None` where there are none, or all are zero. Costs a pass over the
    /// weight.
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

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(
        &self,
        input: Tensor<2>,
        pairs: Option<&Pairs>,
        mask: Option<Tensor<2>>,
        place: &Place,
    ) -> (Tensor<2>, Kept) {
        let output = input.clone().matmul(self.weight(pairs, place).transpose());
        let output = match &self.bias {
            Some(bias) => add_columns(output, bias, place),
            None => output,
        };
        let Some(pairs) = pairs else { return (output, Kept { input, low: None, mask: None }) };
        let input = match &mask {
            Some(mask) => input * mask.clone(),
            None => input,
        };
        let low = input.clone().matmul(pairs.a.clone().transpose());
        let output = output + low.clone().matmul(pairs.b.clone().transpose());
        (output, Kept { input, low: Some(low), mask })
    }

    /// The gradient of the input, given that of the output.
    pub fn backward_input(&self, kept: &Kept, pairs: Option<&Pairs>, gradient: &Tensor<2>, place: &Place) -> Tensor<2> {
        let through_base = gradient.clone().matmul(self.weight(pairs, place));
        let Some(pairs) = pairs else { return through_base };
        let through_pairs = gradient.clone().matmul(pairs.b.clone()).matmul(pairs.a.clone());
        match &kept.mask {
            Some(mask) => through_base + through_pairs * mask.clone(),
            None => through_base + through_pairs,
        }
    }

    fn weight(&self, pairs: Option<&Pairs>, place: &Place) -> Tensor<2> {
        pairs.and_then(|pairs| pairs.weight.clone()).unwrap_or_else(|| self.frozen(place))
    }

    /// The frozen weight in the place's type; made for this use where it is held in 8 bits.
    fn frozen(&self, place: &Place) -> Tensor<2> {
        self.weight.clone().dequantize().cast(place.dtype)
    }
}

impl Pairs {
    /// The gradients of `a` and of `b`, given that of the projection's output.
    pub fn backward(&self, kept: &Kept, gradient: &Tensor<2>) -> Option<[Tensor<2>; 2]> {
        let low = kept.low.clone()?;
        let of_low = gradient.clone().matmul(self.b.clone());
        let of_a = of_low.transpose().matmul(kept.input.clone());
        let of_b = gradient.clone().transpose().matmul(low);
        Some([of_a, of_b])
    }
}

impl PairPlan {
    /// The ranks of all pairs together.
    fn width(&self) -> usize {
        self.pairs.iter().map(|pair| pair.rank).sum()
    }

    /// Each pair with the first of its rows in `a` and columns in `b`.
    fn places(&self) -> impl Iterator<Item = (usize, &PairPlace)> {
        self.pairs.iter().scan(0, |first, pair| Some((std::mem::replace(first, *first + pair.rank), pair)))
    }

    /// The pairs' matrices from the flat vector; `None` where nothing here is trained. `weight` is what
    /// [`Projection::with_residuals`] made of the same vector.
    pub fn pairs(&self, flat: &[f32], weight: Option<&Tensor<2>>, place: &Place) -> Option<Pairs> {
        let width = self.width();
        if width == 0 {
            return None;
        }
        let mut a = Vec::with_capacity(width * self.inputs);
        let mut b = vec![0.0; self.outputs * width];
        for (first, pair) in self.places() {
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

    /// Puts the gradients of [`Pairs`] in their places of a flat gradient.
    pub fn collect(&self, of_a: &[f32], of_b: &[f32], flat: &mut [f32]) {
        let width = self.width();
        for (first, pair) in self.places() {
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
        let bytes = projection.weight.to_data().into_bytes().len();
        assert!(bytes < weight.len() * 4 / 3, "{bytes} bytes for {} weights", weight.len());
    }
}
