//! The query and key norms of Qwen 3: an RMSNorm over each head of the queries, another over each head of the keys.

use burn::tensor::Tensor;

use super::RmsNorm;
use crate::trainer::kernel::{Heads, HostValues, Place, edit};

/// The two norms; all heads share their weights.
#[derive(Debug)]
pub(crate) struct HeadNorms {
    heads: Heads,
    query: RmsNorm,
    key: RmsNorm,
    host: bool,
}

impl HeadNorms {
    /// `weights`: a value for each of a head's columns, for queries and for keys.
    pub fn new(heads: Heads, [query, key]: [Vec<f32>; 2], epsilon: f32, place: &Place) -> Self {
        let [query, key] = [query, key].map(|weight| RmsNorm::new(weight, epsilon, place));
        Self { heads, query, key, host: place.host }
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.query.parameters() + self.key.parameters()
    }

    /// Norms the queries and keys of `[rows, (q + k + v) * size]`; values stay.
    pub fn forward(&self, qkv: &Tensor<2>) -> Tensor<2> {
        let [queries, keys] = self.ends();
        if self.host {
            return edit(qkv.clone(), |rows| {
                for row in rows.chunks_exact_mut(self.heads.columns()) {
                    self.query.forward_rows(&mut row[..queries]);
                    self.key.forward_rows(&mut row[queries..keys]);
                }
            });
        }
        let normed = |norm: &RmsNorm, from, to| {
            let part = self.part(qkv, from, to);
            norm.forward(&part).reshape([qkv.dims()[0], to - from])
        };
        self.with_values(normed(&self.query, 0, queries), normed(&self.key, queries, keys), qkv)
    }

    /// The gradient of the input `qkv`, given that of the output.
    pub fn backward(&self, qkv: &Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
        let [queries, keys] = self.ends();
        if self.host {
            let qkv = HostValues::of(qkv);
            return edit(gradient, |gradient| {
                let columns = self.heads.columns();
                let mut of_output = vec![0.0; keys];
                for (x, row) in qkv.slice().chunks_exact(columns).zip(gradient.chunks_exact_mut(columns)) {
                    of_output.copy_from_slice(&row[..keys]);
                    row[..keys].fill(0.0);
                    self.query.backward_rows(&x[..queries], &of_output[..queries], &mut row[..queries]);
                    self.key.backward_rows(&x[queries..keys], &of_output[queries..], &mut row[queries..keys]);
                }
            });
        }
        let back = |norm: &RmsNorm, from, to| {
            let (x, gradient) = (self.part(qkv, from, to), self.part(&gradient, from, to));
            let nothing = x.zeros_like();
            norm.backward(&x, gradient, nothing).reshape([qkv.dims()[0], to - from])
        };
        self.with_values(back(&self.query, 0, queries), back(&self.key, queries, keys), &gradient)
    }

    /// The ends of the queries' and of the keys' columns.
    fn ends(&self) -> [usize; 2] {
        [self.heads.query, self.heads.query + self.heads.key_value].map(|heads| heads * self.heads.size)
    }

    /// A range of columns, reshaped to a row for each head.
    fn part(&self, qkv: &Tensor<2>, from: usize, to: usize) -> Tensor<2> {
        let (rows, size) = (qkv.dims()[0], self.heads.size);
        qkv.clone().slice([0..rows, from..to]).reshape([rows * (to - from) / size, size])
    }

    fn with_values(&self, queries: Tensor<2>, keys: Tensor<2>, qkv: &Tensor<2>) -> Tensor<2> {
        let values = qkv.clone().slice([0..qkv.dims()[0], self.ends()[1]..self.heads.columns()]);
        Tensor::cat(vec![queries, keys, values], 1)
    }
}
