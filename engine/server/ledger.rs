//! The communication ledger: bytes of real frames so far, by direction and kind, and the bytes of the same frames in
//! dense f32.

use serde::{Deserialize, Serialize};

use super::{DirectionBytes, Tally};
use crate::wire::ByteSplit;

/// Bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Server to clients.
    pub down: DirectionBytes,
    /// Clients to server.
    pub up: DirectionBytes,
    /// Bytes of the same frames with every value in f32.
    pub dense_total: u64,
    /// Length of one dense f32 frame of this layout, bytes.
    dense_frame: u64,
    /// Outcomes of clients and rounds.
    #[serde(default)]
    pub tally: Tally,
    /// Set where no broadcast could be made from the last closed round: it is not in the running mean yet.
    #[serde(default, rename = "unseen")]
    pub mean_is_behind: bool,
}

impl Ledger {
    /// An empty ledger; `dense_frame` is the length of a real dense f32 frame.
    pub fn new(dense_frame: u64) -> Self {
        Self { dense_frame, ..Self::default() }
    }

    /// Counts a frame that went down.
    pub fn count_down(&mut self, split: ByteSplit) {
        add(&mut self.down, split);
        self.dense_total += self.dense_frame;
    }

    /// Counts a frame that only brought a client up to date. A dense run would not have sent it.
    pub fn count_catch_up(&mut self, bytes: u64) {
        self.down.frames += 1;
        self.down.catch_up += bytes;
    }

    /// Counts a frame that told a client how its upload ended. A dense run would not have sent it.
    pub fn count_verdict(&mut self, split: ByteSplit) {
        add(&mut self.down, split);
    }

    /// Counts a frame that went up.
    pub fn count_up(&mut self, split: ByteSplit) {
        add(&mut self.up, split);
        self.dense_total += self.dense_frame;
    }
}

fn add(direction: &mut DirectionBytes, split: ByteSplit) {
    direction.frames += 1;
    direction.indices += split.indices;
    direction.values += split.values;
    direction.other += split.other;
    direction.framing += split.framing;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_a_frame_is_counted_once() {
        let mut ledger = Ledger::new(100);
        ledger.count_down(ByteSplit { indices: 1, values: 2, other: 3, framing: 4 });
        ledger.count_up(ByteSplit { indices: 5, values: 0, other: 0, framing: 1 });
        ledger.count_catch_up(70);
        ledger.count_verdict(ByteSplit { indices: 0, values: 0, other: 1, framing: 9 });
        assert_eq!((ledger.down.total(), ledger.up.total()), (90, 6));
        assert_eq!((ledger.down.frames, ledger.down.catch_up, ledger.down.other), (3, 70, 4));
        assert_eq!(ledger.dense_total, 200, "a dense run has neither catch-up nor verdicts");
    }
}
