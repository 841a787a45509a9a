//! Between rounds: clients hear how their uploads ended, what goes down next is encoded and evaluated, and the next round
//! begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::broadcast::{self, PrepareArgs};
use super::message::{Internal, Prepared, ServerRef, send, spawn_task};
use super::open_round::{ClosingRound, Excluded, OpenRound};
use super::outcomes::Outcomes;
use super::round::{Input, Round};
use super::state::{Phase, ServerState};
use super::{RunTotals, ServerError, model, sampler, settle};
use crate::aggregator::{AggregatorMsg, Opening};
use crate::pool::PoolError;

impl ServerState {
    /// Encodes and evaluates the present weights, or those of a round that is ending.
    pub(super) fn prepare(&mut self, myself: &ServerRef, closing: Option<Box<ClosingRound>>) {
        let (round, model, trackers, memories) = match &closing {
            Some(closing) => (closing.row.round, &closing.model, closing.trackers.clone(), closing.memories.clone()),
            None => (self.closed, &self.model, self.trackers.clone(), self.memories.clone()),
        };
        // Of a resumed run the last round is in the stored mean already, and was evaluated.
        let missing = closing.is_some() || self.unseen;
        let share = missing.then(|| model::ema_share(self.args.config.ema_decay, round));
        let mean = model.mean.clone().map(|mean| (mean, share));
        let evaluate = self.evaluates(round) && closing.is_some();
        let (weights, tiers) = (model.weights.clone(), self.tiers_in_use.clone());
        let args = PrepareArgs { weights, round, evaluate, tiers, trackers, memories, mean };
        let (participants, journal) = (self.args.participants.clone(), self.args.journal.clone());
        let (stop, window) = (self.stop.clone(), self.args.window);
        self.phase = Phase::Preparing;
        let reply_to = myself.clone();
        spawn_task(myself, "the look at what comes next", async move {
            let settled = match &closing {
                Some(closing) => settle::settle_all(closing, window, &participants, &journal).await,
                None => Ok(Some(Vec::new())),
            };
            let prepared = match settled {
                Ok(None) => return,
                Ok(Some(warnings)) => {
                    let broadcast = broadcast::prepare(args, &participants, &stop).await;
                    Ok(Prepared { closing, warnings, broadcast })
                }
                Err(error) => Err(error),
            };
            send(&reply_to, Internal::Prepared(prepared));
        });
    }

    pub(super) fn prepared(&mut self, myself: &ServerRef, prepared: Result<Prepared, ServerError>) {
        let Prepared { closing, warnings, broadcast } = match prepared {
            Ok(prepared) => prepared,
            // A stopped server cancels the evaluation; what is closed stays.
            Err(_) if self.stop.load(Ordering::Relaxed) => return self.finish(myself, true),
            Err(error) => return self.fail(myself, error),
        };
        warnings.into_iter().for_each(|warning| self.tell(super::ServerEvent::Warning(warning)));
        let broadcast = match broadcast {
            Ok(broadcast) => broadcast,
            Err(_) if self.stop.load(Ordering::Relaxed) => return self.finish(myself, true),
            Err(error) => return self.broadcast_failed(myself, closing, error),
        };
        let Some(mut closing) = closing else {
            if self.unseen {
                self.unseen = false;
                self.model.mean = self.model.mean.take().map(|_| broadcast.result.clone());
            }
            self.broadcast = Some(broadcast);
            return self.next_round(myself);
        };
        self.unseen = false;
        closing.row.eval_loss = broadcast.result_evaluated.map(|evaluated| evaluated.loss());
        closing.row.eval_metric = broadcast.result_evaluated.map(|evaluated| evaluated.accuracy());
        closing.row.eval_loss_dense_copy = broadcast.dense_evaluated.map(|evaluated| evaluated.loss());
        closing.model.mean = closing.model.mean.map(|_| broadcast.result.clone());
        closing.broadcast = Some(broadcast);
        self.store_close(myself, closing);
    }

    /// What goes down next cannot be made. A round that has ended is closed first, as far as it can be seen.
    fn broadcast_failed(&mut self, myself: &ServerRef, closing: Option<Box<ClosingRound>>, error: ServerError) {
        let of_policy = match &error {
            ServerError::Download { .. } => true,
            ServerError::Pool { source, .. } => matches!(source, PoolError::Crashed { .. }),
            _ => false,
        };
        match closing.filter(|closing| of_policy && closing.row.round > 0) {
            Some(mut closing) => {
                self.unseen = true;
                closing.broadcast_error = Some(error);
                self.store_close(myself, closing);
            }
            None => self.fail(myself, error),
        }
    }

    /// Begins the next round, or ends the run.
    pub(super) fn next_round(&mut self, myself: &ServerRef) {
        if self.closed >= self.args.rounds {
            return self.finish(myself, false);
        }
        if self.stop.load(Ordering::Relaxed) {
            return self.finish(myself, true);
        }
        let stored = std::mem::take(&mut self.args.resume.stored);
        self.open_round(myself, stored, Excluded::new());
    }

    /// Begins the round after the last closed one. `stored` are the places whose answer is in the journal.
    pub(super) fn open_round(&mut self, myself: &ServerRef, stored: Vec<u32>, excluded: Excluded) {
        let Some(broadcast) = &self.broadcast else { return };
        let number = self.closed + 1;
        let RunTotals { bytes, tally, unseen } = self.closed_totals;
        self.args.ledger.go_back(bytes);
        (self.tally, self.unseen) = (tally, unseen);
        self.openings += 1;
        let config = &self.args.config;
        let clients = self.args.participants.shards.clients() as u32;
        let candidates = sampler::sample(self.args.seed, number, clients, config.sampled());
        let cohort = config.cohort.min(candidates.len());
        let quorum = config.quorum_of(cohort);
        let cancels = candidates.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
        let opening = Opening {
            number: self.openings,
            round: number,
            cohort: cohort as u32,
            base: broadcast.widest.clone(),
            memories: broadcast.memories.clone(),
        };
        let mut open = OpenRound {
            number,
            opening: self.openings,
            excluded,
            outcomes: Outcomes::default(),
            machine: Round::new(candidates.len(), cohort, quorum, self.args.window, &stored),
            exchanges: vec![None; candidates.len()],
            candidates,
            started: Instant::now(),
            losses: Vec::new(),
            client_rows: Vec::new(),
            last_drop: None,
            cancels,
        };
        if self.args.aggregator.cast(AggregatorMsg::Begin { opening }).is_err() {
            // The supervisor sees the aggregator's end too, and starts this server again with a new one.
            return;
        }
        let effects = open.machine.handle(Input::Begin);
        self.phase = Phase::Round(Box::new(open));
        self.apply(myself, effects);
    }
}
