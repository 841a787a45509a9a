//! The output layer, from normed hidden states to logits: the model's own language head, frozen, or a classifier head,
//! which is trained and travels with the adapter.

use std::ops::Range;

use burn::tensor::Tensor;

use super::TrainerError;
use super::kept_weight::FrozenWeight;
use super::kernel::{Place, add_columns};
use super::values::values;

/// The name of the language head in checkpoints of every family.
pub(super) const LANGUAGE_HEAD: &str = "lm_head.weight";

/// Logits of a language head that are computed at a time: 2^26, 256 MB in f32.
const LOGITS: usize = 1 << 26;

/// An output layer with its weights.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few a model; a box would buy nothing")]
pub(super) enum Head {
    /// `[vocabulary, hidden]`.
    Language(FrozenWeight),
    /// A weight `[classes, hidden]` and a bias `[1, classes]`.
    Classes(Tensor<2>, Option<Tensor<2>>),
}

/// The output layer of an adapter: kind and place of its values.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few a model; a box would buy nothing")]
pub(super) enum HeadPlan {
    /// The frozen language head of the base model, `[vocabulary, hidden]`.
    Language(FrozenWeight),
    /// A trained classifier head.
    Classes(ClassPlan),
}

/// The place of a classifier head in the flat adapter vector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassPlan {
    /// Number of classes.
    pub classes: usize,
    /// `[classes, hidden]`.
    pub weight: Range<usize>,
    /// A value for each class.
    pub bias: Option<Range<usize>>,
}

impl HeadPlan {
    /// The output layer, with the values of a flat vector.
    pub fn head(&self, flat: &[f32], place: &Place) -> Head {
        let plan = match self {
            Self::Language(weight) => return Head::Language(weight.clone()),
            Self::Classes(plan) => plan,
        };
        let weight = place.tensor(flat[plan.weight.clone()].to_vec(), [plan.classes, plan.weight.len() / plan.classes]);
        let bias = plan.bias.clone().map(|bias| place.tensor(flat[bias].to_vec(), [1, plan.classes]));
        Head::Classes(weight, bias)
    }

    /// Number of classes; 0 with a language head.
    pub fn classes(&self) -> usize {
        match self {
            Self::Language(_) => 0,
            Self::Classes(plan) => plan.classes,
        }
    }

    /// Writes the gradient of a trained head to its place in a flat gradient, given the head's input, `[rows, hidden]`,
    /// and the gradient of its logits.
    pub fn write_gradient(&self, input: Tensor<2>, of_logits: Tensor<2>, flat: &mut [f32]) -> Result<(), TrainerError> {
        let Self::Classes(plan) = self else { return Ok(()) };
        if let Some(bias) = plan.bias.clone() {
            flat[bias].copy_from_slice(&values(of_logits.clone().sum_dim(0))?);
        }
        flat[plan.weight.clone()].copy_from_slice(&values(of_logits.transpose().matmul(input))?);
        Ok(())
    }
}

impl Head {
    /// The rows of `[rows, hidden]` in parts to compute one after the other, so that the logits of a large vocabulary
    /// do not all lie in memory at once. A classifier head computes all rows together.
    pub fn parts(&self, rows: &Tensor<2>) -> Vec<Range<usize>> {
        let rows = rows.dims()[0];
        let part = match self {
            Self::Language(weight) => (LOGITS / weight.dims()[0]).max(1),
            Self::Classes(..) => rows.max(1),
        };
        (0..rows).step_by(part).map(|from| from..rows.min(from + part)).collect()
    }

    /// `[rows, hidden]` to `[rows, vocabulary or classes]`.
    pub fn forward(&self, input: Tensor<2>, place: &Place) -> Tensor<2> {
        match self {
            Self::Language(weight) => weight.times_transposed(input),
            Self::Classes(weight, None) => input.matmul(weight.clone().transpose()),
            Self::Classes(weight, Some(bias)) => add_columns(input.matmul(weight.clone().transpose()), bias, place),
        }
    }

    /// The gradient of the input, given that of the logits.
    pub fn backward(&self, of_logits: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Language(weight) => weight.times(of_logits),
            Self::Classes(weight, _) => of_logits.matmul(weight.clone()),
        }
    }
}
