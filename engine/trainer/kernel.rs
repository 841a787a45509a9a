//! The parts of a transformer that are not matrix products, forward and backward, on tensors of any device.
//!
//! In main memory a single loop over a slice replaces a chain of tensor operations, each of which would read and write
//! the whole tensor; on other devices the chain runs. Tests hold the two to the same result. Norms, softmaxes and
//! losses are computed in f32 whatever the type of the model.

mod activation;
mod attention;
mod cross_entropy;
mod exp;
mod gelu;
mod host_values;
mod norm;
mod number_products;
mod pooler_activation;
mod rotary;
pub(super) mod simd;
mod swiglu;

use burn::tensor::{DType, Device, Tensor, TensorData};

pub(super) use activation::Activation;
pub(super) use attention::{Attention, AttentionPattern, Heads, KeyValueCache, Masks};
pub(super) use cross_entropy::{cross_entropy, sum_losses};
pub(super) use host_values::HostValues;
pub(super) use norm::{HeadNorms, Norm, NormKind};
pub(super) use number_products::write_number_products;
pub(super) use pooler_activation::PoolerActivation;
pub(super) use rotary::{RopeParameters, Rotary};

/// The device of tensors, and the type of the values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// Burn's device.
    pub device: Device,
    /// True where that is main memory, whose slices can be read and written at no cost.
    pub host: bool,
    /// The type of weights and hidden states; F32 in main memory.
    pub dtype: DType,
}

impl Place {
    /// Main memory.
    pub fn cpu() -> Self {
        Self { device: Device::flex(), host: true, dtype: DType::F32 }
    }

    /// A tensor of these values, row-major, in `dtype`.
    pub fn tensor<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), (&self.device, self.dtype))
    }

    /// A tensor of these values, row-major, in f32.
    fn tensor_f32<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values, shape), (&self.device, DType::F32))
    }
}

/// Adds a value to each column of `[rows, columns]`; `values`: `[1, columns]`.
pub(super) fn add_columns(to: Tensor<2>, values: &Tensor<2>, place: &Place) -> Tensor<2> {
    if !place.host {
        return to + values.clone();
    }
    let values = HostValues::of(values);
    let values = values.slice();
    edit(to, |rows| {
        for row in rows.chunks_exact_mut(values.len()) {
            row.iter_mut().zip(values).for_each(|(to, value)| *to += value);
        }
    })
}

/// The same tensor in f32.
fn to_f32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.cast(DType::F32)
}

/// Changes the values of a tensor in main memory in place. Without cost where the tensor is contiguous and not shared.
fn edit<const D: usize>(tensor: Tensor<D>, change: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let device = tensor.device();
    let mut data = tensor.into_data();
    change(data.as_mut_slice().unwrap_or_else(|_| unreachable!("tensors of this room are f32")));
    Tensor::from_data(data, &device)
}

/// Reads the values of a tensor on any device, as f32.
pub(super) fn read_f32<const D: usize, R>(tensor: &Tensor<D>, reader: impl FnOnce(&[f32]) -> R) -> R {
    read(&to_f32(tensor.clone()), reader)
}

/// Reads the values of a tensor in main memory.
fn read<const D: usize, R>(tensor: &Tensor<D>, reader: impl FnOnce(&[f32]) -> R) -> R {
    reader(HostValues::of(tensor).slice())
}
