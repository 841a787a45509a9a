//! What turns normed hidden states into logits: the model's own language head, frozen, or one for classes, which is trained
//! and travels with the adapter.

use std::ops::Range;

use burn::tensor::Tensor;

use super::TrainerError;
use super::kernel::{Place, add_columns};
use super::values::values;

/// What a checkpoint calls the language head of every family.
pub(super) const LANGUAGE_HEAD: &str = "lm_head.weight";

/// Logits of a language head that are computed at a time: 256 MB in f32.
const LOGITS: usize = 1 << 26;

/// A head, ready to compute with.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few a model; a box would buy nothing")]
pub(super) enum Head {
    /// `[vocabulary, hidden]`.
    Language(Tensor<2>),
    /// A weight `[classes, hidden]` and a bias `[1, classes]`.
    Classes(Tensor<2>, Option<Tensor<2>>),
}

/// Which head an adapter has, and where its values lie.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few a model; a box would buy nothing")]
pub(super) enum HeadPlan {
    /// That of the base model, `[vocabulary, hidden]`.
    Language(Tensor<2>),
    /// One of its own.
    Classes(ClassPlan),
}

/// The place of a head for classes in the flat adapter vector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassPlan {
    /// How many classes there are.
    pub classes: usize,
    /// `[classes, hidden]`.
    pub weight: Range<usize>,
    /// A value a class.
    pub bias: Option<Range<usize>>,
}

impl HeadPlan {
    /// The head with the values of a flat vector.
    pub fn head(&self, flat: &[f32], place: &Place) -> Head {
        let plan = match self {
            Self::Language(weight) => return Head::Language(weight.clone()),
            Self::Classes(plan) => plan,
        };
        let weight = place.tensor(flat[plan.weight.clone()].to_vec(), [plan.classes, plan.weight.len() / plan.classes]);
        let bias = plan.bias.clone().map(|bias| place.tensor(flat[bias].to_vec(), [1, plan.classes]));
        Head::Classes(weight, bias)
    }

    /// How many classes there are; 0 with a language head.
    pub fn classes(&self) -> usize {
        match self {
            Self::Language(_) => 0,
            Self::Classes(plan) => plan.classes,
        }
    }

    /// Puts the gradient of what is trained in its place of a flat gradient, given what the head read, `[rows, hidden]`,
    /// and the gradient of what it gave.
    pub fn collect(&self, input: Tensor<2>, of_logits: Tensor<2>, flat: &mut [f32]) -> Result<(), TrainerError> {
        let Self::Classes(plan) = self else { return Ok(()) };
        if let Some(bias) = plan.bias.clone() {
            flat[bias].copy_from_slice(&values(of_logits.clone().sum_dim(0))?);
        }
        flat[plan.weight.clone()].copy_from_slice(&values(of_logits.transpose().matmul(input))?);
        Ok(())
    }
}

impl Head {
    /// The rows of `[rows, hidden]` in parts that are read one after the other, so that the logits of a large vocabulary
    /// do not all lie in memory at once. A head that is trained reads all of them together.
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
        let logits = input.matmul(self.weight().transpose());
        match self {
            Self::Classes(_, Some(bias)) => add_columns(logits, bias, place),
            _ => logits,
        }
    }

    /// The gradient of the input, given that of the logits.
    pub fn backward(&self, of_logits: Tensor<2>) -> Tensor<2> {
        of_logits.matmul(self.weight())
    }

    fn weight(&self) -> Tensor<2> {
        let (Self::Language(weight) | Self::Classes(weight, _)) = self;
        weight.clone()
    }
}
