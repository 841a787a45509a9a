//! The activation of a feed-forward layer.

use burn::tensor::Tensor;

use super::gelu::{self, GeluKind};
use super::{Place, swiglu};

/// The activation of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `silu(gate) * up`; its input has twice the columns of its output.
    SwiGlu,
    /// `x * P(normal <= x)`, the exact GELU.
    Gelu,
    /// The tanh approximation of GELU, as in GPT-2.
    GeluTanh,
}

impl Activation {
    /// The activation of `[rows, columns]`: the same shape, or half the columns.
    pub fn forward(self, x: &Tensor<2>, place: &Place) -> Tensor<2> {
        match self {
            Self::SwiGlu => swiglu::swiglu(x, place),
            Self::Gelu => gelu::gelu(GeluKind::Exact, x, place),
            Self::GeluTanh => gelu::gelu(GeluKind::Tanh, x, place),
        }
    }

    /// The gradient of the input `x`, given that of the output.
    pub fn backward(self, x: Tensor<2>, gradient: Tensor<2>, place: &Place) -> Tensor<2> {
        match self {
            Self::SwiGlu => swiglu::swiglu_backward(x, gradient, place),
            Self::Gelu => gelu::gelu_backward(GeluKind::Exact, x, gradient, place),
            Self::GeluTanh => gelu::gelu_backward(GeluKind::Tanh, x, gradient, place),
        }
    }
}
