//! What the server is made of, and what it keeps between messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::broadcast::Broadcast;
use super::message::ServerRef;
use super::model::Model;
use super::open_round::{Candidate, ClosingRound, OpenRound};
use super::optimizer::ServerOptimizer;
use super::{Config, Finished, Reload, RowPolicies, RunTotals, ServerError, ServerEvent, Tally};
use crate::aggregator::AggregatorRef;
use crate::client::Participants;
use crate::compressor::{DamagedMemories, Memories, Reference, Sent, Tracker};
use crate::journal::{ClosedRound, JournalRef, StoredReference};
use crate::link::Ledger;
use crate::metrics::Metrics;
use crate::pool::PoolError;
use crate::privacy::{self, Spending};
use crate::roster::Tiers;

/// Where the run stands when the server starts.
pub struct Resume {
    /// The last closed round; none in a fresh run.
    pub latest: Option<ClosedRound>,
    /// Places of the next round whose answer is stored.
    pub stored: Vec<u32>,
    /// Rounds that missed their quorum last, one after the other, before this process went on with the run: it may miss as
    /// many as any other.
    pub misses_forgiven: u32,
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
    /// `W` before the first round, `P` values.
    pub initial: Arc<Vec<f32>>,
    /// Which client belongs to which tier.
    pub tiers: Arc<Tiers>,
    /// Where the run stands.
    pub resume: Resume,
    /// What the clients share.
    pub participants: Participants,
    /// Where bytes are counted; empty.
    pub ledger: Ledger,
    /// Section `privacy` with what it will have spent after each round; none where it is off.
    pub privacy: Option<(privacy::Config, Arc<Spending>)>,
    /// The policies of all its rounds.
    pub policies: RowPolicies,
    /// Asked between two rounds, where policies may change in a run.
    pub reload: Option<Reload>,
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
    /// What the server remembers after the last closed round.
    pub(super) memories: Memories,
    /// The references of a tracked download after the last closed round, by tier; empty otherwise.
    pub(super) trackers: BTreeMap<u32, Tracker>,
    /// The tiers that have clients.
    pub(super) tiers_in_use: Arc<Vec<u32>>,
    /// How clients and rounds ended so far.
    pub(super) tally: Tally,
    /// Whether what clients would see after the last closed round is not known: its broadcast could not be made.
    pub(super) unseen: bool,
    /// Set once the server is to stop; an evaluation under way sees it too.
    pub(super) stop: Arc<AtomicBool>,
    pub(super) phase: Phase,
    /// Rounds closed.
    pub(super) closed: u32,
    /// What a client would get after the last closed round.
    pub(super) broadcast: Option<Broadcast>,
    /// Rounds in a row that missed their quorum, as far as they count.
    pub(super) missed: u32,
    /// What the run added up to after the last closed round: a round that is begun again counts from there.
    pub(super) closed_totals: RunTotals,
    /// Times that a round was begun, by this server.
    pub(super) openings: u32,
}

/// A server that ends, in whatever way, wants nothing more of those that work for it.
impl Drop for ServerState {
    fn drop(&mut self) {
        self.cancel_work();
    }
}

/// What the server is at.
pub(super) enum Phase {
    /// Encoding or evaluating; a task answers.
    Preparing,
    /// A round.
    Round(Box<OpenRound>),
    /// Writing a round's end; the journal answers.
    Closing(Box<ClosingRound>),
    /// Nothing more will happen.
    Over,
}

