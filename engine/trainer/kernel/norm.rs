//! Norms over the rows of a tensor, with frozen weights, forward and backward.

mod heads;
mod layer;
mod rms;

use burn::tensor::Tensor;

use super::Place;

pub(crate) use heads::HeadNorms;
use layer::LayerNorm;
use rms::RmsNorm;

/// The kind of a family's norms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NormKind {
    /// RMSNorm: without mean and bias.
    Rms,
    /// LayerNorm: with both.
    Layer,
}

/// A norm of either kind.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there are a few a model; a box would buy nothing")]
pub(crate) enum Norm {
    Rms(RmsNorm),
    Layer(LayerNorm),
}

impl Norm {
    /// `weight`, and `bias` where the kind has one, have a value for each column.
    pub fn new(weight: Vec<f32>, bias: Option<Vec<f32>>, epsilon: f32, place: &Place) -> Self {
        match bias {
            None => Self::Rms(RmsNorm::new(weight, epsilon, place)),
            Some(bias) => Self::Layer(LayerNorm::new(weight, bias, epsilon, place)),
        }
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        match self {
            Self::Rms(norm) => norm.parameters(),
            Self::Layer(norm) => norm.parameters(),
        }
    }

    /// The norm of `[rows, columns]`, to the same shape.
    pub fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        match self {
            Self::Rms(norm) => norm.forward(x),
            Self::Layer(norm) => norm.forward(x),
        }
    }

    /// The gradient of the input `x`, given that of the output, plus `skip`, the gradient that reaches `x` around the norm.
    pub fn backward(&self, x: &Tensor<2>, gradient: Tensor<2>, skip: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Rms(norm) => norm.backward(x, gradient, skip),
            Self::Layer(norm) => norm.backward(x, gradient, skip),
        }
    }
}
