//! The server's arguments, and its state between messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::broadcast::Broadcast;
use super::message::ServerRef;
use super::model::Model;
use super::open_round::{Candidate, ClosingRound, OpenRound};
use super::optimizer::ServerOptimizer;
use super::parts::Parts;
use super::{
    Config, EndedBy, Finished, LargestExchange, Reload, RowPolicies, RunTotals, ServerError, ServerEvent, Tally,
};
use crate::aggregator::AggregatorRef;
use crate::compressor::{DamagedMemories, Memories, Reference, Sent, Tracker};
use crate::journal::{ClosedRound, JournalRef, StoredReference};
use crate::link::Ledger;
use crate::metrics::Metrics;
use crate::pool::PoolError;
use crate::privacy::{self, Spending};
use crate::roster::Tiers;
use crate::trainer::LearningRates;

/// The journal's account of the run when the server starts.
pub struct Resume {
    /// The last closed round; none in a fresh run.
    pub latest: Option<ClosedRound>,
    /// Positions of the next round whose answer is stored.
    pub stored: Vec<u32>,
    /// Rounds in a row that had missed their quorum when this process took up the run: they do not count against the
    /// new misses.
    pub misses_forgiven: u32,
}

/// The actor's arguments.
pub struct ServerArgs {
    /// Section `server`.
    pub config: Config,
    /// Rounds to run.
    pub rounds: u32,
    /// Bytes of the whole run, both ways; 0 for any number.
    pub byte_budget: u64,
    /// Bytes that one client may take in the first round, when no exchange was seen.
    pub expected: LargestExchange,
    /// The run's seed.
    pub seed: u64,
    /// The seed of the server's own noise: a deployed server's is its secret, since its clients know the run's.
    pub noise_seed: u64,
    /// Exchanges under way at the same time.
    pub window: usize,
    /// `W` before the first round, `P` values.
    pub initial: Arc<Vec<f32>>,
    /// The clients' learning rates; none where nothing is trained.
    pub rates: Option<LearningRates>,
    /// The tier of each client.
    pub tiers: Arc<Tiers>,
    /// The journal's account of the run.
    pub resume: Resume,
    /// The parts that its tasks work with.
    pub parts: Parts,
    /// The byte ledger; empty at the start.
    pub ledger: Ledger,
    /// Section `privacy` with epsilon spent after each round; none where it is off.
    pub privacy: Option<(privacy::Config, Arc<Spending>)>,
    /// The names of the run's policies for its rows.
    pub policies: RowPolicies,
    /// The check of the policies' files between two rounds; none where policies do not change in a run.
    pub reload: Option<Reload>,
    /// The aggregator.
    pub aggregator: AggregatorRef,
    /// The journal.
    pub journal: JournalRef,
    /// The metrics to count in.
    pub metrics: Arc<Metrics>,
    /// The receiver of the server's events.
    pub events: Arc<dyn Fn(ServerEvent) + Send + Sync>,
}

/// The server's state between messages.
pub struct ServerState {
    pub(super) args: ServerArgs,
    pub(super) model: Model,
    /// The memories of the server's policies after the last closed round.
    pub(super) memories: Memories,
    /// The references of a tracked download after the last closed round, by tier; empty otherwise.
    pub(super) trackers: BTreeMap<u32, Tracker>,
    /// The tiers that have clients, ascending.
    pub(super) tiers_in_use: Arc<Vec<u32>>,
    /// Outcomes of clients and rounds so far.
    pub(super) tally: Tally,
    /// Set where no broadcast could be made from the last closed round: it is not in the running mean yet.
    pub(super) mean_is_behind: bool,
    /// Most bytes of one client's exchanges in the rounds so far.
    pub(super) largest: LargestExchange,
    /// Set once the server is to stop; an evaluation under way sees it too.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) phase: Phase,
    /// Rounds closed.
    pub(super) closed_rounds: u32,
    /// The broadcast that follows the last closed round.
    pub(super) broadcast: Option<Broadcast>,
    /// Rounds in a row that missed their quorum, without those forgiven on resume.
    pub(super) missed: u32,
    /// The totals after the last closed round: a round begun again counts from there.
    pub(super) closed_totals: RunTotals,
    /// Openings of rounds by this server.
    pub(super) openings: u32,
}

/// A server that ends cancels the training that it asked for.
impl Drop for ServerState {
    fn drop(&mut self) {
        self.cancel_work();
    }
}

/// The server's phase.
pub(super) enum Phase {
    /// Making the next broadcast; a task answers.
    Preparing,
    /// An open round.
    Round(Box<OpenRound>),
    /// Storing a closed round; the journal answers.
    Closing(Box<ClosingRound>),
    /// The end of the run.
    Over,
}

