//! Attention in main memory. Eight queries of one head at a time, one in each lane: scores stay in the cache and are
//! never stored, keys that none of the queries attends to are skipped, softmax needs no sum across lanes, and the
//! backward pass computes the scores again from each query's log-sum-exp (as FlashAttention does, Dao et al. 2022).

use std::ops::Range;

use super::host_loops::{HeadRows, OuterProducts, Score, Softmax, SoftmaxBackward, WeightedSum};
use super::{AttentionPattern, Heads};
use crate::trainer::kernel::simd::{Lane, run};

const ZERO: Lane = [0.0; 8];

/// Attention of `qkv`, `[rows, columns]`, rotated, into `output`, `[rows, query heads * size]`. The result is the
/// log-sum-exp of each softmax: for each sequence and query head, the sequence's length / 8 rounded up.
pub(super) fn forward(
    heads: Heads,
    pattern: AttentionPattern,
    lengths: &[usize],
    qkv: &[f32],
    output: &mut [f32],
) -> Vec<Lane> {
    let (columns, width, size) = (heads.columns(), heads.query * heads.size, heads.size);
    let (mut query, mut mixed) = (vec![ZERO; size], vec![ZERO; size]);
    let mut shares = vec![ZERO; longest(lengths)];
    let [mut keys, mut values] = [(); 2].map(|()| Vec::with_capacity(longest(lengths) * size));
    let mut log_sums = Vec::new();
    for Range { start, end } in sequences(lengths) {
        let length = end - start;
        let (rows, outputs) = (&qkv[start * columns..end * columns], &mut output[start * width..end * width]);
        for head in 0..heads.query {
            for (copy, first) in [&mut keys, &mut values].into_iter().zip(heads.key_value_columns(head)) {
                copy_columns(copy, rows, columns, first, size);
            }
            for block in blocks(length) {
                gather(&mut query, rows, columns, head * size, block.clone());
                let seen = pattern.attended_keys(&block, length);
                let [keys, values] = [&keys, &values].map(|rows| HeadRows::part(rows, size, &seen));
                let shares = &mut shares[..seen.len()];
                run(Score { scores: shares, keys, query: &query });
                pattern.hide(shares, seen.start, block.start);
                let [mut sums, mut largest] = [ZERO; 2];
                run(Softmax { scores: shares, sums: &mut sums, largest: &mut largest });
                run(WeightedSum { out: &mut mixed, shares, values });
                mixed.iter_mut().for_each(|mixed| mixed.iter_mut().zip(&sums).for_each(|(mixed, sum)| *mixed /= sum));
                scatter(&mixed, outputs, width, head * size, block);
                log_sums.push(std::array::from_fn(|lane| largest[lane] + sums[lane].ln()));
            }
        }
    }
    log_sums
}

/// Input and output of [`forward`], and the gradient of the output.
pub(super) struct BackwardInput<'a> {
    pub heads: Heads,
    pub pattern: AttentionPattern,
    pub lengths: &'a [usize],
    pub qkv: &'a [f32],
    pub output: &'a [f32],
    pub log_sums: &'a [Lane],
    pub gradient: &'a [f32],
}

/// Writes the gradient of `qkv` to `of_qkv`, which is zero at first.
pub(super) fn backward(input: BackwardInput, of_qkv: &mut [f32]) {
    let BackwardInput { heads, pattern, lengths, .. } = input;
    let (columns, width, size) = (heads.columns(), heads.query * heads.size, heads.size);
    let lanes = size.div_ceil(8);
    let [mut query, mut gradient, mut output, mut of_query] = [(); 4].map(|()| vec![ZERO; size]);
    let [mut query_rows, mut gradient_rows] = [(); 2].map(|()| vec![ZERO; 8 * lanes]);
    let [mut shares, mut of_scores] = [(); 2].map(|()| vec![ZERO; longest(lengths)]);
    let [mut of_keys, mut of_values] = [(); 2].map(|()| vec![ZERO; longest(lengths) * lanes]);
    let [mut keys, mut values] = [(); 2].map(|()| Vec::with_capacity(longest(lengths) * size));
    let mut log_sums = input.log_sums.iter();
    for Range { start, end } in sequences(lengths) {
        let length = end - start;
        let (rows, of_rows) = (&input.qkv[start * columns..end * columns], &mut of_qkv[start * columns..end * columns]);
        let [outputs, gradients] = [input.output, input.gradient].map(|values| &values[start * width..end * width]);
        for head in 0..heads.query {
            let [key, value] = heads.key_value_columns(head);
            copy_columns(&mut keys, rows, columns, key, size);
            copy_columns(&mut values, rows, columns, value, size);
            of_keys.fill(ZERO);
            of_values.fill(ZERO);
            for (block, log_sums) in blocks(length).zip(&mut log_sums) {
                gather(&mut query, rows, columns, head * size, block.clone());
                gather(&mut gradient, gradients, width, head * size, block.clone());
                gather(&mut output, outputs, width, head * size, block.clone());
                let mut along = ZERO;
                for (output, gradient) in output.iter().zip(&gradient) {
                    for ((along, output), gradient) in along.iter_mut().zip(output).zip(gradient) {
                        *along += output * gradient;
                    }
                }
                let seen = pattern.attended_keys(&block, length);
                let [keys, values] = [&keys, &values].map(|rows| HeadRows::part(rows, size, &seen));
                let (shares, of_scores) = (&mut shares[..seen.len()], &mut of_scores[..seen.len()]);
                run(Score { scores: shares, keys, query: &query });
                pattern.hide(shares, seen.start, block.start);
                run(Score { scores: of_scores, keys: values, query: &gradient });
                run(SoftmaxBackward { scores: shares, gradients: of_scores, log_sums: *log_sums, along });
                run(WeightedSum { out: &mut of_query, shares: of_scores, values: keys });
                scatter(&of_query, of_rows, columns, head * size, block);
                transpose(&query, &mut query_rows);
                transpose(&gradient, &mut gradient_rows);
                let first = seen.start * lanes;
                run(OuterProducts { out: &mut of_keys[first..], factors: of_scores, rows: &query_rows });
                run(OuterProducts { out: &mut of_values[first..], factors: shares, rows: &gradient_rows });
            }
            add_rows(&of_keys, lanes, of_rows, columns, key, size);
            add_rows(&of_values, lanes, of_rows, columns, value, size);
        }
    }
}

