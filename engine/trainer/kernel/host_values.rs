//! The values of a tensor where they lie: a tensor in, a slice out. Burn's own way to a slice copies each tensor that
//! something else holds too, and a saved activation is always held.

use burn::tensor::{DType, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};

/// The values of a tensor, row-major, f32.
pub(crate) enum HostValues {
    /// In main memory; shared with the tensor where that is contiguous.
    Shared(FlexTensor),
    /// A copy of what lay on another device.
    Copied(TensorData),
}

impl HostValues {
    /// The values of a tensor of f32.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Self {
        match tensor.clone().try_into_primitive::<Flex>() {
            Ok(tensor) if tensor.dtype() == DType::F32 && tensor.is_contiguous() => Self::Shared(tensor),
            _ => Self::Copied(tensor.to_data()),
        }
    }

    /// The values.
    pub fn slice(&self) -> &[f32] {
        let values = match self {
            Self::Shared(tensor) => tensor.as_slice(),
            Self::Copied(data) => data.as_slice().ok(),
        };
        values.unwrap_or_else(|| unreachable!("tensors of this room are f32"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    #[test]
    fn a_tensor_that_others_hold_is_read_where_it_lies() {
        let tensor = Place::cpu().tensor(vec![1.0, 2.0, 3.0, 4.0], [2, 2]);
        let [first, second] = [HostValues::of(&tensor), HostValues::of(&tensor)];
        assert_eq!((first.slice(), first.slice().as_ptr()), (&[1.0, 2.0, 3.0, 4.0][..], second.slice().as_ptr()));
    }

    #[test]
    fn a_part_and_a_turned_tensor_are_read_in_their_own_order() {
        let tensor = Place::cpu().tensor(vec![1.0, 2.0, 3.0, 4.0], [2, 2]);
        assert_eq!(HostValues::of(&tensor.clone().slice([1..2, 0..2])).slice(), [3.0, 4.0]);
        assert_eq!(HostValues::of(&tensor.clone().slice([0..2, 1..2])).slice(), [2.0, 4.0]);
        assert_eq!(HostValues::of(&tensor.transpose()).slice(), [1.0, 3.0, 2.0, 4.0]);
    }
}
