//! From the clients' factors of one layer to one pair of factors of the mean product.

use cellm_plugin::pairs::Pair;
use cellm_plugin::{IndexSet, Vector, algebra};

/// Singular values below this share of the largest are rounding, not signal.
const NEGLIGIBLE: f32 = 1e-6;

/// A client's A and B after local training.
pub struct End {
    pub values: Vector,
    pub weight: f64,
    pub tier_rank: u32,
}

/// The side that takes the singular values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// The root of each on both sides.
    Balanced,
    /// All of each on B.
    Left,
}

/// New A and B of the layer. `all` is the sum of the weights.
pub fn refactored(pair: &Pair, base: &Vector, ends: &[End], all: f64, split: Split) -> (Vector, Vector) {
    let inner: u32 = ends.iter().map(|end| pair.trained(end.tier_rank)).sum();
    let (left, right) = stacked(pair, ends, all, inner);
    let rank = pair.rank.min(inner).min(pair.inputs).min(pair.outputs);
    let found = algebra::svd_of_product(&left, &right, pair.outputs, inner, pair.inputs, rank);
    let values = found.values.read(0, rank);
    let live = live(&values);
    let (of_left, of_right): (Vec<f32>, Vec<f32>) = values.iter().take(live).map(|value| shares(*value, split)).unzip();

    // The first `live` directions come from the decomposition; B is zero in the rest, A keeps the base's rows there.
    let kept = live as u32;
    let (a, b) = (pair.a.of(base), Vector::new(pair.b.len));
    let rows = found.right.slice(0, kept * pair.inputs);
    algebra::scale_rows(&rows, pair.inputs, &vector(&of_right));
    a.paste(0, &rows);
    if kept > 0 {
        let columns = found.left.gather(&IndexSet::runs(pair.outputs * rank, 0, kept, rank, pair.outputs));
        algebra::scale_columns(&columns, kept, &vector(&of_left));
        b.scatter(&IndexSet::runs(pair.b.len, 0, kept, pair.rank, pair.outputs), &columns);
    }
    (a, b)
}

/// `[w_1 B_1, w_2 B_2, ...]`, `[outputs, inner]`, and `[A_1; A_2; ...]`, `[inner, inputs]`.
fn stacked(pair: &Pair, ends: &[End], all: f64, inner: u32) -> (Vector, Vector) {
    let (left, right) = (Vector::new(pair.outputs * inner), Vector::new(inner * pair.inputs));
    let mut done = 0;
    for end in ends {
        let directions = pair.trained(end.tier_rank);
        let columns = pair.factor_b(&end.values, directions);
        columns.scale((end.weight / all) as f32);
        left.scatter(&IndexSet::runs(pair.outputs * inner, done, directions, inner, pair.outputs), &columns);
        right.paste(done * pair.inputs, &pair.factor_a(&end.values, directions));
        done += directions;
    }
    (left, right)
}

/// Number of the falling singular values that count.
fn live(values: &[f32]) -> usize {
    let least = values.first().map_or(0.0, |largest| largest * NEGLIGIBLE);
    values.iter().take_while(|value| **value > least).count()
}

/// The factors of a singular value for the left and the right side.
fn shares(value: f32, split: Split) -> (f32, f32) {
    match split {
        Split::Balanced => (value.sqrt(), value.sqrt()),
        Split::Left => (value, 1.0),
    }
}

fn vector(values: &[f32]) -> Vector {
    let vector = Vector::new(values.len() as u32);
    vector.write(0, values);
    vector
}
