//! Batches: sequences in, padded token ids out, with the rows that predict a token that counts.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::TrainerError;
use crate::data::Sequence;

/// Sequences padded on the right to the longest of them.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    /// `[sequences * length]`; 0 where padded.
    pub tokens: Vec<i64>,
    /// Tokens a sequence.
    pub length: usize,
    /// Rows whose prediction counts, ascending.
    pub rows: Vec<i64>,
    /// What each of `rows` is to predict.
    pub targets: Vec<u32>,
}

impl Batch {
    /// The tokens of each sequence but the last predict the next one, from `loss_from` on.
    pub fn new(sequences: &[&Sequence]) -> Self {
        let inputs = |sequence: &Sequence| sequence.tokens.len().saturating_sub(1);
        let length = sequences.iter().map(|sequence| inputs(sequence)).max().unwrap_or(0);
        let mut batch = Self { tokens: Vec::new(), length, rows: Vec::new(), targets: Vec::new() };
        for (number, sequence) in sequences.iter().enumerate() {
            let count = inputs(sequence);
            batch.tokens.extend(sequence.tokens[..count].iter().map(|token| i64::from(*token)));
            batch.tokens.resize((number + 1) * length, 0);
            for at in sequence.loss_from.max(1)..sequence.tokens.len() {
                batch.rows.push((number * length + at - 1) as i64);
                batch.targets.push(sequence.tokens[at]);
            }
        }
        batch
    }
}

/// Those of the sequences that have something to predict, after a check of lengths and tokens.
pub(super) fn usable(
    sequences: &[Sequence],
    positions: usize,
    embeddings: usize,
) -> Result<Vec<&Sequence>, TrainerError> {
    for sequence in sequences {
        readable(&sequence.tokens, positions, embeddings)?;
    }
    let predicts = |sequence: &&Sequence| sequence.loss_from.max(1) < sequence.tokens.len();
    let usable: Vec<_> = sequences.iter().filter(predicts).collect();
    if usable.is_empty() {
        return Err(TrainerError::NothingToPredict { sequences: sequences.len() });
    }
    Ok(usable)
}

/// Checks that a model can read these tokens.
pub(super) fn readable(tokens: &[u32], positions: usize, embeddings: usize) -> Result<(), TrainerError> {
    if tokens.len() > positions {
        return Err(TrainerError::TooLong { tokens: tokens.len(), positions });
    }
    match tokens.iter().find(|token| **token as usize >= embeddings) {
        Some(token) => Err(TrainerError::Token { token: *token, embeddings }),
        None => Ok(()),
    }
}

/// A random order of `count` things (Fisher and Yates).
pub(super) fn shuffled(count: usize, stream: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The high half of the product is uniform to within count / 2^64.
        let other = (u128::from(stream.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, other as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    fn sequence(tokens: &[u32], loss_from: usize) -> Sequence {
        Sequence { tokens: tokens.into(), loss_from }
    }

    #[test]
    fn short_sequences_are_padded_and_only_what_counts_is_predicted() {
        let batch = Batch::new(&[&sequence(&[5, 6, 7, 8], 2), &sequence(&[9, 4], 0)]);
        assert_eq!((batch.length, batch.tokens), (3, vec![5, 6, 7, 9, 0, 0]));
        assert_eq!((batch.rows, batch.targets), (vec![1, 2, 3], vec![7, 8, 4]));
    }

    #[test]
    fn sequences_that_the_model_cannot_read_are_refused() {
        let error = |tokens: &[u32], loss_from| usable(&[sequence(tokens, loss_from)], 3, 10).unwrap_err().to_string();
        assert_eq!(error(&[1, 2, 3, 4], 0), "a sequence has 4 tokens, but the model has 3 positions");
        assert_eq!(error(&[1, 10], 0), "a sequence has token 10, but the model has 10 embeddings");
        assert_eq!(error(&[1, 2], 2), "there is nothing to predict in the 1 sequences given");
    }

    #[test]
    fn an_order_has_everything_once_and_follows_its_seed() {
        let order = |seed| shuffled(20, &mut stream(seed, Purpose::Shuffle, 0, 0));
        let mut sorted = order(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