impl Heads {
    /// The first columns of the key and of the value of a query head.
    fn key_value_columns(self, head: usize) -> [usize; 2] {
        let serving = head / (self.query / self.key_value);
        [self.query + serving, self.query + self.key_value + serving].map(|head| head * self.size)
    }
}

impl AttentionPattern {
    /// The keys that some query of a block attends to.
    pub(super) fn attended_keys(self, block: &Range<usize>, length: usize) -> Range<usize> {
        match self {
            Self::Causal => 0..block.end,
            Self::SlidingWindow(window) => (block.start + 1).saturating_sub(window)..block.end,
            Self::Full => 0..length,
        }
    }

    /// Masks the keys that a query does not attend to with a score so low that their share is zero. The first score is
    /// of key `from`, the first lane of query `start`.
    fn hide(self, scores: &mut [Lane], from: usize, start: usize) {
        if self != Self::Full {
            for (ahead, score) in scores[start - from..].iter_mut().enumerate() {
                score[..ahead].fill(f32::MIN);
            }
        }
        if let Self::SlidingWindow(window) = self {
            // The query in lane `place` attends to keys from `start + place + 1 - window` on.
            for (key, score) in scores.iter_mut().enumerate() {
                let Some(place) = (from + key + window).checked_sub(start).filter(|place| *place < 8) else { break };
                score[place..].fill(f32::MIN);
            }
        }
    }
}

/// The rows of each sequence, as a range.
fn sequences(lengths: &[usize]) -> impl Iterator<Item = Range<usize>> {
    lengths.iter().scan(0, |end, length| {
        *end += length;
        Some(*end - length..*end)
    })
}

fn longest(lengths: &[usize]) -> usize {
    lengths.iter().copied().max().unwrap_or(0)
}

/// Blocks of eight positions; the last may have fewer.
fn blocks(length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(8).map(move |start| start..length.min(start + 8))
}

/// Replaces `copy` by some columns of the rows.
fn copy_columns(copy: &mut Vec<f32>, rows: &[f32], columns: usize, first: usize, count: usize) {
    copy.clear();
    rows.chunks_exact(columns).for_each(|row| copy.extend_from_slice(&row[first..first + count]));
}

/// `lanes[value][r] = rows[block.start + r][first + value]`; lanes beyond the block are zero.
fn gather(lanes: &mut [Lane], rows: &[f32], columns: usize, first: usize, block: Range<usize>) {
    if block.len() < 8 {
        lanes.fill(ZERO);
    }
    for (place, row) in block.enumerate() {
        for (lane, value) in lanes.iter_mut().zip(&rows[row * columns + first..]) {
            lane[place] = *value;
        }
    }
}

/// The reverse of [`gather`].
fn scatter(lanes: &[Lane], rows: &mut [f32], columns: usize, first: usize, block: Range<usize>) {
    for (place, row) in block.enumerate() {
        for (lane, value) in lanes.iter().zip(&mut rows[row * columns + first..]) {
            *value = lane[place];
        }
    }
}

/// Transposes `lanes` to `rows`: the values of each of the eight lanes, padded to whole lanes, one lane after the
/// other.
fn transpose(lanes: &[Lane], rows: &mut [Lane]) {
    let width = rows.len() / 8;
    for (value, lane) in lanes.iter().enumerate() {
        for (place, from) in lane.iter().enumerate() {
            rows[place * width + value / 8][value % 8] = *from;
        }
    }
}

/// Adds the first `size` values of each row of `width` lanes to the columns of `rows` from `first` on.
fn add_rows(lanes: &[Lane], width: usize, rows: &mut [f32], columns: usize, first: usize, size: usize) {
    for (lanes, row) in lanes.chunks_exact(width).zip(rows.chunks_exact_mut(columns)) {
        for (to, from) in row[first..first + size].iter_mut().zip(lanes.as_flattened()) {
            *to += from;
        }
    }
}
