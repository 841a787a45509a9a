//! A frozen weight that stays in the blocks of its GGUF file: made f32 some rows at a time, inside each product.

use std::ops::Range;

use burn::tensor::{Int, Tensor};

use super::kernel::Place;
use super::weights::MappedRows;

/// Values that are made f32 at a time: 4 MiB.
const TILE: usize = 1 << 20;

/// Matrices with a common input, their rows one after the other. `Clone` shares the file.
#[derive(Debug, Clone)]
pub(super) struct KeptWeight {
    parts: Vec<MappedRows>,
    inputs: usize,
    /// The place of the products: main memory.
    place: Place,
}

impl KeptWeight {
    /// `parts`: matrices of `inputs` columns.
    pub fn new(parts: Vec<MappedRows>, inputs: usize, place: &Place) -> Self {
        Self { parts, inputs, place: place.clone() }
    }

    /// Rows and columns.
    pub fn dims(&self) -> [usize; 2] {
        [self.parts.iter().map(|part| part.count).sum(), self.inputs]
    }

    /// `input W^T`: `[rows, inputs]` to `[rows, outputs]`.
    pub fn times_transposed(&self, input: &Tensor<2>) -> Tensor<2> {
        let product = |tile: Range<usize>| input.clone().matmul(self.tile(tile).transpose());
        let mut products: Vec<Tensor<2>> = self.tiles().map(product).collect();
        match products.len() {
            1 => products.remove(0),
            _ => Tensor::cat(products, 1),
        }
    }

    /// `gradient W`: `[rows, outputs]` to `[rows, inputs]`.
    pub fn times(&self, gradient: &Tensor<2>) -> Tensor<2> {
        let [rows, _] = gradient.dims();
        let product = |tile: Range<usize>| {
            let columns = match tile.len() == self.dims()[0] {
                true => gradient.clone(),
                false => gradient.clone().slice([0..rows, tile.clone()]),
            };
            columns.matmul(self.tile(tile))
        };
        let sum = self.tiles().map(product).reduce(|sum, product| sum + product);
        sum.unwrap_or_else(|| unreachable!("a weight has rows"))
    }

    /// Some rows, `[numbers, inputs]`; zeros for a number that there is not.
    pub fn select(&self, numbers: &[i64]) -> Tensor<2> {
        let mut values = vec![0.0; numbers.len() * self.inputs];
        for (number, to) in numbers.iter().zip(values.chunks_exact_mut(self.inputs)) {
            if let Some(row) = usize::try_from(*number).ok().filter(|row| *row < self.dims()[0]) {
                self.write(row..row + 1, to);
            }
        }
        self.place.tensor(values, [numbers.len(), self.inputs])
    }

    /// The whole weight in f32.
    pub fn whole(&self) -> Tensor<2> {
        self.tile(0..self.dims()[0])
    }

    /// The rows in tiles of about the same size.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let [outputs, inputs] = self.dims();
        let tiles = (outputs * inputs).div_ceil(TILE).clamp(1, outputs.max(1));
        (0..tiles).map(move |tile| outputs * tile / tiles..outputs * (tile + 1) / tiles)
    }

    fn tile(&self, rows: Range<usize>) -> Tensor<2> {
        let (mut values, count) = (vec![0.0; rows.len() * self.inputs], rows.len());
        self.write(rows, &mut values);
        self.place.tensor(values, [count, self.inputs])
    }

    /// Writes the values of some rows.
    fn write(&self, rows: Range<usize>, mut to: &mut [f32]) {
        let mut first = 0;
        for part in &self.parts {
            let own = rows.start.max(first)..rows.end.min(first + part.count);
            if own.start < own.end {
                let (here, rest) = to.split_at_mut(own.len() * self.inputs);
                part.write(own.start - first..own.end - first, here);
                to = rest;
            }
            first += part.count;
        }
    }
}

/// A frozen weight, `[outputs, inputs]`. `Clone` shares it.
#[derive(Debug, Clone)]
pub(super) enum FrozenWeight {
    /// In the place's type or in 8 bits.
    Tensor(Tensor<2>),
    /// In the blocks of its file.
    Kept(KeptWeight),
}

impl FrozenWeight {
    /// Outputs and inputs.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Tensor(weight) => weight.dims(),
            Self::Kept(weight) => weight.dims(),
        }
    }

    /// Some rows, by their numbers as a list and as a tensor of the device.
    pub fn select(&self, numbers: &[i64], indices: impl FnOnce(&[i64]) -> Tensor<1, Int>) -> Tensor<2> {
        match self {
            Self::Tensor(weight) => weight.clone().select(0, indices(numbers)),
            Self::Kept(weight) => weight.select(numbers),
        }
    }

    /// `input W^T`: `[rows, inputs]` to `[rows, outputs]`, of a weight that is not in 8 bits.
    pub fn times_transposed(&self, input: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Tensor(weight) => input.matmul(weight.clone().transpose()),
            Self::Kept(weight) => weight.times_transposed(&input),
        }
    }

    /// `gradient W`: `[rows, outputs]` to `[rows, inputs]`, of a weight that is not in 8 bits.
    pub fn times(&self, gradient: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Tensor(weight) => gradient.matmul(weight.clone()),
            Self::Kept(weight) => weight.times(&gradient),
        }
    }

    /// The weight in f32, or as it is held.
    pub fn whole(&self) -> Tensor<2> {
        match self {
            Self::Tensor(weight) => weight.clone(),
            Self::Kept(weight) => weight.whole(),
        }
    }
}
