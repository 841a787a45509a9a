//! The output layer, from normed hidden states to logits: the model's own language head, frozen, or a classifier head,
//! which is trained and travels with the adapter.

use std::ops::Range;

use burn::tensor::Tensor;

use super::TrainerError;
use super::kept_weight::FrozenWeight;
use super::kernel::{Place, add_columns};
use super::pooler::{Pooler, PoolerPlan};
use super::team::Team;
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
    /// A classifier head.
    Classes {
        /// The trained layer before the last.
        pooler: Option<Pooler>,
        /// `[classes, hidden]`.
        weight: Tensor<2>,
        /// `[1, classes]`.
        bias: Option<Tensor<2>>,
    },
}

/// The tensors that a head saves for its backward pass.
pub(super) struct HeadSaved {
    /// The head's input, `[rows, hidden]`.
    input: Tensor<2>,
    /// The input of its last layer: the same, unless there is a layer before that.
    pooled: Tensor<2>,
}

/// The gradients that a head's backward pass gives.
pub(super) struct HeadGradients {
    /// That of the input.
    pub of_input: Tensor<2>,
    /// That of the activation's input in the layer before the last.
    pub of_sum: Option<Tensor<2>>,
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
    /// The layer before the last.
    pub pooler: Option<PoolerPlan>,
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
        Head::Classes { pooler: plan.pooler.as_ref().map(|plan| plan.pooler(flat, place)), weight, bias }
    }

    /// Number of classes; 0 with a language head.
    pub fn classes(&self) -> usize {
        match self {
            Self::Language(_) => 0,
            Self::Classes(plan) => plan.classes,
        }
    }

    /// Writes the gradient of a trained head to its place in a flat gradient, given the gradient of its logits.
    pub fn write_gradient(
        &self,
        saved: HeadSaved,
        of_sum: Option<Tensor<2>>,
        of_logits: Tensor<2>,
        flat: &mut [f32],
    ) -> Result<(), TrainerError> {
        let Self::Classes(plan) = self else { return Ok(()) };
        if let Some(bias) = plan.bias.clone() {
            flat[bias].copy_from_slice(&values(of_logits.clone().sum_dim(0))?);
        }
        flat[plan.weight.clone()].copy_from_slice(&values(of_logits.transpose().matmul(saved.pooled))?);
        match (&plan.pooler, of_sum) {
            (Some(plan), Some(of_sum)) => plan.write_gradient(saved.input, of_sum, flat),
            _ => Ok(()),
        }
    }
}

impl Head {
    /// The rows of `[rows, hidden]` in parts to compute one after the other, so that the logits of a large vocabulary
    /// do not all lie in memory at once. A classifier head computes all rows together.
    pub fn parts(&self, rows: &Tensor<2>) -> Vec<Range<usize>> {
        let rows = rows.dims()[0];
        let part = match self {
            Self::Language(weight) => (LOGITS / weight.dims()[0]).max(1),
            Self::Classes { .. } => rows.max(1),
        };
        (0..rows).step_by(part).map(|from| from..rows.min(from + part)).collect()
    }

    /// `[rows, hidden]` to `[rows, vocabulary or classes]`, with the saved tensors. A team shares the product with the
    /// language head.
    pub fn forward(&self, input: Tensor<2>, (place, team): (&Place, Option<&Team>)) -> (Tensor<2>, HeadSaved) {
        let pooled = match self {
            Self::Classes { pooler: Some(pooler), .. } => pooler.forward(input.clone(), place),
            _ => input.clone(),
        };
        let logits = match self {
            Self::Language(weight) => weight.times_transposed(pooled.clone(), team),
            Self::Classes { weight, .. } => pooled.clone().matmul(weight.clone().transpose()),
        };
        let logits = match self {
            Self::Classes { bias: Some(bias), .. } => add_columns(logits, bias, place),
            _ => logits,
        };
        (logits, HeadSaved { input, pooled })
    }

    /// The gradient of the input, given that of the logits.
    pub fn backward(&self, saved: &HeadSaved, of_logits: Tensor<2>, place: &Place) -> HeadGradients {
        let of_pooled = match self {
            Self::Language(weight) => weight.times(of_logits),
            Self::Classes { weight, .. } => of_logits.matmul(weight.clone()),
        };
        match self {
            Self::Classes { pooler: Some(pooler), .. } => {
                let [of_sum, of_input] = pooler.backward(&saved.pooled, of_pooled, place);
                HeadGradients { of_input, of_sum: Some(of_sum) }
            }
            _ => HeadGradients { of_input: of_pooled, of_sum: None },
        }
    }
}
