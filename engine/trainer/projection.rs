//! Linear layers that read the same input, as one matrix product over their frozen weights, with the LoRA pairs of those
//! among them that are trained and, where the adapter has them, residuals added to the weights.

use std::ops::Range;

use burn::tensor::Tensor;

use super::kernel::Place;

/// Frozen linear layers with a common input, their outputs side by side. `Clone` shares the weights.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    /// `[outputs, inputs]`.
    weight: Tensor<2>,
}

/// The place of one trained pair in the flat adapter vector and in its projection.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PairPlace {
    /// `A`, `[rank, inputs]`, in the flat vector.
    pub a: Range<usize>,
    /// `B`, `[outputs, rank]`, in the flat vector.
    pub b: Range<usize>,
    /// The projection's columns that the pair adds to.
    pub outputs: Range<usize>,
    /// The layer's residual, `[outputs, inputs]`, in the flat vector.
    pub residual: Option<Range<usize>>,
}

/// Which layers of a projection are trained.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PairPlan {
    pub pairs: Vec<PairPlace>,
    pub rank: usize,
    /// alpha / rank.
    pub scale: f32,
    pub inputs: usize,
    pub outputs: usize,
}

/// The pairs of a projection as two matrices: every `A` on top of the other, every `B` in its own columns and rows.
#[derive(Debug)]
pub(super) struct Pairs {
    /// `[pairs * rank, inputs]`.
    a: Tensor<2>,
    /// `[outputs, pairs * rank]`, times the scale.
    b: Tensor<2>,
    /// The weight to compute with in place of the frozen one: that plus the residuals.
    weight: Option<Tensor<2>>,
}

/// What a projection keeps for its backward pass.
pub(super) struct Kept {
    /// What the pairs read, `[rows, inputs]`: the input, after dropout.
    input: Tensor<2>,
    /// `input A^T`, `[rows, pairs * rank]`; `None` without pairs.
    low: Option<Tensor<2>>,
    /// The dropout's factors.
    mask: Option<Tensor<2>>,
}

impl Projection {
    /// `weight`: `[outputs, inputs]`, row-major.
    pub fn new(weight: Vec<f32>, inputs: usize, place: &Place) -> Self {
        let outputs = weight.len() / inputs;
        Self { weight: place.tensor(weight, [outputs, inputs]) }
    }

    /// How many weights there are.
    pub fn parameters(&self) -> usize {
        self.weight.dims().iter().product()
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
        Some(self.weight.clone() + place.tensor(sum, [plan.outputs, plan.inputs]))
    }

    /// `[rows, inputs]` to `[rows, outputs]`.
    pub fn forward(&self, input: Tensor<2>, pairs: Option<&Pairs>, mask: Option<Tensor<2>>) -> (Tensor<2>, Kept) {
        let output = input.clone().matmul(self.weight(pairs).transpose());
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
    pub fn backward_input(&self, kept: &Kept, pairs: Option<&Pairs>, gradient: &Tensor<2>) -> Tensor<2> {
        let through_base = gradient.clone().matmul(self.weight(pairs));
        let Some(pairs) = pairs else { return through_base };
        let through_pairs = gradient.clone().matmul(pairs.b.clone()).matmul(pairs.a.clone());
        match &kept.mask {
            Some(mask) => through_base + through_pairs * mask.clone(),
            None => through_base + through_pairs,
        }
    }

    fn weight(&self, pairs: Option<&Pairs>) -> Tensor<2> {
        pairs.and_then(|pairs| pairs.weight.as_ref()).unwrap_or(&self.weight).clone()
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
    /// The pairs' matrices from the flat vector; `None` where nothing here is trained. `weight` is what
    /// [`Projection::with_residuals`] made of the same vector.
    pub fn pairs(&self, flat: &[f32], weight: Option<&Tensor<2>>, place: &Place) -> Option<Pairs> {
        let width = self.pairs.len() * self.rank;
        if width == 0 {
            return None;
        }
        let mut a = Vec::with_capacity(width * self.inputs);
        let mut b = vec![0.0; self.outputs * width];
        for (number, pair) in self.pairs.iter().enumerate() {
            a.extend_from_slice(&flat[pair.a.clone()]);
            let rows = b[pair.outputs.start * width..pair.outputs.end * width].chunks_exact_mut(width);
            for (row, values) in rows.zip(flat[pair.b.clone()].chunks_exact(self.rank)) {
                for (to, from) in row[number * self.rank..].iter_mut().zip(values) {
                    *to = from * self.scale;
                }
            }
        }
        let (a, b) = (place.tensor(a, [width, self.inputs]), place.tensor(b, [self.outputs, width]));
        Some(Pairs { a, b, weight: weight.cloned() })
    }

    /// Puts the gradients of [`Pairs`] in their places of a flat gradient.
    pub fn collect(&self, of_a: &[f32], of_b: &[f32], flat: &mut [f32]) {
        let width = self.pairs.len() * self.rank;
        for (number, (pair, of_a)) in self.pairs.iter().zip(of_a.chunks_exact(self.rank * self.inputs)).enumerate() {
            flat[pair.a.clone()].copy_from_slice(of_a);
            let rows = of_b[pair.outputs.start * width..pair.outputs.end * width].chunks_exact(width);
            for (to, row) in flat[pair.b.clone()].chunks_exact_mut(self.rank).zip(rows) {
                for (to, from) in to.iter_mut().zip(&row[number * self.rank..]) {
                    *to = from * self.scale;
                }
            }
        }
    }
}
