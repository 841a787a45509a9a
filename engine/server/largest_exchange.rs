//! The most bytes that one client's exchange has taken in the closed rounds, as they lie in the journal.

use serde::{Deserialize, Serialize};

/// Most bytes of one client's exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LargestExchange {
    /// Those of an upload.
    pub upload: u64,
    /// Those that went down beside one broadcast and the catch-up frames: the verdict, and what a client was sent again.
    pub beside: u64,
}

impl LargestExchange {
    /// The larger of both, each for itself.
    pub fn or(self, other: Self) -> Self {
        Self { upload: self.upload.max(other.upload), beside: self.beside.max(other.beside) }
    }
}
