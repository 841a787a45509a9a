//! A frozen weight that stays in the blocks of its GGUF file: made f32 some rows at a time, inside each product; and
//! multiplied as it is where the input has few rows.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};

use super::kernel::{HostValues, Place, write_number_products};
use super::team::Team;
use super::weights::MappedRows;

/// Values that are made f32 at a time: 1 MiB, which stays in a processor's cache between its writing and its reading.
const TILE: usize = 1 << 18;

/// Rows of an input that are multiplied one by one with each row of a weight.
const FEW_ROWS: usize = 3;

/// Values of a weight that one thread multiplies at a time with few rows: some 10 us of work.
const PART: usize = 1 << 16;

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
    pub fn times_transposed(&self, input: &Tensor<2>, team: Option<&Team>) -> Tensor<2> {
        if input.dims()[0] <= FEW_ROWS {
            return self.times_few(input, team);
        }
        let tiles: Vec<Range<usize>> = tiles(self.dims(), TILE).collect();
        let (weight, of_tiles, input) = (self.clone(), tiles.clone(), input.clone());
        let product = move |tile: usize| input.clone().matmul(weight.tile(of_tiles[tile].clone()).transpose());
        let mut products = match team {
            Some(team) => team.results(tiles.len(), product),
            None => (0..tiles.len()).map(product).collect(),
        };
        match products.len() {
            1 => products.remove(0),
            _ => Tensor::cat(products, 1),
        }
    }

    /// [`Self::times_transposed`] of few rows, straight over the blocks.
    fn times_few(&self, input: &Tensor<2>, team: Option<&Team>) -> Tensor<2> {
        let ([rows, _], [outputs, inputs]) = (input.dims(), self.dims());
        let parts: Vec<Range<usize>> = tiles(self.dims(), PART).collect();
        let (weight, of_parts, input) = (self.clone(), parts.clone(), HostValues::of(input));
        let product = move |part: usize| {
            let part = of_parts[part].clone();
            let mut products = vec![0.0; rows * part.len()];
            let rows = products.chunks_exact_mut(part.len()).zip(input.slice().chunks_exact(inputs));
            rows.for_each(|(to, input)| weight.write_products(part.clone(), input, to));
            products
        };
        let products = match team {
            Some(team) => team.results(parts.len(), product),
            None => (0..parts.len()).map(product).collect(),
        };
        self.place.tensor(side_by_side(&parts, &products, rows), [rows, outputs])
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
        let sum = tiles(self.dims(), TILE).map(product).reduce(|sum, product| sum + product);
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

    fn tile(&self, rows: Range<usize>) -> Tensor<2> {
        let (mut values, count) = (vec![0.0; rows.len() * self.inputs], rows.len());
        self.write(rows, &mut values);
        self.place.tensor(values, [count, self.inputs])
    }

    /// Writes the values of some rows.
    fn write(&self, rows: Range<usize>, to: &mut [f32]) {
        self.for_each_part(rows, to, self.inputs, |part, rows, to| part.write(rows, to));
    }

    /// Writes the products of some rows with one row of an input.
    fn write_products(&self, rows: Range<usize>, input: &[f32], to: &mut [f32]) {
        self.for_each_part(rows, to, 1, |part, rows, to| part.write_products(rows, input, to));
    }

    /// Hands out each matrix with those of its rows that are among `rows`, and their places in `to`, of `width` values a
    /// row.
    fn for_each_part(
        &self,
        rows: Range<usize>,
        mut to: &mut [f32],
        width: usize,
        write: impl Fn(&MappedRows, Range<usize>, &mut [f32]),
    ) {
        let mut first = 0;
        for part in &self.parts {
            let own = rows.start.max(first)..rows.end.min(first + part.count);
            if own.start < own.end {
                let (here, rest) = to.split_at_mut(own.len() * width);
                write(part, own.start - first..own.end - first, here);
                to = rest;
            }
            first += part.count;
        }
    }
}

/// The columns `parts` of a matrix of `rows` rows, each part row-major, as one matrix.
fn side_by_side(parts: &[Range<usize>], values: &[Vec<f32>], rows: usize) -> Vec<f32> {
    let columns = parts.last().map_or(0, |last| last.end);
    let mut matrix = vec![0.0; rows * columns];
    for (part, values) in parts.iter().zip(values) {
        for (row, values) in matrix.chunks_exact_mut(columns).zip(values.chunks_exact(part.len())) {
            row[part.clone()].copy_from_slice(values);
        }
    }
    matrix
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
    pub fn times_transposed(&self, input: Tensor<2>, team: Option<&Team>) -> Tensor<2> {
        match self {
            Self::Tensor(weight) => times_transposed(input, weight, team),
            Self::Kept(weight) => weight.times_transposed(&input, team),
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

/// `input W^T` of a weight as a tensor, `[outputs, inputs]`. With a team the weight is in main memory and not in 8 bits.
pub(super) fn times_transposed(input: Tensor<2>, weight: &Tensor<2>, team: Option<&Team>) -> Tensor<2> {
    let Some(team) = team else { return input.matmul(weight.clone().transpose()) };
    let ([rows, _], [outputs, inputs]) = (input.dims(), weight.dims());
    if rows > FEW_ROWS {
        let tiles: Vec<Range<usize>> = tiles([outputs, inputs], TILE).collect();
        let (count, weight) = (tiles.len(), weight.clone());
        let product =
            move |tile: usize| input.clone().matmul(weight.clone().slice([tiles[tile].clone(), 0..inputs]).transpose());
        return Tensor::cat(team.results(count, product), 1);
    }
    let parts: Vec<Range<usize>> = tiles([outputs, inputs], PART).collect();
    let (of_parts, device) = (parts.clone(), input.device());
    let [input, weight] = [&input, weight].map(HostValues::of);
    let product = move |part: usize| {
        let part = of_parts[part].clone();
        let mut products = vec![0.0; rows * part.len()];
        for (to, input) in products.chunks_exact_mut(part.len()).zip(input.slice().chunks_exact(inputs)) {
            let weight = &weight.slice()[part.start * inputs..part.end * inputs];
            write_number_products(weight.chunks_exact(inputs), |value| *value, input, to);
        }
        products
    };
    let products = team.results(parts.len(), product);
    Tensor::from_data(TensorData::new(side_by_side(&parts, &products, rows), [rows, outputs]), &device)
}

/// The rows of a matrix in tiles of about the same size, at most `values` values each, or one row.
fn tiles([outputs, inputs]: [usize; 2], values: usize) -> impl Iterator<Item = Range<usize>> {
    let tiles = (outputs * inputs).div_ceil(values).clamp(1, outputs.max(1));
    (0..tiles).map(move |tile| outputs * tile / tiles..outputs * (tile + 1) / tiles)
}
