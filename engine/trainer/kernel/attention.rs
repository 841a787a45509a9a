//! Grouped-query attention (Ainslie et al. 2023), forward and backward. The sequences of a batch lie one after the
//! other; in main memory each has its own length, elsewhere all have the same, padded on the right. No real position
//! attends to a padded one: with causal attention those lie behind it, with full attention a mask hides them.

mod cache;
mod host;
mod host_loops;

use burn::tensor::{DType, Tensor, activation};

pub(crate) use cache::KeyValueCache;

use super::{HostValues, Place, edit, read, simd, to_f32};

/// The positions that a position attends to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttentionPattern {
    /// Itself and all positions before it.
    Causal,
    /// Itself and the positions before it, so many in all; at least 1.
    SlidingWindow(usize),
    /// All positions of the sequence.
    Full,
}

impl AttentionPattern {
    /// The same pattern with a window of at most so many positions.
    pub fn within(self, positions: usize) -> Self {
        match self {
            Self::SlidingWindow(window) => Self::SlidingWindow(window.min(positions)),
            pattern => pattern,
        }
    }
}

/// Number and size of the attention heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Heads of queries.
    pub query: usize,
    /// Heads of keys, and of values; each serves `query / key_value` neighbouring query heads.
    pub key_value: usize,
    /// Values of a head.
    pub size: usize,
}

impl Heads {
    /// Columns of a row with queries, keys and values.
    pub fn columns(self) -> usize {
        (self.query + 2 * self.key_value) * self.size
    }

    /// The usual factor of the scores, `1 / sqrt(size)`.
    pub fn score_scale(self) -> f32 {
        (self.size as f32).sqrt().recip()
    }
}

/// The masks that are added to the scores of padded sequences; made once for each pass. Empty in main memory, where
/// masked scores are not computed.
pub(crate) struct Masks(Vec<(AttentionPattern, Tensor<5>)>);

impl Masks {
    /// The masks of these patterns for sequences that have, without their padding, these lengths.
    pub fn new(patterns: &[AttentionPattern], lengths: &[usize], place: &Place) -> Self {
        let mut masks: Vec<(AttentionPattern, Tensor<5>)> = Vec::new();
        let length = lengths.iter().copied().max().unwrap_or_default();
        for pattern in patterns.iter().filter(|_| !place.host) {
            let hidden = || Tensor::<2>::full([length, length], f32::NEG_INFINITY, (&place.device, DType::F32));
            let mask = match pattern {
                _ if masks.iter().any(|(known, _)| known == pattern) => continue,
                AttentionPattern::Full if lengths.iter().all(|own| *own == length) => continue,
                AttentionPattern::Full => padding_mask(lengths, length, place),
                AttentionPattern::Causal => hidden().triu(1).unsqueeze(),
                AttentionPattern::SlidingWindow(window) => {
                    (hidden().triu(1) + hidden().tril(-(*window as i64))).unsqueeze()
                }
            };
            masks.push((*pattern, mask));
        }
        Self(masks)
    }

    fn hide(&self, scores: Tensor<5>, pattern: AttentionPattern) -> Tensor<5> {
        match self.0.iter().find(|(known, _)| *known == pattern) {
            Some((_, mask)) => scores + mask.clone(),
            None => scores,
        }
    }
}

/// The mask that hides the positions of each sequence behind its length, `[batch, 1, 1, 1, length]`.
fn padding_mask(lengths: &[usize], length: usize, place: &Place) -> Tensor<5> {
    let of_sequence = |own: &usize| (0..length).map(|at| if at < *own { 0.0 } else { f32::NEG_INFINITY }).collect();
    let mask: Vec<f32> = lengths.iter().flat_map::<Vec<f32>, _>(of_sequence).collect();
    place.tensor_f32(mask, [lengths.len(), 1, 1, 1, length])
}

/// One attention over a batch with the tensors saved for its backward pass.
pub(crate) struct Attention {
    heads: Heads,
    pattern: AttentionPattern,
    saved: Saved,
}

