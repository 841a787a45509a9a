//! A round that is open, and one that is being closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::broadcast::Broadcast;
use super::model::Model;
use super::outcomes::Outcomes;
use super::round::Round;
use super::{RoundRow, ServerError};
use crate::compressor::{Memories, Tracker};
use crate::policy::Changes;
use crate::wire;

/// A place in a round as it was begun. What comes for another opening comes too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub opening: u32,
    pub position: u32,
}

/// Places whose update is to have no part in the round, and why.
pub(super) type Excluded = BTreeMap<u32, String>;

/// A round under way.
pub(super) struct OpenRound {
    pub number: u32,
    /// The server's number for this beginning of the round.
    pub opening: u32,
    pub excluded: Excluded,
    pub machine: Round,
    /// Candidates in order: the cohort, then stand-ins.
    pub candidates: Vec<u32>,
    pub started: Instant,
    /// Position and mean training loss of each accepted update, in order of arrival.
    pub losses: Vec<(u32, f64)>,
    /// How far each candidate is that was sent its assignment, by position.
    pub exchanges: Vec<Option<Exchange>>,
    pub client_rows: Vec<(u32, String)>,
    pub outcomes: Outcomes,
    pub last_drop: Option<(u32, String)>,
    /// One a candidate: set when its answer is no longer wanted.
    pub cancels: Vec<Arc<AtomicBool>>,
}

/// One candidate's turn.
#[derive(Debug, Clone, Default)]
pub(super) struct Exchange {
    pub tier: u32,
    pub last_seen: Option<u32>,
    /// Bytes that it was sent: of the broadcast, of what brought it up to date, of the verdict; again where it crashed and
    /// was asked again.
    pub bytes_down: u64,
    /// Those of them that brought it up to date.
    pub catch_up_bytes: u64,
    /// What making them wrote to the server's memory, until the aggregator has it.
    pub changes: Option<Changes>,
    /// What the client said.
    pub upload: Option<UploadStats>,
    /// Whether the client will remember something of the round if its update is accepted.
    pub remembers: bool,
    /// Whether the update is in the aggregate, once that is known.
    pub accepted: Option<bool>,
    /// L2 norm of an update that is.
    pub norm: Option<f64>,
}

/// What a client said, in its frame and beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct UploadStats {
    pub header: wire::UploadHeader,
    pub steps: u32,
    pub bytes_up: u64,
    pub seconds: f64,
}

/// A round whose aggregate is in, on its way into the journal.
pub(super) struct ClosingRound {
    pub row: RoundRow,
    pub client_rows: String,
    pub model: Model,
    /// What the server remembers after it.
    pub memories: Memories,
    /// The references after it, by tier.
    pub trackers: BTreeMap<u32, Tracker>,
    /// How the turns ended in which an upload came, by position.
    pub verdicts: Vec<(u32, u32, Exchange)>,
    pub broadcast: Option<Broadcast>,
    /// Why there is no view of what comes next.
    pub broadcast_error: Option<ServerError>,
}

impl OpenRound {
    pub fn candidate(&self, position: u32) -> Candidate {
        Candidate { opening: self.opening, position }
    }
}
