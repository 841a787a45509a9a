//! The server's side of a tracked download: the reference of one tier, and the broadcasts that a receiver may have missed.
//!
//! In: each broadcast with what it was decoded to. Out: what a receiver needs that has missed some.

use std::collections::VecDeque;
use std::sync::Arc;

use super::reference::{Reference, ReferenceError};
use crate::wire::Frame;

/// A broadcast that is kept for those who miss it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its number; equal to its round.
    pub sequence: u32,
    /// The frame.
    pub frame: Frame,
}

/// A tier's reference and its kept broadcasts. Cheap to clone: a round works on a copy until it is closed.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracker {
    reference: Reference,
    kept: VecDeque<Sent>,
}

impl Tracker {
    /// Before the first broadcast.
    pub fn new(start: Arc<Vec<f32>>) -> Self {
        Self { reference: Reference::new(start), kept: VecDeque::new() }
    }

    /// As it was stored; `kept` in ascending order.
    pub fn restored(reference: Reference, kept: Vec<Sent>) -> Self {
        Self { reference, kept: kept.into() }
    }

    /// The reference that the receivers share.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The kept broadcasts, oldest first.
    pub fn kept(&self) -> impl Iterator<Item = &Sent> {
        self.kept.iter()
    }

    /// The tracker after one more broadcast. Broadcasts that are together longer than any snapshot are never what a
    /// receiver is sent, so the oldest go: what is kept does not grow with the number of rounds.
    ///
    /// # Errors
    /// [`ReferenceError::OutOfOrder`] when `sequence` is not the next.
    pub fn sent(&self, sequence: u32, frame: Frame, decoded: &[f32]) -> Result<Self, ReferenceError> {
        let reference = self.reference.advanced(sequence, decoded)?;
        let mut kept = self.kept.clone();
        kept.push_back(Sent { sequence, frame });
        let mut bytes: usize = kept.iter().map(|sent| sent.frame.len()).sum();
        while bytes > longest_snapshot(decoded.len()) {
            let Some(oldest) = kept.pop_front() else { break };
            bytes -= oldest.frame.len();
        }
        Ok(Self { reference, kept })
    }

    /// The broadcasts after number `last_seen` (0: all), in order; none where they are not all kept any more.
    pub fn missed(&self, last_seen: u32) -> Option<Vec<Frame>> {
        let first_kept = self.kept.front().map_or(self.reference.sequence() + 1, |sent| sent.sequence);
        let missed = || self.kept.iter().filter(|sent| sent.sequence > last_seen).map(|sent| sent.frame.clone());
        (first_kept <= last_seen.saturating_add(1)).then(|| missed().collect())
    }
}

/// No snapshot of that many values is longer: a bit for each index and two bytes for each value, and the frame around them.
fn longest_snapshot(values: usize) -> usize {
    values.saturating_mul(2).saturating_add(values.div_ceil(8)).saturating_add(128)
}

#[cfg(test)]
mod tests;