#[expect(clippy::large_enum_variant, reason = "one lives for a layer and a step; a box would buy nothing")]
enum Saved {
    /// Rows, outputs and the log-sum-exp of each softmax.
    Host { qkv: Tensor<2>, output: Tensor<2>, log_sums: Vec<simd::Lane> },
    /// Five axes: batch, key head, query head in its group, position, value or position. Keys and values are not
    /// repeated for the query heads of a group.
    Device { query: Tensor<5>, key: Tensor<5>, value: Tensor<5>, shares: Tensor<5>, output: Tensor<5> },
}

impl Attention {
    /// The heads' outputs, `[sum of lengths, query * size]`, of `qkv`: `[sum of lengths, columns]`, rotated, queries
    /// scaled; with the saved tensors.
    pub fn forward(
        qkv: Tensor<2>,
        heads: Heads,
        (pattern, masks): (AttentionPattern, &Masks),
        lengths: &[usize],
        place: &Place,
    ) -> (Tensor<2>, Self) {
        let rows = qkv.dims()[0];
        if place.host {
            let mut output = vec![0.0; rows * heads.query * heads.size];
            let log_sums = read(&qkv, |qkv| host::forward(heads, pattern, lengths, qkv, &mut output));
            let output = place.tensor(output, [rows, heads.query * heads.size]);
            return (output.clone(), Self { heads, pattern, saved: Saved::Host { qkv, output, log_sums } });
        }
        let (batch, length, group) = (lengths.len(), rows / lengths.len(), heads.query / heads.key_value);
        let view = |from: usize, group: usize| {
            let columns = from * heads.size..(from + heads.key_value * group) * heads.size;
            let part = qkv.clone().slice([0..rows, columns]);
            part.reshape([batch, length, heads.key_value, group, heads.size]).permute([0, 2, 3, 1, 4])
        };
        let query = view(0, group);
        let key = view(heads.query, 1);
        let value = view(heads.query + heads.key_value, 1);
        let scores = to_f32(query.clone().matmul(key.clone().swap_dims(3, 4)));
        let shares = activation::softmax(masks.hide(scores, pattern), 4).cast(place.dtype);
        let output = shares.clone().matmul(value.clone());
        let joined = output.clone().permute([0, 3, 1, 2, 4]).reshape([rows, heads.query * heads.size]);
        (joined, Self { heads, pattern, saved: Saved::Device { query, key, value, shares, output } })
    }

    /// The gradient of `qkv`, given that of the outputs.
    pub fn backward(self, gradient: Tensor<2>, lengths: &[usize], place: &Place) -> Tensor<2> {
        let (heads, rows) = (self.heads, gradient.dims()[0]);
        let (query, key, value, shares, output) = match self.saved {
            Saved::Host { qkv, output, log_sums } => {
                let of_qkv = place.tensor(vec![0.0; rows * heads.columns()], [rows, heads.columns()]);
                let [qkv, output, gradient] = [&qkv, &output, &gradient].map(HostValues::of);
                let past = host::BackwardInput {
                    heads,
                    pattern: self.pattern,
                    lengths,
                    qkv: qkv.slice(),
                    output: output.slice(),
                    log_sums: &log_sums,
                    gradient: gradient.slice(),
                };
                return edit(of_qkv, |of_qkv| host::backward(past, of_qkv));
            }
            Saved::Device { query, key, value, shares, output } => (query, key, value, shares, output),
        };
        let (batch, length, group) = (lengths.len(), rows / lengths.len(), heads.query / heads.key_value);
        let gradient = gradient.reshape([batch, length, heads.key_value, group, heads.size]).permute([0, 2, 3, 1, 4]);
        let of_value = shares.clone().swap_dims(3, 4).matmul(gradient.clone()).sum_dim(2);
        // The sum over a row of shares times their gradients equals the sum of the output times its gradient, which is
        // shorter.
        let along = (gradient.clone() * output).sum_dim(4);
        let of_scores = shares * (gradient.matmul(value.swap_dims(3, 4)) - along);
        let of_query = of_scores.clone().matmul(key);
        let of_key = of_scores.swap_dims(3, 4).matmul(query).sum_dim(2);
        let columns = |part: Tensor<5>, of: usize| part.permute([0, 3, 1, 2, 4]).reshape([rows, of * heads.size]);
        Tensor::cat(
            vec![columns(of_query, heads.query), columns(of_key, heads.key_value), columns(of_value, heads.key_value)],
            1,
        )
    }
}
