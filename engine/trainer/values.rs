//! Tensors of any device in, their values in main memory out.

use burn::tensor::{DType, Tensor, TensorData};

use super::TrainerError;

/// The values of a tensor, row-major.
pub(super) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainerError> {
    floats(tensor.cast(DType::F32).try_into_data().map_err(|error| TrainerError::Compute(format!("{error:?}")))?)
}

/// The values of a tensor's data, row-major.
pub(super) fn floats(data: TensorData) -> Result<Vec<f32>, TrainerError> {
    data.try_into_vec().map_err(|error| TrainerError::Compute(format!("{error:?}")))
}
