//! Batches: sequences in; token ids or image patches out, one sequence after the other, with the rows whose prediction
//! counts and their targets.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::TrainerError;
use super::family::ClassPosition;
use super::image_processor::ImageProcessor;
use crate::data::{Goal, Sequence};

/// Sequences one after the other, padded on the right to the longest of them where the device needs equal lengths.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    /// `[sum of lengths]`; 0 where padded.
    pub tokens: Vec<i64>,
    /// Image patches, a row for each position; empty for a model that reads tokens.
    pub patches: Vec<f32>,
    /// Positions of each sequence, padding included.
    pub lengths: Vec<usize>,
    /// The position of the first row of each sequence.
    pub start: usize,
    /// Positions of each sequence without padding.
    pub unpadded: Vec<usize>,
    /// Rows whose prediction is in the loss, ascending.
    pub rows: Vec<i64>,
    /// The target of each of `rows`: a token, or a class.
    pub targets: Vec<u32>,
}

impl Batch {
    /// A batch of token sequences. Where the goal is the next token, each position but the last predicts it where the
    /// goal asks for it; where it is a class, the one at `class_position` predicts that.
    pub fn new(sequences: &[&Sequence], padded: bool, class_position: ClassPosition) -> Self {
        let inputs = |sequence: &Sequence| match sequence.goal {
            Goal::Class(_) => sequence.tokens.len(),
            _ => sequence.tokens.len().saturating_sub(1),
        };
        let longest = sequences.iter().map(|sequence| inputs(sequence)).max().unwrap_or(0);
        let mut batch = Self::empty();
        for sequence in sequences {
            let (first, count) = (batch.tokens.len(), inputs(sequence));
            batch.lengths.push(if padded { longest } else { count });
            batch.unpadded.push(count);
            batch.tokens.extend(sequence.tokens[..count].iter().map(|token| i64::from(*token)));
            batch.tokens.resize(batch.lengths.iter().sum(), 0);
            for at in sequence.predicted() {
                batch.rows.push((first + at - 1) as i64);
                batch.targets.push(sequence.tokens[at]);
            }
            if let Goal::Class(class) = sequence.goal {
                let at = match class_position {
                    ClassPosition::First => None,
                    ClassPosition::LastBut(padding) => {
                        sequence.tokens.iter().rposition(|token| Some(*token) != padding)
                    }
                };
                batch.rows.push((first + at.unwrap_or(0)) as i64);
                batch.targets.push(class);
            }
        }
        batch
    }

    /// A batch of images, whose first position predicts the class.
    pub fn of_pictures(sequences: &[&Sequence], preprocessor: &ImageProcessor) -> Self {
        let (mut batch, positions) = (Self::empty(), preprocessor.positions());
        for sequence in sequences {
            let (Some(image), Goal::Class(class)) = (&sequence.image, &sequence.goal) else { continue };
            batch.rows.push((batch.lengths.len() * positions) as i64);
            batch.targets.push(*class);
            batch.lengths.push(positions);
            batch.unpadded.push(positions);
            preprocessor.append(image, &mut batch.patches);
        }
        batch
    }

    /// A batch of one sequence without targets, every position of which is asked for.
    pub fn of_tokens(tokens: &[u32]) -> Self {
        Self {
            tokens: tokens.iter().map(|token| i64::from(*token)).collect(),
            lengths: vec![tokens.len()],
            unpadded: vec![tokens.len()],
            rows: (0..tokens.len() as i64).collect(),
            ..Self::empty()
        }
    }

    /// Tokens that follow `start` others of the same sequence; the last one is asked for.
    pub fn of_next(tokens: &[u32], start: usize) -> Self {
        Self { start, rows: vec![tokens.len() as i64 - 1], ..Self::of_tokens(tokens) }
    }

    fn empty() -> Self {
        let [lengths, unpadded] = [(); 2].map(|()| Vec::new());
        let (tokens, patches, rows, targets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { tokens, patches, lengths, unpadded, start: 0, rows, targets }
    }

    /// The row of the position embedding of each token. The `unplaced` token has the row of its own number, and the
    /// others have those behind it, from the first of a sequence on.
    pub fn positions(&self, unplaced: Option<u32>) -> Vec<i64> {
        let Some(unplaced) = unplaced.map(i64::from) else {
            let positions = |length: &usize| self.start as i64..(self.start + length) as i64;
            return self.lengths.iter().flat_map(positions).collect();
        };
        let (mut positions, mut rest) = (Vec::with_capacity(self.tokens.len()), &self.tokens[..]);
        for length in &self.lengths {
            let (sequence, behind) = rest.split_at(*length);
            let mut last = unplaced;
            for token in sequence {
                last += i64::from(*token != unplaced);
                positions.push(if *token == unplaced { unplaced } else { last });
            }
            rest = behind;
        }
        positions
    }
}

/// The limits of what a model can read and predict.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits<'a> {
    /// The longest sequence.
    pub positions: usize,
    /// Tokens that have an embedding.
    pub embeddings: usize,
    /// Classes that the adapter's head tells apart; 0 where the next token is predicted.
    pub classes: usize,
    /// The image processor of a model that reads images.
    pub pictures: Option<&'a ImageProcessor>,
}

