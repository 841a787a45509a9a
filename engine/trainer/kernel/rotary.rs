//! Rotary position embedding (Su et al. 2021) in the Hugging Face layout: value `i` of a head turns with value
//! `i + head_size / 2`. The queries are multiplied by the scale of the scores, `1 / sqrt(head_size)`, too.

use burn::tensor::Tensor;

use super::{Heads, Place, edit};

/// Precomputed turns for every position.
#[derive(Debug)]
pub(crate) struct Rotary {
    heads: Heads,
    /// `[positions, head_size / 2]`, row-major.
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// For devices: cosines and sines, `[1, positions, 1, head_size]`, the sine negative in each first half; scales,
    /// `[1, 1, turned heads, 1]`.
    tables: Option<[Tensor<4>; 3]>,
    host: bool,
}

impl Rotary {
    /// Tables for positions `0..positions`; `frequencies` are the radians by which a position turns each pair of values,
    /// `head_size / 2` of them. Where all are zero, queries are scaled and nothing is turned.
    pub fn new(positions: usize, frequencies: &[f64], heads: Heads, place: &Place) -> Self {
        let half = frequencies.len();
        let angle = |at: usize| (at / half) as f64 * frequencies[at % half];
        let cos: Vec<f32> = (0..positions * half).map(|at| angle(at).cos() as f32).collect();
        let sin: Vec<f32> = (0..positions * half).map(|at| angle(at).sin() as f32).collect();
        let mut rotary = Self { heads, cos, sin, tables: None, host: place.host };
        if !place.host {
            rotary.tables = Some(rotary.device_tables(positions, place));
        }
        rotary
    }

    /// Turns the queries and keys of `[sum of lengths, (q + k + v) * head_size]` by their positions and scales the
    /// queries; values stay.
    pub fn forward(&self, qkv: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
        self.turn(qkv, lengths, 1.0)
    }

    /// The gradient of the input, given that of the output.
    pub fn backward(&self, gradient: Tensor<2>, lengths: &[usize]) -> Tensor<2> {
        self.turn(gradient, lengths, -1.0)
    }

    fn turn(&self, qkv: Tensor<2>, lengths: &[usize], direction: f32) -> Tensor<2> {
        let Some([cos, sin, scales]) = &self.tables else {
            debug_assert!(self.host);
            return edit(qkv, |rows| self.turn_rows(rows, lengths, direction));
        };
        let [rows, columns] = qkv.dims();
        let (heads, size) = (self.heads.query + self.heads.key_value, self.heads.size);
        let (batch, length, turned) = (lengths.len(), rows / lengths.len(), heads * size);
        let x = qkv.clone().slice([0..rows, 0..turned]).reshape([batch, length, heads, size]);
        // Swapping the halves is a flip of an axis of length two.
        let swapped = x.clone().reshape([rows * heads, 2, size / 2]).flip([1]).reshape([batch, length, heads, size]);
        let [cos, sin] = [cos, sin].map(|table| table.clone().slice([0..1, 0..length, 0..1, 0..size]));
        let x = ((x * cos + swapped * (sin * direction)) * scales.clone()).reshape([rows, turned]);
        Tensor::cat(vec![x, qkv.slice([0..rows, turned..columns])], 1)
    }

    fn turn_rows(&self, rows: &mut [f32], lengths: &[usize], direction: f32) {
        let (size, half) = (self.heads.size, self.heads.size / 2);
        let query_scale = self.heads.score_scale();
        let positions = lengths.iter().flat_map(|length| 0..*length);
        for (position, values) in positions.zip(rows.chunks_exact_mut(self.heads.columns())) {
            let at = position * half;
            let (cos, sin) = (&self.cos[at..at + half], &self.sin[at..at + half]);
            let turned = self.heads.query + self.heads.key_value;
            for (head, values) in values.chunks_exact_mut(size).take(turned).enumerate() {
                let scale = if head < self.heads.query { query_scale } else { 1.0 };
                let (first, second) = values.split_at_mut(half);
                for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                    let (cos, sin) = (cos * scale, sin * scale * direction);
                    let (x, y) = (*first, *second);
                    *first = x * cos - y * sin;
                    *second = y * cos + x * sin;
                }
            }
        }
    }

    fn device_tables(&self, positions: usize, place: &Place) -> [Tensor<4>; 3] {
        let (heads, size, half) = (self.heads.query + self.heads.key_value, self.heads.size, self.heads.size / 2);
        let table = |values: &[f32], first_sign: f32| {
            let rows = values.chunks_exact(half);
            let both = rows.flat_map(|row| row.iter().map(|value| value * first_sign).chain(row.iter().copied()));
            place.tensor(both.collect(), [1, positions, 1, size])
        };
        let scale = |head| if head < self.heads.query { self.heads.score_scale() } else { 1.0 };
        let scales = place.tensor((0..heads).map(scale).collect(), [1, 1, heads, 1]);
        [table(&self.cos, 1.0), table(&self.sin, -1.0), scales]
    }
}
