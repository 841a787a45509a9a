//! A frozen weight that stays in the blocks of its GGUF file: made f32 some rows at a time, inside each product.

use std::ops::Range;

use burn::tensor::Tensor;

use super::kernel::Place;
use super::weights::MappedRows;

/// Values that are made f32 at a time: 4 MiB.
const TILE: usize = 1 << 20;

/// Matrices with a common input, their rows one after the other. `Clone` shares the file.
#[derive(Debug, Clone)]
pub(super) struct KeptWeight {
    parts: Vec<MappedRows>,
    inputs: usize,
}

impl KeptWeight {
    /// `parts`: matrices of `inputs` columns.
    pub fn new(parts: Vec<MappedRows>, inputs: usize) -> Self {
        Self { parts, inputs }
    }

    /// Rows and columns.
    pub fn dims(&self) -> [usize; 2] {
        [self.parts.iter().map(|part| part.count).sum(), self.inputs]
    }

    /// `input W^T`: `[rows, inputs]` to `[rows, outputs]`.
    pub fn times_transposed(&self, input: &Tensor<2>, place: &Place) -> Tensor<2> {
        let product = |tile: Range<usize>| input.clone().matmul(self.tile(tile, place).transpose());
        let mut products: Vec<Tensor<2>> = self.tiles().map(product).collect();
        match products.len() {
            1 => products.remove(0),
            _ => Tensor::cat(products, 1),
        }
    }

    /// `gradient W`: `[rows, outputs]` to `[rows, inputs]`.
    pub fn times(&self, gradient: &Tensor<2>, place: &Place) -> Tensor<2> {
        let [rows, _] = gradient.dims();
        let product = |tile: Range<usize>| {
            let columns = match tile.len() == self.dims()[0] {
                true => gradient.clone(),
                false => gradient.clone().slice([0..rows, tile.clone()]),
            };
            columns.matmul(self.tile(tile, place))
        };
        let sum = self.tiles().map(product).reduce(|sum, product| sum + product);
        sum.unwrap_or_else(|| unreachable!("a weight has rows"))
    }

    /// The whole weight in f32.
    pub fn whole(&self, place: &Place) -> Tensor<2> {
        self.tile(0..self.dims()[0], place)
    }

    /// The rows in tiles of about the same size.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let [outputs, inputs] = self.dims();
        let tiles = (outputs * inputs).div_ceil(TILE).clamp(1, outputs.max(1));
        (0..tiles).map(move |tile| outputs * tile / tiles..outputs * (tile + 1) / tiles)
    }

    fn tile(&self, rows: Range<usize>, place: &Place) -> Tensor<2> {
        let mut values = vec![0.0; rows.len() * self.inputs];
        let (mut first, mut left) = (0, values.as_mut_slice());
        for part in &self.parts {
            let own = rows.start.max(first)..rows.end.min(first + part.count);
            if own.start < own.end {
                let (to, rest) = left.split_at_mut(own.len() * self.inputs);
                part.write(own.start - first..own.end - first, to);
                left = rest;
            }
            first += part.count;
        }
        place.tensor(values, [rows.len(), self.inputs])
    }
}