impl Limits<'_> {
    /// The sequences that have a target, after a check of all of them.
    pub fn with_targets(self, sequences: &[Sequence]) -> Result<Vec<&Sequence>, TrainerError> {
        for sequence in sequences {
            match (&sequence.image, self.pictures) {
                (Some(image), Some(preprocessor)) => preprocessor.check_image(image)?,
                (None, None) => self.check_tokens(&sequence.tokens)?,
                (image, _) => return Err(TrainerError::Input { picture: image.is_some() }),
            }
            match sequence.goal {
                Goal::Class(class) if class as usize >= self.classes => {
                    return Err(TrainerError::Class { class, classes: self.classes });
                }
                Goal::From(_) | Goal::Spans(_) if self.classes > 0 => {
                    return Err(TrainerError::NoClass { classes: self.classes });
                }
                _ => {}
            }
        }
        let usable: Vec<_> = sequences.iter().filter(|sequence| sequence.teaches()).collect();
        if usable.is_empty() {
            return Err(TrainerError::NothingToPredict { sequences: sequences.len() });
        }
        Ok(usable)
    }

    /// Checks that the sequence is no longer than the model's positions and that each token has an embedding.
    pub fn check_tokens(self, tokens: &[u32]) -> Result<(), TrainerError> {
        let Self { positions, embeddings, .. } = self;
        if tokens.len() > positions {
            return Err(TrainerError::TooLong { tokens: tokens.len(), positions });
        }
        match tokens.iter().find(|token| **token as usize >= embeddings) {
            Some(token) => Err(TrainerError::Token { token: *token, embeddings }),
            None => Ok(()),
        }
    }
}

/// A random permutation of `0..count` (Fisher and Yates).
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
    use std::sync::Arc;

    use super::*;
    use crate::data::Image;
    use crate::random::{Purpose, stream};

    fn sequence(tokens: &[u32], from: usize) -> Sequence {
        Sequence { tokens: tokens.into(), goal: Goal::From(from), image: None }
    }

    #[test]
    fn short_sequences_are_padded_where_asked_and_only_what_counts_is_predicted() {
        let sequences = [&sequence(&[9, 4], 0), &sequence(&[5, 6, 7, 8], 2)];
        let padded = Batch::new(&sequences, true, ClassPosition::First);
        assert_eq!((padded.lengths, padded.tokens), (vec![3, 3], vec![9, 0, 0, 5, 6, 7]));
        assert_eq!((padded.rows, padded.targets), (vec![0, 4, 5], vec![4, 7, 8]));
        let packed = Batch::new(&sequences, false, ClassPosition::First);
        assert_eq!((packed.lengths, packed.tokens), (vec![1, 3], vec![9, 5, 6, 7]));
        assert_eq!((packed.rows, packed.targets), (vec![0, 2, 3], vec![4, 7, 8]));
    }

    #[test]
    fn the_last_token_predicts_the_class_and_is_read_itself() {
        let class = |tokens: &[u32], class| Sequence { goal: Goal::Class(class), ..sequence(tokens, 0) };
        let sequences = [&class(&[9, 4], 2), &class(&[5], 0)];
        let batch = Batch::new(&sequences, true, ClassPosition::LastBut(None));
        assert_eq!((batch.lengths, batch.tokens), (vec![2, 2], vec![9, 4, 5, 0]));
        assert_eq!((batch.rows, batch.targets), (vec![1, 2], vec![2, 0]));
        assert_eq!(Batch::new(&sequences, true, ClassPosition::LastBut(Some(4))).rows, [0, 2]);
        let first = Batch::new(&sequences, true, ClassPosition::First);
        assert_eq!((first.rows, first.unpadded), (vec![0, 2], vec![2, 1]));
    }

    #[test]
    fn a_token_without_a_position_has_its_own_row_and_moves_nobody() {
        let sequences = [&sequence(&[5, 1, 6, 9], 0), &sequence(&[1, 7, 9], 0)];
        let batch = Batch::new(&sequences, false, ClassPosition::First);
        assert_eq!(batch.positions(None), [0, 1, 2, 0, 1]);
        assert_eq!(batch.positions(Some(1)), [2, 1, 3, 1, 2]);
    }

    #[test]
    fn sequences_that_the_model_cannot_read_are_refused() {
        let limits = |classes| Limits { positions: 3, embeddings: 10, classes, pictures: None };
        let error = |classes, tokens: &[u32], goal| {
            let sequence = Sequence { goal, ..sequence(tokens, 0) };
            limits(classes).with_targets(&[sequence]).unwrap_err().to_string()
        };
        assert_eq!(error(0, &[1, 2, 3, 4], Goal::From(0)), "a sequence has 4 tokens, but the model has 3 positions");
        assert_eq!(error(0, &[1, 10], Goal::From(0)), "a sequence has token 10, but the model has 10 embeddings");
        assert_eq!(error(0, &[1, 2], Goal::From(2)), "there is nothing to predict in the 1 sequences given");
        assert_eq!(error(2, &[1], Goal::Class(2)), "a sequence has class 2, but the head has 2 classes");
        assert_eq!(error(0, &[1], Goal::Class(0)), "a sequence has class 0, but the head has 0 classes");
        assert_eq!(error(2, &[1, 2], Goal::From(0)), "a sequence has no class, but the head has 2 classes");
        let image = Arc::new(Image { channels: 1, height: 1, width: 1, values: vec![0] });
        let picture = Sequence { goal: Goal::Class(0), image: Some(image), ..sequence(&[], 0) };
        let error = limits(2).with_targets(&[picture]).unwrap_err().to_string();
        assert_eq!(error, "a sequence is a picture, but the model reads tokens");
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
