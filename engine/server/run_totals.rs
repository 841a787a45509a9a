//! What all closed rounds of a run add up to, as it lies in the journal.

use serde::{Deserialize, Serialize};

use super::Tally;
use crate::link::ByteTotals;

/// Bytes, and how clients and rounds ended, up to and with a closed round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunTotals {
    /// Bytes of real frames. Flat, as journals of earlier builds have it.
    #[serde(flatten)]
    pub bytes: ByteTotals,
    /// How clients and rounds ended.
    #[serde(default)]
    pub tally: Tally,
    /// Set where what clients would see after the last closed round could not be made: no running mean has it yet.
    #[serde(default)]
    pub unseen: bool,
}
