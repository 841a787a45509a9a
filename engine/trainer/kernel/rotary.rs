//! Rotary position embedding (Su et al. 2021) in the Hugging Face layout: value `i` of a head is rotated with value `i
//! + head_size / 2`. It also multiplies the queries by the factor of the scores.

use std::sync::{Arc, PoisonError, RwLock};

use burn::tensor::Tensor;

use super::{Heads, Place, edit};

/// The fewest positions of a table.
const MIN_TABLE_POSITIONS: usize = 512;

/// The parameters of a rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RopeParameters {
    /// Radians of rotation a position for each pair of values, half as many as a head has; all zero without rotation.
    pub frequencies: Vec<f64>,
    /// The factor of rotated queries and keys.
    pub factor: f64,
}

impl RopeParameters {
    /// The parameters of a model without rotary embedding.
    pub fn none(head_size: usize) -> Self {
        Self { frequencies: vec![0.0; head_size / 2], factor: 1.0 }
    }
}

/// A rotary embedding. Its tables are computed when a sequence first reaches their positions: a model may have many
/// more positions than any sequence has tokens.
#[derive(Debug)]
pub(crate) struct Rotary {
    heads: Heads,
    parameters: RopeParameters,
    place: Place,
    tables: RwLock<Arc<Tables>>,
    /// For devices: each factor of the scores with `[1, 1, rotated heads, 1]`.
    scales: Vec<(f32, Tensor<4>)>,
}

/// Cosines and sines of the positions from 0 on.
#[derive(Debug)]
struct Tables {
    positions: usize,
    /// `[positions, head_size / 2]`, row-major.
    cos: Vec<f32>,
    sin: Vec<f32>,
    /// For devices: cosines and sines, `[1, positions, 1, head_size]`, the sine negative in each first half.
    device: Option<[Tensor<4>; 2]>,
}

impl Rotary {
    /// An embedding for any number of positions; `scales` are the factors of the blocks' scores, each once or more
    /// often. Where all frequencies are zero, queries are scaled and nothing is rotated.
    pub fn new(parameters: RopeParameters, heads: Heads, scales: &[f32], place: &Place) -> Self {
        let rotated = heads.query + heads.key_value;
        let mut of_device: Vec<(f32, Tensor<4>)> = Vec::new();
        for scale in scales.iter().filter(|_| !place.host) {
            if of_device.iter().all(|(known, _)| known != scale) {
                let of = |head| if head < heads.query { *scale } else { 1.0 };
                of_device.push((*scale, place.tensor((0..rotated).map(of).collect(), [1, 1, rotated, 1])));
            }
        }
        let tables = RwLock::new(Arc::new(Tables::new(MIN_TABLE_POSITIONS, &parameters, place)));
        Self { heads, parameters, place: place.clone(), tables, scales: of_device }
    }

    /// Tables of at least so many positions.
    fn tables(&self, positions: usize) -> Arc<Tables> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner).clone();
        if tables.positions >= positions {
            return tables;
        }
        let mut kept = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        if kept.positions < positions {
            *kept = Arc::new(Tables::new(positions.next_power_of_two(), &self.parameters, &self.place));
        }
        kept.clone()
    }

    /// Rotates the queries and keys of `[sum of lengths, (q + k + v) * head_size]` by their positions and multiplies
    /// the queries by `scale`, one of those given to [`Self::new`]; values stay. The first row of each sequence has
    /// position `start`.
    pub fn forward(&self, qkv: Tensor<2>, lengths: &[usize], start: usize, scale: f32) -> Tensor<2> {
        self.rotate(qkv, (lengths, start), scale, 1.0)
    }

    /// The gradient of the input, given that of the output.
    pub fn backward(&self, gradient: Tensor<2>, lengths: &[usize], scale: f32) -> Tensor<2> {
        self.rotate(gradient, (lengths, 0), scale, -1.0)
    }

    fn rotate(&self, qkv: Tensor<2>, (lengths, start): (&[usize], usize), scale: f32, direction: f32) -> Tensor<2> {
        let tables = self.tables(start + lengths.iter().copied().max().unwrap_or_default());
        let scales = self.scales.iter().find(|(known, _)| *known == scale);
        let (Some([cos, sin]), Some((_, scales))) = (&tables.device, scales) else {
            debug_assert!(self.place.host);
            return edit(qkv, |rows| self.rotate_rows(rows, (lengths, start), &tables, scale, direction));
        };
        let [rows, columns] = qkv.dims();
        let (heads, size) = (self.heads.query + self.heads.key_value, self.heads.size);
        let (batch, length, rotated) = (lengths.len(), rows / lengths.len(), heads * size);
        let x = qkv.clone().slice([0..rows, 0..rotated]).reshape([batch, length, heads, size]);
        // Swapping the halves is a flip of an axis of length two.
        let swapped = x.clone().reshape([rows * heads, 2, size / 2]).flip([1]).reshape([batch, length, heads, size]);
        let [cos, sin] = [cos, sin].map(|table| table.clone().slice([0..1, start..start + length, 0..1, 0..size]));
        let x = ((x * cos + swapped * (sin * direction)) * scales.clone()).reshape([rows, rotated]);
        Tensor::cat(vec![x, qkv.slice([0..rows, rotated..columns])], 1)
    }

    fn rotate_rows(
        &self,
        rows: &mut [f32],
        (lengths, start): (&[usize], usize),
        tables: &Tables,
        query_scale: f32,
        direction: f32,
    ) {
        let (size, half) = (self.heads.size, self.heads.size / 2);
        let positions = lengths.iter().flat_map(|length| start..start + length);
        for (position, values) in positions.zip(rows.chunks_exact_mut(self.heads.columns())) {
            let at = position * half;
            let (cos, sin) = (&tables.cos[at..at + half], &tables.sin[at..at + half]);
            let rotated = self.heads.query + self.heads.key_value;
            for (head, values) in values.chunks_exact_mut(size).take(rotated).enumerate() {
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
}

impl Tables {
    fn new(positions: usize, parameters: &RopeParameters, place: &Place) -> Self {
        let half = parameters.frequencies.len();
        let angle = |at: usize| (at / half) as f64 * parameters.frequencies[at % half];
        let cos: Vec<f32> = (0..positions * half).map(|at| (angle(at).cos() * parameters.factor) as f32).collect();
        let sin: Vec<f32> = (0..positions * half).map(|at| (angle(at).sin() * parameters.factor) as f32).collect();
        let table = |values: &[f32], first_sign: f32| {
            let rows = values.chunks_exact(half);
            let both = rows.flat_map(|row| row.iter().map(|value| value * first_sign).chain(row.iter().copied()));
            place.tensor(both.collect(), [1, positions, 1, 2 * half])
        };
        let device = (!place.host).then(|| [table(&cos, 1.0), table(&sin, -1.0)]);
        Self { positions, cos, sin, device }
    }
}
