//! RMSNorm (Zhang and Sennrich 2019): `y = x / sqrt(mean(x^2) + epsilon) * weight`, rows apart.

use burn::tensor::Tensor;

use crate::trainer::kernel::{HostValues, Place, edit, exp, to_f32};

/// One RMSNorm with its frozen weight.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    weight: Tensor<2>,
    values: Vec<f32>,
    epsilon: f32,
    host: bool,
}

impl RmsNorm {
    /// `weight` has one value a column.
    pub fn new(weight: Vec<f32>, epsilon: f32, place: &Place) -> Self {
        Self { weight: place.tensor_f32(weight.clone(), [1, weight.len()]), values: weight, epsilon, host: place.host }
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.values.len()
    }

    /// The norm of `[rows, columns]`, to the same shape.
    pub fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        if self.host {
            return edit(x.clone(), |rows| self.forward_rows(rows));
        }
        let wide_x = to_f32(x.clone());
        (wide_x.clone() * self.inverse_rms(wide_x) * self.weight.clone()).cast(x.dtype())
    }

    /// [`Self::forward`] of rows in main memory, in place.
    pub fn forward_rows(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.values.len()) {
            let inverse = inverse_rms(row, self.epsilon);
            for (value, weight) in row.iter_mut().zip(&self.values) {
                *value = *value * inverse * weight;
            }
        }
    }

    /// The gradient of the input `x`, given that of the output, plus `skip`, the gradient that reaches `x` around the norm.
    pub fn backward(&self, x: &Tensor<2>, gradient: Tensor<2>, skip: Tensor<2>) -> Tensor<2> {
        if self.host {
            let (x, gradient) = (HostValues::of(x), HostValues::of(&gradient));
            return edit(skip, |skip| self.backward_rows(x.slice(), gradient.slice(), skip));
        }
        let wide_x = to_f32(x.clone());
        let inverse = self.inverse_rms(wide_x.clone());
        let unit = wide_x * inverse.clone();
        let scaled = to_f32(gradient) * self.weight.clone();
        let along = (scaled.clone() * unit.clone()).mean_dim(1);
        (to_f32(skip) + (scaled - unit * along) * inverse).cast(x.dtype())
    }

    /// Adds the gradient of the rows `x` in main memory to `skip`.
    pub fn backward_rows(&self, x: &[f32], gradient: &[f32], skip: &mut [f32]) {
        let columns = self.values.len();
        let mut scaled = vec![0.0; columns];
        let rows = x.chunks_exact(columns).zip(gradient.chunks_exact(columns)).zip(skip.chunks_exact_mut(columns));
        for ((x, gradient), skip) in rows {
            let inverse = inverse_rms(x, self.epsilon);
            for ((scaled, gradient), weight) in scaled.iter_mut().zip(gradient).zip(&self.values) {
                *scaled = gradient * weight;
            }
            let along = exp::dot(&scaled, x) * inverse * inverse / columns as f32;
            for ((skip, scaled), x) in skip.iter_mut().zip(&scaled).zip(x) {
                *skip += (scaled - x * along) * inverse;
            }
        }
    }

    fn inverse_rms(&self, x: Tensor<2>) -> Tensor<2> {
        (x.square().mean_dim(1) + self.epsilon).sqrt().recip()
    }
}

fn inverse_rms(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (exp::dot(row, row) / row.len() as f32 + epsilon).sqrt()
}