/// A stored state from which the run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The stored optimizer state has another length.
    #[error(transparent)]
    Optimizer(#[from] super::optimizer::StateError),
    /// The stored running mean has another length.
    #[error("the stored running mean has {found} values, {expected} expected")]
    Mean {
        /// Values that are stored.
        found: usize,
        /// Values of the stored weights.
        expected: usize,
    },
    /// The stored memory of the server is damaged.
    #[error("the server's memory cannot be read: {0}")]
    Memories(#[from] DamagedMemories),
    /// The stored ledger cannot be read.
    #[error("the stored byte ledger cannot be read: {0}")]
    Ledger(#[from] serde_json::Error),
}

impl ServerState {
    pub(super) fn new(mut args: ServerArgs) -> Result<Self, ResumeError> {
        let mut optimizer = ServerOptimizer::new(&args.config, args.initial.len());
        let mut totals = RunTotals::default();
        let mut weights = args.initial.clone();
        let mut mean = (args.config.ema_decay > 0.0).then(|| args.initial.clone());
        let mut closed_rounds = 0;
        let mut memories = Memories::default();
        let roster = args.parts.roster.clients() as u32;
        let tiers_in_use = Arc::new(args.tiers.in_use(roster));
        let download = &args.parts.compressors.plans().download;
        let fresh = |tier: &u32| (*tier, Tracker::new(download.start().clone()));
        let mut trackers: BTreeMap<u32, Tracker> =
            if download.tracked() { tiers_in_use.iter().map(fresh).collect() } else { BTreeMap::new() };
        // Taken, so that what the run began from goes when it is no longer in use.
        if let Some(latest) = &mut args.resume.latest {
            optimizer.restore(&std::mem::take(&mut latest.optimizer))?;
            weights = std::mem::take(&mut latest.weights);
            let (found, expected) = (latest.mean.len(), weights.len());
            if mean.is_some() && found != expected {
                return Err(ResumeError::Mean { found, expected });
            }
            mean = mean.map(|_| std::mem::take(&mut latest.mean));
            closed_rounds = latest.round;
            totals = serde_json::from_str(&latest.ledger)?;
            args.ledger.resume(totals.bytes);
            memories = Memories::of_parts(&std::mem::take(&mut latest.memory))?;
            trackers.extend(latest.references.drain(..).map(|stored| (stored.tier, tracker(stored))));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let model = Model { weights, optimizer, mean };
        let (phase, broadcast, closed_totals, openings) = (Phase::Preparing, None, totals, 0);
        let RunTotals { tally, mean_is_behind, largest, .. } = totals;
        let missed = tally.missed_in_a_row.saturating_sub(args.resume.misses_forgiven);
        let state = Self {
            args,
            model,
            memories,
            trackers,
            tiers_in_use,
            tally,
            mean_is_behind,
            largest,
            stop,
            phase,
            closed_rounds,
            broadcast,
            missed,
            closed_totals,
            openings,
        };
        state.record_start();
        Ok(state)
    }

    /// The totals of the run so far.
    pub(super) fn totals(&self) -> RunTotals {
        let Self { tally, mean_is_behind, largest, .. } = *self;
        RunTotals { bytes: self.args.ledger.totals(), tally, mean_is_behind, largest }
    }

    /// True where the state after `round` is to be evaluated.
    pub(super) fn is_evaluation_round(&self, round: u32) -> bool {
        let every = self.args.config.eval_every;
        every > 0 && (round == 0 || round == self.args.rounds || round.is_multiple_of(every))
    }

    /// Cancels the training and evaluation that this server asked for.
    pub(super) fn cancel_work(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Phase::Round(open) = &self.phase {
            open.cancels.iter().for_each(|cancel| cancel.store(true, Ordering::Relaxed));
        }
    }

    pub(super) fn emit(&self, event: ServerEvent) {
        (self.args.events)(event);
    }

    pub(super) fn finish(&mut self, myself: &ServerRef, ended_by: EndedBy) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.cancel_work();
        self.phase = Phase::Over;
        let result = |broadcast: &Broadcast| broadcast.result.clone();
        let adapter = self.broadcast.as_ref().map_or_else(|| self.model.weights.clone(), result);
        let (rounds, tally) = (self.closed_rounds, self.closed_totals.tally);
        self.emit(ServerEvent::Finished(Finished { adapter, rounds, ended_by, tally }));
        myself.stop(None);
    }

    pub(super) fn fail(&mut self, myself: &ServerRef, error: ServerError) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.cancel_work();
        self.phase = Phase::Over;
        // A supervisor sees that the workers have ended, and starts the whole core anew.
        if matches!(error, ServerError::Pool { source: PoolError::Closed { .. }, .. }) {
            return;
        }
        self.emit(ServerEvent::Failed(error));
        myself.stop(None);
    }

    /// The open round, where this is its opening.
    pub(super) fn opened(&self, opening: u32) -> Option<&OpenRound> {
        match &self.phase {
            Phase::Round(open) if open.opening == opening => Some(open),
            _ => None,
        }
    }

    /// The open round and the client of a candidate; none for an earlier opening.
    pub(super) fn candidate(&self, candidate: Candidate) -> Option<(u32, u32)> {
        let open = self.opened(candidate.opening)?;
        Some((open.number, *open.candidates.get(candidate.position as usize)?))
    }

    pub(super) fn client_name(&self, client: u32) -> String {
        self.args.parts.roster.name(client).to_owned()
    }
}

fn tracker(stored: StoredReference) -> Tracker {
    let kept = stored.kept.into_iter().map(|(sequence, frame)| Sent { sequence, frame });
    Tracker::restored(Reference::restored(stored.sequence, stored.values), kept.collect())
}
