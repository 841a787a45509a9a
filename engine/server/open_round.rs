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

/// A candidate of one opening of a round. Messages for an earlier opening are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub opening: u32,
    pub position: u32,
}

/// Positions whose update is left out of the round, and the reasons.
pub(super) type Excluded = BTreeMap<u32, String>;

/// An open round.
pub(super) struct OpenRound {
    pub number: u32,
    /// The number of this opening.
    pub opening: u32,
    pub excluded: Excluded,
    pub machine: Round,
    /// Candidates by position: the cohort, then stand-ins.
    pub candidates: Vec<u32>,
    pub started: Instant,
    /// Position and mean training loss of each accepted update, in order of arrival.
    pub losses: Vec<(u32, f64)>,
    /// The exchange with each candidate that was sent its assignment, by position.
    pub exchanges: Vec<Option<Exchange>>,
    pub client_rows: Vec<(u32, String)>,
    pub outcomes: Outcomes,
    pub last_drop: Option<(u32, String)>,
    /// A flag for each candidate, set when its answer is no longer wanted.
    pub cancels: Vec<Arc<AtomicBool>>,
}

/// The exchange with one candidate so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Exchange {
    pub tier: u32,
    pub last_seen: Option<u32>,
    /// Bytes sent: broadcast, catch-up frames and verdict; twice where the client crashed and was asked again.
    pub bytes_down: u64,
    /// Bytes of the catch-up frames among them.
    pub catch_up_bytes: u64,
    /// The writes of encoding the catch-up frames to the server's memory, until the aggregator has it.
    pub changes: Option<Changes>,
    /// The upload's header and cost, once it is there.
    pub upload: Option<UploadStats>,
    /// True where the client has state to keep if its update is accepted.
    pub remembers: bool,
    /// True where the update is in the aggregate; none while that is not known.
    pub accepted: Option<bool>,
    /// L2 norm of an accepted update.
    pub norm: Option<f64>,
}

/// The upload's header, and its cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct UploadStats {
    pub header: wire::UploadHeader,
    pub steps: u32,
    pub bytes_up: u64,
    pub seconds: f64,
}

/// A round on its way into the journal.
pub(super) struct ClosingRound {
    pub row: RoundRow,
    pub client_rows: String,
    pub model: Model,
    /// The memories of the server's policies after it.
    pub memories: Memories,
    /// The references of a tracked download after it, by tier.
    pub trackers: BTreeMap<u32, Tracker>,
    /// The exchanges in which an upload came, as position, client and exchange.
    pub verdicts: Vec<(u32, u32, Exchange)>,
    pub broadcast: Option<Broadcast>,
    /// The reason that no broadcast follows it.
    pub broadcast_error: Option<ServerError>,
}

impl OpenRound {
    pub fn candidate(&self, position: u32) -> Candidate {
        Candidate { opening: self.opening, position }
    }
}
