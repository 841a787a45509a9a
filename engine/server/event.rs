//! The server's events for its owner, and the reasons for which a run fails.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::aggregator::AggregateError;
use crate::compressor::CompressorError;
use crate::journal::JournalError;
use crate::pool::{Crash, PoolError};
use crate::trainer::TrainerError;

use super::{RoundRow, Tally};

/// The server's events.
#[derive(Debug)]
pub enum ServerEvent {
    /// A client's exchange has ended.
    Client {
        /// The round.
        round: u32,
        /// The client.
        client: u32,
        /// The reason of its drop; none when its update is in the aggregate.
        dropped: Option<String>,
        /// Clients through so far.
        done: u32,
        /// Clients asked so far.
        asked: u32,
    },
    /// A round is closed durably.
    Round {
        /// Its line of `metrics.jsonl`.
        row: Box<RoundRow>,
        /// Its lines of `clients.jsonl`.
        client_rows: String,
    },
    /// A part of an evaluation has ended.
    Evaluated {
        /// Records through so far.
        done: usize,
        /// Records of the whole evaluation.
        of: usize,
    },
    /// A warning for the operator.
    Warning(String),
    /// An intended change between two rounds, such as a new policy.
    Note(String),
    /// The policies of the next round have changed. This server does nothing more: it is to be started anew.
    Reloaded,
    /// The run is over.
    Finished(Finished),
    /// The run cannot go on.
    Failed(ServerError),
}

/// The owner's check of the policies' files between two rounds. Blocking.
pub type Reload = Arc<dyn Fn() -> Reloaded + Send + Sync>;

/// The result of a check of the policies' files between two rounds.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// True where the next round has other policies.
    pub changed: bool,
    /// Notes for the operator.
    pub notes: Vec<String>,
}

/// The reason for which a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// Its last round was closed.
    #[default]
    Rounds,
    /// The next round would have spent more than `privacy.budget`.
    PrivacyBudget,
    /// The next round may have gone over `run.byte_budget`.
    ByteBudget,
    /// It was stopped.
    Interruption,
}

/// The end of a run.
#[derive(Debug)]
pub struct Finished {
    /// The broadcast after the last closed round as clients decode it, or the running mean of these, `P` values.
    pub adapter: Arc<Vec<f32>>,
    /// Rounds closed.
    pub rounds: u32,
    /// The reason of the end.
    pub ended_by: EndedBy,
    /// Outcomes of clients and rounds.
    pub tally: Tally,
}

/// The reason for which a run cannot go on. Closed rounds stay closed.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The download could not be encoded.
    #[error("round {round}: {source}")]
    Download {
        /// The round.
        round: u32,
        /// The reason.
        source: CompressorError,
    },
    /// The aggregation policy failed.
    #[error("round {round}: {source}")]
    Aggregate {
        /// The round.
        round: u32,
        /// The reason.
        source: AggregateError,
    },
    /// Evaluation failed.
    #[error("evaluation after round {round}: {source}")]
    Evaluate {
        /// The round.
        round: u32,
        /// The reason.
        source: TrainerError,
    },
    /// The journal failed; everything before is durable.
    #[error("round {round} could not be stored: {source}")]
    Journal {
        /// The round.
        round: u32,
        /// The reason.
        source: Arc<JournalError>,
    },
    /// Work beside the mailbox crashed.
    #[error("round {round}: {source}")]
    Crashed {
        /// The round.
        round: u32,
        /// The task, and its panic.
        source: Crash,
    },
    /// The workers are gone.
    #[error("round {round}: {source}")]
    Pool {
        /// The round.
        round: u32,
        /// The reason.
        source: PoolError,
    },
    /// Several rounds in a row had too few clients.
    #[error(
        "{rounds} rounds in a row missed the quorum: {completed} of {quorum} needed clients completed, the last to drop was {client}: {reason}"
    )]
    Quorum {
        /// Rounds in a row.
        rounds: u32,
        /// Clients of the last one that completed.
        completed: u32,
        /// Clients needed.
        quorum: usize,
        /// A client that dropped.
        client: String,
        /// The reason of its drop.
        reason: String,
    },
    /// Values that are not finite, without a client that can be blamed for them.
    #[error("round {round}: {what} has {count} values that are not finite")]
    NotFinite {
        /// The round.
        round: u32,
        /// The vector that has them.
        what: &'static str,
        /// Their number.
        count: usize,
    },
}
