//! The parts of a Llama that are not matrix products, forward and backward, on tensors of any device.
//!
//! In main memory a single loop over a slice replaces a chain of tensor operations, each of which would read and write
//! the whole tensor; elsewhere the chain runs. Tests hold the two to the same result.

mod attention;
mod cross_entropy;
mod exp;
mod norm;
mod rotary;
mod simd;
mod swiglu;

use burn::tensor::{Device, Tensor, TensorData};

pub(super) use attention::{Attention, Heads};
pub(super) use cross_entropy::cross_entropy;
pub(super) use norm::RmsNorm;
pub(super) use rotary::Rotary;
pub(super) use swiglu::{swiglu, swiglu_backward};

/// Where tensors lie.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// Where they are made.
    pub device: Device,
    /// Whether that is main memory, where slices are free to read and write.
    pub host: bool,
}

impl Place {
    /// Main memory.
    pub fn cpu() -> Self {
        Self { device: Device::flex(), host: true }
    }

    /// A tensor of these values, row-major.
    pub fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }
}

/// The values of a tensor in main memory, to change in place. Free where the tensor is contiguous and not shared.
fn edit<const D: usize>(tensor: Tensor<D>, change: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let device = tensor.device();
    let mut data = tensor.into_data();
    change(data.as_mut_slice().unwrap_or_else(|_| unreachable!("tensors of this room are f32")));
    Tensor::from_data(data, &device)
}

/// Reads the values of a tensor in main memory.
fn read<const D: usize, R>(tensor: &Tensor<D>, reader: impl FnOnce(&[f32]) -> R) -> R {
    reader(slice(&tensor.to_data()))
}

/// The values of a tensor's data.
fn slice(data: &TensorData) -> &[f32] {
    data.as_slice().unwrap_or_else(|_| unreachable!("tensors of this room are f32"))
}
