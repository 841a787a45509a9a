//! What lies between the two halves of a feed-forward part.

use burn::tensor::Tensor;

use super::gelu::{self, Kind};
use super::{Place, swiglu};

/// The nonlinearity of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `silu(gate) * up`; reads twice the columns that it gives.
    SwiGlu,
    /// `x * P(normal <= x)`, the error function's GELU.
    Gelu,
    /// The GELU that a hyperbolic tangent approximates, which GPT-2 has.
    GeluTanh,
}

impl Activation {
    /// `[rows, columns]` to the same shape, or half the columns.
    pub fn forward(self, x: &Tensor<2>, place: &Place) -> Tensor<2> {
        match self {
            Self::SwiGlu => swiglu::swiglu(x, place),
            Self::Gelu => gelu::gelu(Kind::Exact, x, place),
            Self::GeluTanh => gelu::gelu(Kind::Tanh, x, place),
        }
    }

    /// The gradient of the input `x`, given that of the output.
    pub fn backward(self, x: Tensor<2>, gradient: Tensor<2>, place: &Place) -> Tensor<2> {
        match self {
            Self::SwiGlu => swiglu::swiglu_backward(x, gradient, place),
            Self::Gelu => gelu::gelu_backward(Kind::Exact, x, gradient, place),
            Self::GeluTanh => gelu::gelu_backward(Kind::Tanh, x, gradient, place),
        }
    }
}
