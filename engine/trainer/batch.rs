//! Batches: sequences in, token ids one after the other out, with the rows that predict a token that counts.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::TrainerError;
use crate::data::Sequence;

/// Sequences one after the other, padded on the right to the longest of them where the device needs equal lengths.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    /// `[sum of lengths]`; 0 where padded.
    pub tokens: Vec<i64>,
    /// Tokens of each sequence, padding included.
    pub lengths: Vec<usize>,
    /// Rows whose prediction counts, ascending.
    pub rows: Vec<i64>,
    /// What each of `rows` is to predict.
    pub targets: Vec<u32>,
}

impl Batch {
    /// The tokens of each sequence but the last predict the next one, from `loss_from` on.
    pub fn new(sequences: &[&Sequence], padded: bool) -> Self {
        let inputs = |sequence: &Sequence| sequence.tokens.len().saturating_sub(1);
        let longest = sequences.iter().map(|sequence| inputs(sequence)).max().unwrap_or(0);
        let mut batch = Self { tokens: Vec::new(), lengths: Vec::new(), rows: Vec::new(), targets: Vec::new() };
        for sequence in sequences {
            let (first, count) = (batch.tokens.len(), inputs(sequence));
            batch.lengths.push(if padded { longest } else { count });
            batch.tokens.extend(sequence.tokens[..count].iter().map(|token| i64::from(*token)));
            batch.tokens.resize(batch.lengths.iter().sum(), 0);
            for at in sequence.loss_from.max(1)..sequence.tokens.len() {
                batch.rows.push((first + at - 1) as i64);
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
    fn short_sequences_are_padded_where_asked_and_only_what_counts_is_predicted() {
        let sequences = [&sequence(&[9, 4], 0), &sequence(&[5, 6, 7, 8], 2)];
        let padded = Batch::new(&sequences, true);
        assert_eq!((padded.lengths, padded.tokens), (vec![3, 3], vec![9, 0, 0, 5, 6, 7]));
        assert_eq!((padded.rows, padded.targets), (vec![0, 4, 5], vec![4, 7, 8]));
        let packed = Batch::new(&sequences, false);
        assert_eq!((packed.lengths, packed.tokens), (vec![1, 3], vec![9, 5, 6, 7]));
        assert_eq!((packed.rows, packed.targets), (vec![0, 2, 3], vec![4, 7, 8]));
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
