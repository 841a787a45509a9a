//! Causal grouped-query attention (Ainslie et al. 2023), forward and backward. Sequences of a batch are padded on the
//! right, so that no real position ever sees a padded one: the causal mask is all that is needed.

use burn::tensor::{Tensor, activation};

use super::{Place, edit, exp};

/// How many heads of which size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    /// Heads of queries.
    pub query: usize,
    /// Heads of keys, and of values; each serves `query / key_value` neighbouring query heads.
    pub key_value: usize,
    /// Values a head.
    pub size: usize,
}

impl Heads {
    /// Columns of a row that holds queries, keys and values.
    pub fn columns(self) -> usize {
        (self.query + 2 * self.key_value) * self.size
    }

    /// What scores are multiplied by.
    pub fn score_scale(self) -> f32 {
        (self.size as f32).sqrt().recip()
    }
}

/// What one attention keeps for its backward pass. Views of five axes: batch, key head, query head in its group,
/// position, value; nothing is repeated for the groups.
pub(crate) struct Attention {
    query: Tensor<5>,
    key: Tensor<5>,
    value: Tensor<5>,
    /// `[batch, key head, group, length, length]`.
    shares: Tensor<5>,
    output: Tensor<5>,
}

impl Attention {
    /// `qkv`: `[batch * length, columns]`, rotated, queries scaled. Returns the heads' outputs
    /// `[batch * length, query * size]` too.
    pub fn forward(qkv: Tensor<2>, heads: Heads, length: usize, place: &Place) -> (Tensor<2>, Self) {
        let rows = qkv.dims()[0];
        let (batch, group) = (rows / length, heads.query / heads.key_value);
        let view = |from: usize, group: usize| {
            let columns = from * heads.size..(from + heads.key_value * group) * heads.size;
            let part = qkv.clone().slice([0..rows, columns]);
            part.reshape([batch, length, heads.key_value, group, heads.size]).permute([0, 2, 3, 1, 4])
        };
        let query = view(0, group);
        let key = view(heads.query, 1);
        let value = view(heads.query + heads.key_value, 1);
        let shares = causal_softmax(query.clone().matmul(key.clone().swap_dims(3, 4)), place);
        let output = shares.clone().matmul(value.clone());
        let joined = output.clone().permute([0, 3, 1, 2, 4]).reshape([rows, heads.query * heads.size]);
        (joined, Self { query, key, value, shares, output })
    }

    /// The gradient of `qkv`, given that of the outputs.
    pub fn backward(self, gradient: Tensor<2>, place: &Place) -> Tensor<2> {
        let Self { query, key, value, shares, output } = self;
        let [batch, kv_heads, group, length, size] = query.dims();
        let rows = batch * length;
        let gradient = gradient.reshape([batch, length, kv_heads, group, size]).permute([0, 2, 3, 1, 4]);
        let of_value = shares.clone().swap_dims(3, 4).matmul(gradient.clone()).sum_dim(2);
        // The sum over a row of shares * their gradient equals the sum over output * its gradient, which is shorter.
        let along = (gradient.clone() * output).sum_dim(4);
        let of_shares = gradient.matmul(value.swap_dims(3, 4));
        let of_scores = softmax_backward(shares, of_shares, along, place);
        let of_query = of_scores.clone().matmul(key);
        let of_key = of_scores.swap_dims(3, 4).matmul(query).sum_dim(2);
        let columns = |part: Tensor<5>, heads: usize| part.permute([0, 3, 1, 2, 4]).reshape([rows, heads * size]);
        Tensor::cat(
            vec![columns(of_query, kv_heads * group), columns(of_key, kv_heads), columns(of_value, kv_heads)],
            1,
        )
    }
}

/// Softmax over the keys up to each query's own position; 0 beyond it.
fn causal_softmax(scores: Tensor<5>, place: &Place) -> Tensor<5> {
    let length = scores.dims()[4];
    if !place.host {
        let mask = Tensor::<2>::full([length, length], f32::NEG_INFINITY, &place.device).triu(1);
        return activation::softmax(scores + mask.unsqueeze(), 4);
    }
    edit(scores, |scores| {
        for (row, scores) in scores.chunks_exact_mut(length).enumerate() {
            let (seen, hidden) = scores.split_at_mut(row % length + 1);
            let largest = exp::max(seen);
            for score in seen.iter_mut() {
                *score = exp::exp(*score - largest);
            }
            let inverse = 1.0 / exp::sum(seen);
            for score in seen.iter_mut() {
                *score *= inverse;
            }
            hidden.fill(0.0);
        }
    })
}

/// The gradient of scores, `shares * (gradient - along)`.
fn softmax_backward(shares: Tensor<5>, gradient: Tensor<5>, along: Tensor<5>, place: &Place) -> Tensor<5> {
    if !place.host {
        return shares * (gradient - along);
    }
    let length = shares.dims()[4];
    let (shares, along) = (shares.into_data(), along.into_data());
    let (Ok(shares), Ok(along)) = (shares.as_slice::<f32>(), along.as_slice::<f32>()) else {
        unreachable!("tensors of this room are f32")
    };
    edit(gradient, |gradient| {
        for ((gradient, shares), along) in gradient.chunks_exact_mut(length).zip(shares.chunks_exact(length)).zip(along)
        {
            for (gradient, share) in gradient.iter_mut().zip(shares) {
                *gradient = share * (*gradient - along);
            }
        }
    })
}
