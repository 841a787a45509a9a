//! Layer normalization (Ba et al. 2016): `y = (x - mean) / sqrt(variance + epsilon) * weight + bias`, rows apart.

use burn::tensor::Tensor;

use crate::trainer::kernel::{HostValues, Place, edit, exp, to_f32};

/// One LayerNorm with its frozen weight and bias.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    /// Weight and bias, `[1, columns]`.
    tensors: [Tensor<2>; 2],
    weight: Vec<f32>,
    bias: Vec<f32>,
    epsilon: f32,
    host: bool,
}

impl LayerNorm {
    /// `weight` and `bias` have one value a column.
    pub fn new(weight: Vec<f32>, bias: Vec<f32>, epsilon: f32, place: &Place) -> Self {
        let tensors = [&weight, &bias].map(|values| place.tensor_f32(values.clone(), [1, values.len()]));
        Self { tensors, weight, bias, epsilon, host: place.host }
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        2 * self.weight.len()
    }

    /// The GELU of `[rows, columns]`, to the same shape.
    pub fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        if self.host {
            return edit(x.clone(), |rows| {
                for row in rows.chunks_exact_mut(self.weight.len()) {
                    let inverse = center(row, self.epsilon);
                    for ((value, weight), bias) in row.iter_mut().zip(&self.weight).zip(&self.bias) {
                        *value = *value * inverse * weight + bias;
                    }
                }
            });
        }
        let (unit, _) = self.unit(x);
        (unit * self.tensors[0].clone() + self.tensors[1].clone()).cast(x.dtype())
    }

    /// The gradient of the input `x`, given that of the output, plus `skip`, the gradient that reaches `x` around the norm.
    pub fn backward(&self, x: &Tensor<2>, gradient: Tensor<2>, skip: Tensor<2>) -> Tensor<2> {
        if self.host {
            let (x, gradient) = (HostValues::of(x), HostValues::of(&gradient));
            return edit(skip, |skip| self.backward_rows(x.slice(), gradient.slice(), skip));
        }
        let (unit, inverse) = self.unit(x);
        let scaled = to_f32(gradient) * self.tensors[0].clone();
        let along = (scaled.clone() * unit.clone()).mean_dim(1);
        let mean = scaled.clone().mean_dim(1);
        (to_f32(skip) + (scaled - mean - unit * along) * inverse).cast(x.dtype())
    }

    fn backward_rows(&self, x: &[f32], gradient: &[f32], skip: &mut [f32]) {
        let columns = self.weight.len();
        let [mut centered, mut scaled] = [(); 2].map(|()| vec![0.0; columns]);
        let rows = x.chunks_exact(columns).zip(gradient.chunks_exact(columns)).zip(skip.chunks_exact_mut(columns));
        for ((x, gradient), skip) in rows {
            centered.copy_from_slice(x);
            let inverse = center(&mut centered, self.epsilon);
            for ((scaled, gradient), weight) in scaled.iter_mut().zip(gradient).zip(&self.weight) {
                *scaled = gradient * weight;
            }
            let mean = exp::sum(&scaled) / columns as f32;
            let along = exp::dot(&scaled, &centered) * inverse * inverse / columns as f32;
            for ((skip, scaled), centered) in skip.iter_mut().zip(&scaled).zip(&centered) {
                *skip += (scaled - mean - centered * along) * inverse;
            }
        }
    }

    /// The rows with mean 0 and variance 1, and the factor of each, in f32.
    fn unit(&self, x: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let x = to_f32(x.clone());
        let centered = x.clone() - x.mean_dim(1);
        let inverse = (centered.clone().square().mean_dim(1) + self.epsilon).sqrt().recip();
        (centered * inverse.clone(), inverse)
    }
}

/// Subtracts the mean from a row; the result is one over its root mean square then.
fn center(row: &mut [f32], epsilon: f32) -> f32 {
    let mean = exp::sum(row) / row.len() as f32;
    row.iter_mut().for_each(|value| *value -= mean);
    1.0 / (exp::dot(row, row) / row.len() as f32 + epsilon).sqrt()
}