/// Why a stored state cannot be gone on from.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The optimizer's state has another length.
    #[error(transparent)]
    Optimizer(#[from] super::optimizer::StateError),
    /// The running mean has another length.
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
    /// The stored ledger is not one.
    #[error("the stored byte ledger cannot be read: {0}")]
    Ledger(#[from] serde_json::Error),
}

impl ServerState {
    pub(super) fn new(mut args: ServerArgs) -> Result<Self, ResumeError> {
        let mut optimizer = ServerOptimizer::new(&args.config, args.initial.len());
        let mut totals = RunTotals::default();
        let mut weights = args.initial.clone();
        let mut mean = (args.config.ema_decay > 0.0).then(|| args.initial.clone());
        let mut closed = 0;
        let mut memories = Memories::default();
        let roster = args.participants.shards.clients() as u32;
        let tiers_in_use = Arc::new(args.tiers.in_use(roster));
        let download = &args.participants.compressors.plans().download;
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
            closed = latest.round;
            totals = serde_json::from_str(&latest.ledger)?;
            args.ledger.resume(totals.bytes);
            memories = Memories::of_parts(&std::mem::take(&mut latest.memory))?;
            trackers.extend(latest.references.drain(..).map(|stored| (stored.tier, tracker(stored))));
        }
        let stop = Arc::new(AtomicBool::new(false));
        let model = Model { weights, optimizer, mean };
        let (phase, broadcast, closed_totals, openings) = (Phase::Preparing, None, totals, 0);
        let RunTotals { tally, unseen, .. } = totals;
        let missed = tally.missed_in_a_row.saturating_sub(args.resume.misses_forgiven);
        let state = Self {
            args,
            model,
            memories,
            trackers,
            tiers_in_use,
            tally,
            unseen,
            stop,
            phase,
            closed,
            broadcast,
            missed,
            closed_totals,
            openings,
        };
        state.record_start();
        Ok(state)
    }

    /// What the run adds up to so far.
    pub(super) fn totals(&self) -> RunTotals {
        RunTotals { bytes: self.args.ledger.totals(), tally: self.tally, unseen: self.unseen }
    }

    /// Whether the state after `round` is to be evaluated.
    pub(super) fn evaluates(&self, round: u32) -> bool {
        let every = self.args.config.eval_every;
        every > 0 && (round == 0 || round == self.args.rounds || round.is_multiple_of(every))
    }

    /// Tells everything that works for this server that it is no longer wanted.
    pub(super) fn cancel_work(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Phase::Round(open) = &self.phase {
            open.cancels.iter().for_each(|cancel| cancel.store(true, Ordering::Relaxed));
        }
    }

    pub(super) fn tell(&self, event: ServerEvent) {
        (self.args.events)(event);
    }

    pub(super) fn finish(&mut self, myself: &ServerRef, interrupted: bool) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.cancel_work();
        self.phase = Phase::Over;
        let result = |broadcast: &Broadcast| broadcast.result.clone();
        let adapter = self.broadcast.as_ref().map_or_else(|| self.model.weights.clone(), result);
        let (rounds, tally) = (self.closed, self.closed_totals.tally);
        self.tell(ServerEvent::Finished(Finished { adapter, rounds, interrupted, tally }));
        myself.stop(None);
    }

    pub(super) fn fail(&mut self, myself: &ServerRef, error: ServerError) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.cancel_work();
        self.phase = Phase::Over;
        // Workers that have ended are seen by the supervisor of the whole core, who starts all of it anew.
        if matches!(error, ServerError::Pool { source: PoolError::Closed { .. }, .. }) {
            return;
        }
        self.tell(ServerEvent::Failed(error));
        myself.stop(None);
    }

    /// The round under way, where it was begun with this number.
    pub(super) fn opened(&self, opening: u32) -> Option<&OpenRound> {
        match &self.phase {
            Phase::Round(open) if open.opening == opening => Some(open),
            _ => None,
        }
    }

    /// The round under way and the client at a place of it; none for an answer to another opening.
    pub(super) fn candidate(&self, candidate: Candidate) -> Option<(u32, u32)> {
        let open = self.opened(candidate.opening)?;
        Some((open.number, *open.candidates.get(candidate.position as usize)?))
    }

    pub(super) fn name(&self, client: u32) -> String {
        self.args.participants.shards.name(client).to_owned()
    }
}

fn tracker(stored: StoredReference) -> Tracker {
    let kept = stored.kept.into_iter().map(|(sequence, frame)| Sent { sequence, frame });
    Tracker::restored(Reference::restored(stored.sequence, stored.values), kept.collect())
}
