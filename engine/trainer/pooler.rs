//! The layer between the hidden state of a sequence and its classes: BERT's pooler, which belongs to the frozen base
//! model, or the first layer of the heads of RoBERTa and DistilBERT, which is trained and travels with the adapter.

use std::ops::Range;

use burn::tensor::Tensor;

use super::TrainerError;
use super::family::PoolerLayer;
use super::kernel::{Place, PoolerActivation, add_columns};
use super::values::values;
use super::weights::Checkpoint;

/// A linear layer with its activation.
#[derive(Debug)]
pub(super) struct Pooler {
    /// `[hidden, hidden]`.
    weight: Tensor<2>,
    /// `[1, hidden]`.
    bias: Tensor<2>,
    activation: PoolerActivation,
}

/// The place of a trained one in the flat adapter vector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PoolerPlan {
    /// `[hidden, hidden]`.
    pub weight: Range<usize>,
    /// A value for each of its outputs.
    pub bias: Range<usize>,
    /// Its activation.
    pub activation: PoolerActivation,
}

impl Pooler {
    /// Reads the frozen one of a checkpoint.
    pub fn read(file: &Checkpoint, layer: PoolerLayer, hidden: usize, place: &Place) -> Result<Self, TrainerError> {
        let values = |part: &str, shape: &[usize]| {
            let tensor = file.checkpoint_name(&format!("{}.{part}", layer.path));
            file.values(&tensor, shape).map_err(|error| match error {
                TrainerError::MissingTensor { file, tensor } => TrainerError::NoPooler { file, tensor },
                other => other,
            })
        };
        Ok(Self {
            weight: place.tensor(values("weight", &[hidden, hidden])?, [hidden, hidden]),
            bias: place.tensor(values("bias", &[hidden])?, [1, hidden]),
            activation: layer.activation,
        })
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.weight.dims().iter().product::<usize>() + self.bias.dims()[1]
    }

    /// `[rows, hidden]` to the same shape.
    pub fn forward(&self, input: Tensor<2>, place: &Place) -> Tensor<2> {
        let sum = add_columns(input.matmul(self.weight.clone().transpose()), &self.bias, place);
        self.activation.forward(sum, place)
    }

    /// The gradients of the activation's input and of the layer's input, given the layer's output and its gradient.
    pub fn backward(&self, output: &Tensor<2>, gradient: Tensor<2>, place: &Place) -> [Tensor<2>; 2] {
        let of_sum = self.activation.backward(output, gradient, place);
        let of_input = of_sum.clone().matmul(self.weight.clone());
        [of_sum, of_input]
    }
}

impl PoolerPlan {
    /// The layer with the values of a flat vector.
    pub fn pooler(&self, flat: &[f32], place: &Place) -> Pooler {
        let hidden = self.bias.len();
        Pooler {
            weight: place.tensor(flat[self.weight.clone()].to_vec(), [hidden, hidden]),
            bias: place.tensor(flat[self.bias.clone()].to_vec(), [1, hidden]),
            activation: self.activation,
        }
    }

    /// Writes the gradient of the layer to its place in a flat gradient, given its input and the gradient of its
    /// activation's input.
    pub fn write_gradient(&self, input: Tensor<2>, of_sum: Tensor<2>, flat: &mut [f32]) -> Result<(), TrainerError> {
        flat[self.bias.clone()].copy_from_slice(&values(of_sum.clone().sum_dim(0))?);
        flat[self.weight.clone()].copy_from_slice(&values(of_sum.transpose().matmul(input))?);
        Ok(())
    }
}
