//! What the server is made of, and what it keeps between messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::closing::{Model, View};
use super::optimizer::ServerOptimizer;
use super::round::Round;
use super::{Config, Ledger, RoundRow, ServerEvent};
use crate::aggregator::AggregatorRef;
use crate::client::Participants;
use crate::journal::{ClosedRound, JournalRef};
use crate::link::Link;
use crate::metrics::Metrics;

/// Where the run stands when the server starts.
pub struct Resume {
    /// The last closed round; none in a fresh run.
    pub latest: Option<ClosedRound>,
    /// Places of the next round whose answer is stored.
    pub stored: Vec<u32>,
}

/// What the actor is made of.
pub struct ServerArgs {
    /// Section `server`.
    pub config: Config,
    /// Rounds to run.
    pub rounds: u32,
    /// The run's seed.
    pub seed: u64,
    /// Exchanges under way at the same time.
    pub window: usize,
    /// Length of a dense f32 frame of this layout, bytes.
    pub dense_frame: u64,
    /// `W` before the first round, `P` values.
    pub initial: Arc<Vec<f32>>,
    /// Where the run stands.
    pub resume: Resume,
    /// What the clients share.
    pub participants: Participants,
    /// How frames travel.
    pub link: Link,
    /// The aggregator.
    pub aggregator: AggregatorRef,
    /// The journal.
    pub journal: JournalRef,
    /// Where to count.
    pub metrics: Arc<Metrics>,
    /// Who is told.
    pub events: Arc<dyn Fn(ServerEvent) + Send + Sync>,
}

/// What the server keeps between messages.
pub struct ServerState {
    pub(super) args: ServerArgs,
    pub(super) model: Model,
    pub(super) ledger: Ledger,
    /// Set once the server is to stop; an evaluation under way sees it too.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) phase: Phase,
    /// Rounds closed.
    pub(super) closed: u32,
    /// What a client would get after the last closed round.
    pub(super) view: Option<View>,
    /// Rounds in a row that missed their quorum.
    pub(super) missed: u32,
}

/// What the server is at.
pub(super) enum Phase {
    /// Encoding or evaluating; a task answers.
    Looking,
    /// A round.
    Round(Box<Open>),
    /// Writing a round's end; the journal answers.
    Closing(Box<Ending>),
    /// Nothing more will happen.
    Over,
}

/// A round under way.
pub(super) struct Open {
    pub number: u32,
    pub machine: Round,
    /// Candidates in order: the cohort, then stand-ins.
    pub candidates: Vec<u32>,
    pub started: Instant,
    /// Position and mean training loss of each accepted update, in order of arrival.
    pub losses: Vec<(u32, f64)>,
    /// What each answered candidate said, until the aggregator has it.
    pub answers: Vec<Option<Said>>,
    pub client_rows: Vec<(u32, String)>,
    pub last_drop: Option<(u32, String)>,
    pub down_split: crate::wire::ByteSplit,
    /// One a candidate: set when its answer is no longer wanted.
    pub cancels: Vec<Arc<AtomicBool>>,
}

/// What a client said beside its frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub loss: f64,
    pub examples: u64,
    pub steps: u32,
    pub tokens: u64,
    pub bytes_up: u64,
    pub seconds: f64,
}

/// A round whose aggregate is in, on its way into the journal.
pub(super) struct Ending {
    pub row: RoundRow,
    pub client_rows: String,
    pub model: Model,
    pub view: Option<View>,
}

/// Why a stored state cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The optimizer's state has another length.
    #[error(transparent)]
    Optimizer(#[from] super::optimizer::StateError),
    /// The stored ledger is not one.
    #[error("the stored byte ledger cannot be read: {0}")]
    Ledger(#[from] serde_json::Error),
}

impl ServerState {
    pub(super) fn new(args: ServerArgs) -> Result<Self, ResumeError> {
        let mut optimizer = ServerOptimizer::new(&args.config, args.initial.len());
        let mut ledger = Ledger::new(args.dense_frame);
        let mut weights = args.initial.clone();
        let mut closed = 0;
        if let Some(latest) = &args.resume.latest {
            optimizer.restore(&latest.optimizer)?;
            weights = Arc::new(latest.weights.clone());
            closed = latest.round;
            ledger = serde_json::from_str(&latest.ledger)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let model = Model { weights, optimizer };
        Ok(Self { args, model, ledger, stop, phase: Phase::Looking, closed, view: None, missed: 0 })
    }

    /// Whether the state after `round` is to be evaluated.
    pub(super) fn evaluates(&self, round: u32) -> bool {
        let every = self.args.config.eval_every;
        every > 0 && (round == 0 || round == self.args.rounds || round.is_multiple_of(every))
    }

    /// Tells everything that works for this server that it is no longer wanted.
    pub(super) fn halt(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Phase::Round(open) = &self.phase {
            open.cancels.iter().for_each(|cancel| cancel.store(true, Ordering::Relaxed));
        }
    }

    pub(super) fn tell(&self, event: ServerEvent) {
        (self.args.events)(event);
    }
}
