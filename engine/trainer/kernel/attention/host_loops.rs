//! The five loops of attention in main memory, over rows of the batch and lanes of eight queries. Each is compiled on
//! its own: together they have more values in flight than registers, and then the compiler stops using vectors.

use std::ops::Range;

use crate::trainer::kernel::exp::exp;
use crate::trainer::kernel::simd::{Lane, Loop, multiply_add};

/// Keys or values of one head, `[rows, count]`. A copy of some columns of the batch: read in place, their rows would lie a
/// power of two apart. No gain from it was measured.
#[derive(Clone, Copy)]
pub(super) struct HeadRows<'a> {
    pub rows: &'a [f32],
    pub count: usize,
}

impl<'a> HeadRows<'a> {
    /// A range of the rows of `[all rows, count]`.
    pub fn part(rows: &'a [f32], count: usize, part: &Range<usize>) -> Self {
        Self { rows: &rows[part.start * count..part.end * count], count }
    }
}

/// `scores[row] = sum over values v of rows[row][v] * query[v]`.
pub(super) struct Score<'a> {
    pub scores: &'a mut [Lane],
    pub keys: HeadRows<'a>,
    pub query: &'a [Lane],
}

impl Loop for Score<'_> {
    #[inline(always)]
    fn run(self) {
        let HeadRows { rows, count } = self.keys;
        for from in (0..count).step_by(8) {
            let (query, keep) = (&self.query[from..], if from == 0 { 0.0 } else { 1.0 });
            let rows = rows.chunks_exact(count).map(|row| &row[from..]);
            if let Some(query) = query.first_chunk::<8>() {
                // A copy, so that the compiler knows that no score aliases it and keeps it in registers.
                let query = *query;
                for (score, row) in self.scores.iter_mut().zip(rows) {
                    let Some(row) = row.first_chunk::<8>() else { return };
                    let mut even = score.map(|score| keep * score);
                    let mut odd = [0.0; 8];
                    multiply_add(&mut even, row[0], &query[0]);
                    multiply_add(&mut odd, row[1], &query[1]);
                    multiply_add(&mut even, row[2], &query[2]);
                    multiply_add(&mut odd, row[3], &query[3]);
                    multiply_add(&mut even, row[4], &query[4]);
                    multiply_add(&mut odd, row[5], &query[5]);
                    multiply_add(&mut even, row[6], &query[6]);
                    multiply_add(&mut odd, row[7], &query[7]);
                    for lane in 0..8 {
                        score[lane] = even[lane] + odd[lane];
                    }
                }
            } else {
                for (score, row) in self.scores.iter_mut().zip(rows) {
                    let mut sum = score.map(|score| keep * score);
                    row.iter().zip(query).for_each(|(value, query)| multiply_add(&mut sum, *value, query));
                    *score = sum;
                }
            }
        }
    }
}

/// Softmax without the division: scores to exponentials; with the sum and the largest score of each query.
pub(super) struct Softmax<'a> {
    pub scores: &'a mut [Lane],
    pub sums: &'a mut Lane,
    pub largest: &'a mut Lane,
}

impl Loop for Softmax<'_> {
    #[inline(always)]
    fn run(self) {
        let mut largest = [f32::MIN; 8];
        for score in self.scores.iter() {
            for lane in 0..8 {
                largest[lane] = if score[lane] > largest[lane] { score[lane] } else { largest[lane] };
            }
        }
        let mut sums = [0.0; 8];
        for score in self.scores.iter_mut() {
            for lane in 0..8 {
                score[lane] = exp(score[lane] - largest[lane]);
                sums[lane] += score[lane];
            }
        }
        (*self.sums, *self.largest) = (sums, largest);
    }
}

/// Scores to shares, and the gradient of the shares to that of the scores.
pub(super) struct SoftmaxBackward<'a> {
    pub scores: &'a mut [Lane],
    pub gradients: &'a mut [Lane],
    pub log_sums: Lane,
    /// The sum over keys of each query's shares times their gradients.
    pub along: Lane,
}

impl Loop for SoftmaxBackward<'_> {
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "loops over eight lanes by index are what the compiler vectorizes")]
    fn run(self) {
        for (score, gradient) in self.scores.iter_mut().zip(self.gradients) {
            // Copies: the compiler cannot know that the two slices do not overlap.
            let (mut share, mut of_score) = (*score, *gradient);
            for lane in 0..8 {
                share[lane] = exp(share[lane] - self.log_sums[lane]);
            }
            for lane in 0..8 {
                of_score[lane] = share[lane] * (of_score[lane] - self.along[lane]);
            }
            (*score, *gradient) = (share, of_score);
        }
    }
}

/// The weighted sum of rows: `out[v] = sum over rows of shares[row] * rows[row][v]`.
pub(super) struct WeightedSum<'a> {
    pub out: &'a mut [Lane],
    pub shares: &'a [Lane],
    pub values: HeadRows<'a>,
}

impl Loop for WeightedSum<'_> {
    #[inline(always)]
    fn run(self) {
        let HeadRows { rows, count } = self.values;
        for from in (0..count).step_by(4) {
            let out = &mut self.out[from..count.min(from + 4)];
            let mut sums = [[0.0; 8]; 4];
            if out.len() == 4 {
                for (share, row) in self.shares.iter().zip(rows.chunks_exact(count)) {
                    let values = &row[from..from + 4];
                    multiply_add(&mut sums[0], values[0], share);
                    multiply_add(&mut sums[1], values[1], share);
                    multiply_add(&mut sums[2], values[2], share);
                    multiply_add(&mut sums[3], values[3], share);
                }
            } else {
                for (share, row) in self.shares.iter().zip(rows.chunks_exact(count)) {
                    multiply_add(&mut sums[0], row[from], share);
                    multiply_add(&mut sums[1], row[from + 1], share);
                }
            }
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum);
        }
    }
}

/// The sum of outer products: `out[row] += sum over r of factors[row][r] * rows[r]`. `rows` has eight rows; a row of it
/// and of `out` has `rows.len() / 8` lanes.
pub(super) struct OuterProducts<'a> {
    pub out: &'a mut [Lane],
    pub factors: &'a [Lane],
    pub rows: &'a [Lane],
}

impl Loop for OuterProducts<'_> {
    #[inline(always)]
    fn run(self) {
        let width = self.rows.len() / 8;
        for number in 0..width {
            let mut rows = [[0.0; 8]; 8];
            rows.iter_mut().zip(self.rows[number..].iter().step_by(width)).for_each(|(to, from)| *to = *from);
            for (out, factors) in self.out[number..].iter_mut().step_by(width).zip(self.factors) {
                let mut sum = *out;
                multiply_add(&mut sum, factors[0], &rows[0]);
                multiply_add(&mut sum, factors[1], &rows[1]);
                multiply_add(&mut sum, factors[2], &rows[2]);
                multiply_add(&mut sum, factors[3], &rows[3]);
                multiply_add(&mut sum, factors[4], &rows[4]);
                multiply_add(&mut sum, factors[5], &rows[5]);
                multiply_add(&mut sum, factors[6], &rows[6]);
                multiply_add(&mut sum, factors[7], &rows[7]);
                *out = sum;
            }
        }
    }
}
