//! The reference `R` that the server and its receivers share, so that what goes down is only what changed: the server
//! sends `C(W - R)`, and both sides add what is decoded. What is not sent stays in the difference, which is error feedback.
//!
//! Values that were ever touched lie on the grid of f16, so that a snapshot of them in f16 is exact: a receiver that takes
//! every broadcast and one that takes a snapshot have the same bits.

use std::sync::Arc;

use half::f16;

use crate::adapter::{Message, Part, ValueCoding};

/// The reason why a message cannot be applied to a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// A broadcast is missing in between, or comes twice.
    #[error("broadcast {found} does not follow on broadcast {known}: {} is the next", .known.saturating_add(1))]
    OutOfOrder {
        /// The last broadcast in the reference.
        known: u32,
        /// The broadcast found.
        found: u32,
    },
    /// A snapshot that has another shape than a snapshot of this layout.
    #[error("not a snapshot of {values} values: {reason}")]
    Snapshot {
        /// Values of the layout.
        values: usize,
        /// The fault of the message.
        reason: String,
    },
}

/// `R` after a number of broadcasts. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    sequence: u32,
    values: Arc<Vec<f32>>,
}

impl Reference {
    /// Before the first broadcast: the run's start, which everyone has.
    pub fn new(start: Arc<Vec<f32>>) -> Self {
        Self { sequence: 0, values: start }
    }

    /// A reference that was stored after broadcast number `sequence`.
    pub fn restored(sequence: u32, values: Arc<Vec<f32>>) -> Self {
        Self { sequence, values }
    }

    /// Number of the last broadcast in it; 0 before the first.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// `R`.
    pub fn values(&self) -> &Arc<Vec<f32>> {
        &self.values
    }

    /// `W - R`: what is to be encoded.
    pub fn difference(&self, weights: &[f32]) -> Vec<f32> {
        assert_eq!(weights.len(), self.values.len(), "weights and reference are of one layout");
        weights.iter().zip(&*self.values).map(|(weight, known)| weight - known).collect()
    }

    /// The reference after one more broadcast, from what that was decoded to.
    ///
    /// # Errors
    /// [`ReferenceError::OutOfOrder`] when `sequence` is not the next.
    pub fn advanced(&self, sequence: u32, decoded: &[f32]) -> Result<Self, ReferenceError> {
        if self.sequence.checked_add(1) != Some(sequence) {
            return Err(ReferenceError::OutOfOrder { known: self.sequence, found: sequence });
        }
        assert_eq!(decoded.len(), self.values.len(), "what is decoded and the reference are of one layout");
        let moved = |(known, change): (&f32, &f32)| if *change == 0.0 { *known } else { on_grid(known + change) };
        let values = self.values.iter().zip(decoded).map(moved).collect();
        Ok(Self { sequence, values: Arc::new(values) })
    }

    /// Everything in which `R` differs from the run's start: what brings a new receiver up to this reference.
    pub fn snapshot(&self, start: &[f32]) -> Message {
        let differs = |at: &usize| self.values[*at].to_bits() != start[*at].to_bits();
        let touched: Vec<usize> = (0..start.len()).filter(differs).collect();
        let values = Arc::new(touched.iter().map(|at| self.values[*at]).collect());
        let indices = touched.into_iter().map(|at| at as u32).collect();
        let parts = vec![
            Part::Indices { space: start.len() as u32, indices },
            Part::Values { coding: ValueCoding::F16, values },
        ];
        Message { parts }
    }

    /// The receiver's reference after a snapshot that was taken after broadcast number `sequence`.
    ///
    /// # Errors
    /// [`ReferenceError::Snapshot`] when the message is none of this layout.
    pub fn from_snapshot(sequence: u32, start: &[f32], snapshot: &Message) -> Result<Self, ReferenceError> {
        let wrong = |reason: String| Err(ReferenceError::Snapshot { values: start.len(), reason });
        let [Part::Indices { space, indices }, Part::Values { coding: ValueCoding::F16, values: sent }] =
            &snapshot.parts[..]
        else {
            return wrong(format!("{} parts that are not indices and f16 values", snapshot.parts.len()));
        };
        if *space as usize != start.len() || indices.len() != sent.len() {
            return wrong(format!("{} values at {} indices below {space}", sent.len(), indices.len()));
        }
        let mut values = start.to_vec();
        for (at, value) in indices.iter().zip(&**sent) {
            values[*at as usize] = *value;
        }
        Ok(Self::restored(sequence, Arc::new(values)))
    }
}

/// The nearest value that f16 has; what is beyond its range becomes its largest.
fn on_grid(value: f32) -> f32 {
    let largest = f16::MAX.to_f32();
    f16::from_f32(value.clamp(-largest, largest)).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Arc<Vec<f32>> {
        Arc::new(vec![0.1, -0.2, 0.0, 0.3])
    }

    #[test]
    fn the_difference_that_was_not_sent_comes_again() {
        let weights = [1.1, -0.2, 0.5, 0.3];
        let reference = Reference::new(start());
        let next = reference.advanced(1, &[1.0, 0.0, 0.0, 0.0]).unwrap();
        assert_eq!(next.difference(&weights)[2], 0.5);
        assert!(next.difference(&weights)[0].abs() < 1e-3);
        assert_eq!(next.values()[1..], start()[1..], "what is not touched stays to the bit, on the grid or not");
    }

    #[test]
    fn a_broadcast_out_of_order_is_refused_with_both_numbers() {
        let reference = Reference::new(start()).advanced(1, &[0.0; 4]).unwrap();
        for found in [0, 1, 3] {
            let error = reference.advanced(found, &[0.0; 4]).unwrap_err();
            assert_eq!(error, ReferenceError::OutOfOrder { known: 1, found });
        }
        let error = reference.advanced(3, &[0.0; 4]).unwrap_err().to_string();
        assert_eq!(error, "broadcast 3 does not follow on broadcast 1: 2 is the next");
    }

    #[test]
    fn a_snapshot_gives_the_same_bits_even_beyond_the_range_of_f16() {
        let reference = Reference::new(start()).advanced(1, &[1e9, -0.123_456_79, 0.0, -1e9]).unwrap();
        let again = Reference::from_snapshot(1, &start(), &reference.snapshot(&start())).unwrap();
        assert_eq!(again, reference);
        assert_eq!((again.values()[0], again.values()[3]), (65_504.0, -65_504.0));
    }

    #[test]
    fn what_is_no_snapshot_says_what_it_is() {
        let text = |parts| Reference::from_snapshot(1, &start(), &Message { parts }).unwrap_err().to_string();
        let values = |count| Part::Values { coding: ValueCoding::F16, values: vec![0.0; count].into() };
        let indices = |space| Part::Indices { space, indices: vec![1] };
        assert!(text(vec![]).contains("0 parts"));
        assert_eq!(text(vec![indices(5), values(1)]), "not a snapshot of 4 values: 1 values at 1 indices below 5");
        assert_eq!(text(vec![indices(4), values(2)]), "not a snapshot of 4 values: 2 values at 1 indices below 4");
    }
}
