//! Totals of all closed rounds of a run, as they lie in the journal.

use serde::{Deserialize, Serialize};

use super::{LargestExchange, Tally};
use crate::link::ByteTotals;

/// Bytes, and outcomes of clients and rounds, up to and with a closed round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunTotals {
    /// Bytes of real frames. Flat, as journals of earlier builds have it.
    #[serde(flatten)]
    pub bytes: ByteTotals,
    /// Outcomes of clients and rounds.
    #[serde(default)]
    pub tally: Tally,
    /// Set where no broadcast could be made from the last closed round: it is not in the running mean yet.
    #[serde(default, rename = "unseen")]
    pub mean_is_behind: bool,
    /// Most bytes of one client's exchanges.
    #[serde(default)]
    pub largest: LargestExchange,
}
