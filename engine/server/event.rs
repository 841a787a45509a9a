//! What the server tells its owner, and why a run fails.

use std::sync::Arc;

use crate::aggregator::AggregateError;
use crate::compressor::CompressorError;
use crate::journal::JournalError;
use crate::pool::{Crash, PoolError};
use crate::trainer::TrainerError;

use super::{RoundRow, Tally};

/// What the server tells while it runs.
#[derive(Debug)]
pub enum ServerEvent {
    /// A client is through.
    Client {
        /// The round.
        round: u32,
        /// The client.
        client: u32,
        /// Why it was dropped; none when its update is in the aggregate.
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
    /// Something that an operator wants to know.
    Warning(String),
    /// Something that changed between two rounds as it was meant to.
    Note(String),
    /// The policies of the next round are others. This server does nothing more: it is to be started anew.
    Reloaded,
    /// The run is over.
    Finished(Finished),
    /// The run cannot go on.
    Failed(ServerError),
}

/// Looks whether the policies of the next round are others than those of the last. Blocking.
pub type Reload = Arc<dyn Fn() -> Reloaded + Send + Sync>;

/// What a look at the policies found.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// Whether the next round has other policies.
    pub changed: bool,
    /// What an operator wants to know.
    pub notes: Vec<String>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// What a client would get after the last closed round, or the running mean of that, `P` values.
    pub adapter: Arc<Vec<f32>>,
    /// Rounds closed.
    pub rounds: u32,
    /// Whether it was stopped before its last round.
    pub interrupted: bool,
    /// How clients and rounds ended.
    pub tally: Tally,
}

/// Why a run cannot go on. What is closed stays closed.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Compressing the download failed.
    #[error("round {round}: {source}")]
    Download {
        /// The round.
        round: u32,
        /// Why.
        source: CompressorError,
    },
    /// The aggregation policy failed.
    #[error("round {round}: {source}")]
    Aggregate {
        /// The round.
        round: u32,
        /// Why.
        source: AggregateError,
    },
    /// Evaluation failed.
    #[error("evaluation after round {round}: {source}")]
    Evaluate {
        /// The round.
        round: u32,
        /// Why.
        source: TrainerError,
    },
    /// The journal failed; everything before is durable.
    #[error("round {round} could not be stored: {source}")]
    Journal {
        /// The round.
        round: u32,
        /// Why.
        source: Arc<JournalError>,
    },
    /// Work beside the mailbox crashed.
    #[error("round {round}: {source}")]
    Crashed {
        /// The round.
        round: u32,
        /// Which, and why.
        source: Crash,
    },
    /// The workers are gone.
    #[error("round {round}: {source}")]
    Pool {
        /// The round.
        round: u32,
        /// Why.
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
        /// Why it did.
        reason: String,
    },
    /// Values that are not finite, where no client can be blamed for them.
    #[error("round {round}: {what} has {count} values that are not finite")]
    NotFinite {
        /// The round.
        round: u32,
        /// What has them.
        what: &'static str,
        /// How many.
        count: usize,
    },
}
