//! Attention of new positions over those that were read before, whose keys and values are kept (a KV cache). Forward
//! alone, in main memory on every device: the scores of one position are too few to be worth a transfer.

use super::{AttentionPattern, Heads};
use crate::trainer::kernel::exp::{exp, max, sum};
use crate::trainer::kernel::simd::{Loop, multiply_add, run};

/// The keys and values of one block for the positions read so far.
#[derive(Debug, Default)]
pub(crate) struct KeyValueCache {
    /// For each key head, `[positions, size]`.
    keys: Vec<Vec<f32>>,
    /// As `keys`.
    values: Vec<Vec<f32>>,
}

impl KeyValueCache {
    /// True before the first position.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Takes the keys and values of `[positions, columns]`, rotated.
    pub fn append(&mut self, heads: Heads, qkv: &[f32]) {
        self.keys.resize_with(heads.key_value, Vec::new);
        self.values.resize_with(heads.key_value, Vec::new);
        for row in qkv.chunks_exact(heads.columns()) {
            let (keys, values) = row[heads.query * heads.size..].split_at(heads.key_value * heads.size);
            for (kept, new) in self.keys.iter_mut().zip(keys.chunks_exact(heads.size)) {
                kept.extend_from_slice(new);
            }
            for (kept, new) in self.values.iter_mut().zip(values.chunks_exact(heads.size)) {
                kept.extend_from_slice(new);
            }
        }
    }

    /// The heads' outputs, `[positions, query * size]`, of `qkv`, `[positions, columns]`: the last positions that were
    /// appended. Rotated, queries scaled.
    pub fn attend(&self, heads: Heads, pattern: AttentionPattern, qkv: &[f32]) -> Vec<f32> {
        let (rows, size) = (qkv.len() / heads.columns(), heads.size);
        let known = self.keys.first().map_or(0, Vec::len) / size;
        let mut output = vec![0.0; rows * heads.query * size];
        let mut shares = Vec::new();
        let outputs = output.chunks_exact_mut(heads.query * size);
        for ((number, row), output) in qkv.chunks_exact(heads.columns()).enumerate().zip(outputs) {
            let position = known - rows + number;
            let seen = pattern.attended_keys(&(position..position + 1), known);
            shares.resize(seen.len(), 0.0);
            for (head, (query, out)) in row.chunks_exact(size).zip(output.chunks_exact_mut(size)).enumerate() {
                let serving = head / (heads.query / heads.key_value);
                let [keys, values] =
                    [&self.keys, &self.values].map(|heads| &heads[serving][seen.start * size..seen.end * size]);
                run(Shares { shares: &mut shares, keys, query });
                run(WeightedSum { out, shares: &shares, values });
            }
        }
        output
    }
}

/// `shares[key] = softmax over keys of keys[key] * query`.
struct Shares<'a> {
    shares: &'a mut [f32],
    keys: &'a [f32],
    query: &'a [f32],
}

impl Loop for Shares<'_> {
    #[inline(always)]
    fn run(self) {
        let (query, query_rest) = self.query.as_chunks::<8>();
        for (score, key) in self.shares.iter_mut().zip(self.keys.chunks_exact(self.query.len())) {
            let (key, key_rest) = key.as_chunks::<8>();
            let mut sums = [0.0; 8];
            for (query, key) in query.iter().zip(key) {
                for lane in 0..8 {
                    sums[lane] = query[lane].mul_add(key[lane], sums[lane]);
                }
            }
            *score = sum(&sums) + query_rest.iter().zip(key_rest).map(|(query, key)| query * key).sum::<f32>();
        }
        let largest = max(self.shares);
        self.shares.iter_mut().for_each(|score| *score = exp(*score - largest));
        let total = sum(self.shares).recip();
        self.shares.iter_mut().for_each(|share| *share *= total);
    }
}

/// `out = sum over rows of shares[row] * values[row]`.
struct WeightedSum<'a> {
    out: &'a mut [f32],
    shares: &'a [f32],
    values: &'a [f32],
}

impl Loop for WeightedSum<'_> {
    #[inline(always)]
    fn run(self) {
        for (share, row) in self.shares.iter().zip(self.values.chunks_exact(self.out.len())) {
            let (out, out_rest) = self.out.as_chunks_mut::<8>();
            let (row, row_rest) = row.as_chunks::<8>();
            out.iter_mut().zip(row).for_each(|(out, row)| multiply_add(out, *share, row));
            out_rest.iter_mut().zip(row_rest).for_each(|(out, value)| *out = share.mul_add(*value, *out));
        }
    }
}
