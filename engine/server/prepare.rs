//! The work between rounds: clients are told whether their uploads were accepted, the next broadcast is encoded and
//! evaluated, the next round is opened.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::broadcast::{self, Broadcast, PrepareArgs};
use super::byte_budget::{self, NextRound};
use super::evaluation::Evaluation;
use super::message::{Prepared, ServerRef, TaskResult, send, spawn_task};
use super::open_round::{ClosingRound, Excluded, OpenRound};
use super::outcomes::Outcomes;
use super::parts::Parts;
use super::round::{Input, Round};
use super::state::{Phase, ServerState};
use super::{EndedBy, LargestExchange, RunTotals, ServerError, ServerEvent, model, sampler, settle};
use crate::aggregator::{AggregatorMsg, Opening};
use crate::pool::PoolError;

/// Makes the next broadcast, sees whether its round fits in the budget, and evaluates what it holds.
async fn prepare_and_evaluate(
    args: PrepareArgs,
    next: Option<NextRound>,
    evaluation: Evaluation,
    parts: &Parts,
) -> Result<Broadcast, ServerError> {
    let mut broadcast = broadcast::prepare(args, parts).await?;
    if let Some(next) = next {
        broadcast.over_budget = next.over_budget(&broadcast, parts).await?;
    }
    evaluation.evaluate(&mut broadcast, &parts.trainers).await?;
    Ok(broadcast)
}

impl ServerState {
    /// Makes the next broadcast of the present weights, or of those of a closing round, in a task.
    pub(super) fn prepare(&mut self, myself: &ServerRef, closing: Option<Box<ClosingRound>>) {
        let (round, model, trackers, memories) = match &closing {
            Some(closing) => (closing.row.round, &closing.model, closing.trackers.clone(), closing.memories.clone()),
            None => (self.closed_rounds, &self.model, self.trackers.clone(), self.memories.clone()),
        };
        // A resumed run's last round is in the stored mean already, and was evaluated.
        let missing = closing.is_some() || self.mean_is_behind;
        let share = missing.then(|| model::ema_share(self.args.config.ema_decay, round));
        let mean = model.mean.clone().map(|mean| (mean, share));
        let (weights, tiers) = (model.weights.clone(), self.tiers_in_use.clone());
        let evaluation = self.evaluation(round, closing.is_some(), &weights);
        let next = self.next_within_budget(round, closing.as_deref());
        let args = PrepareArgs { weights, round, tiers, trackers, memories, mean };
        let (parts, journal) = (self.args.parts.clone(), self.args.journal.clone());
        let window = self.args.window;
        self.phase = Phase::Preparing;
        let reply_to = myself.clone();
        spawn_task(myself, "the look at what comes next", async move {
            let settled = match &closing {
                Some(closing) => settle::settle_all(closing, window, &parts, &journal).await,
                None => Ok(Some(Vec::new())),
            };
            let prepared = match settled {
                Ok(None) => return,
                Ok(Some(warnings)) => {
                    let broadcast = prepare_and_evaluate(args, next, evaluation, &parts).await;
                    Ok(Prepared { closing, warnings, broadcast })
                }
                Err(error) => Err(error),
            };
            send(&reply_to, TaskResult::Prepared(prepared));
        });
    }

    /// Completes the closing round with the evaluation and stores it, or opens the next round where none is closing.
    pub(super) fn prepared(&mut self, myself: &ServerRef, prepared: Result<Prepared, ServerError>) {
        let Prepared { closing, warnings, broadcast } = match prepared {
            Ok(prepared) => prepared,
            // A stop cancels the evaluation; closed rounds stay closed.
            Err(_) if self.stop.load(Ordering::Relaxed) => return self.finish(myself, EndedBy::Interruption),
            Err(error) => return self.fail(myself, error),
        };
        warnings.into_iter().for_each(|warning| self.emit(super::ServerEvent::Warning(warning)));
        let broadcast = match broadcast {
            Ok(broadcast) => broadcast,
            Err(_) if self.stop.load(Ordering::Relaxed) => return self.finish(myself, EndedBy::Interruption),
            Err(error) => return self.broadcast_failed(myself, closing, error),
        };
        let Some(mut closing) = closing else {
            if self.mean_is_behind {
                self.mean_is_behind = false;
                self.model.mean = self.model.mean.take().map(|_| broadcast.result.clone());
            }
            self.broadcast = Some(broadcast);
            return self.next_round(myself);
        };
        self.mean_is_behind = false;
        closing.row.eval_loss = broadcast.result_evaluated.map(|evaluated| evaluated.loss());
        closing.row.eval_metric = broadcast.result_evaluated.map(|evaluated| evaluated.accuracy());
        closing.row.eval_loss_dense_copy = broadcast.dense_evaluated.map(|evaluated| evaluated.loss());
        closing.model.mean = closing.model.mean.map(|_| broadcast.result.clone());
        closing.broadcast = Some(broadcast);
        self.store_close(myself, closing);
    }

    /// The evaluation that is due after `round`.
    fn evaluation(&self, round: u32, closing: bool, weights: &Arc<Vec<f32>>) -> Evaluation {
        let (config, events) = (&self.args.config, self.args.events.clone());
        Evaluation {
            round,
            evaluate: closing && self.is_evaluation_round(round),
            // The end of a run is evaluated, whatever ends it.
            evaluate_end: closing && config.eval_every > 0,
            dense_copy: config.eval_dense.then(|| weights.clone()),
            on_evaluated: Arc::new(move |done, of| events(ServerEvent::Evaluated { done, of })),
            cancel: self.stop.clone(),
        }
    }

    /// The round after `round`, where a budget asks what it may take; none after the last.
    fn next_within_budget(&self, round: u32, closing: Option<&ClosingRound>) -> Option<NextRound> {
        let args = &self.args;
        if args.byte_budget == 0 || round >= args.rounds {
            return None;
        }
        let totals = args.ledger.totals();
        let clients = args.parts.roster.clients() as u32;
        // A verdict counts from the start: a client may have nothing to remember before its second round.
        let upload = if self.largest.upload == 0 { args.expected.upload } else { 0 };
        let largest = self.largest.or(LargestExchange { upload, ..args.expected });
        Some(NextRound {
            round: round + 1,
            budget: args.byte_budget,
            spent: totals.down.total() + totals.up.total(),
            candidates: sampler::sample(args.seed, round + 1, clients, args.config.sampled()),
            tiers: args.tiers.clone(),
            largest,
            just_seen: closing.map(byte_budget::accepted).unwrap_or_default(),
        })
    }

    /// Handles a broadcast that cannot be made: a round that is closing is closed without evaluation, then the run
    /// fails.
    fn broadcast_failed(&mut self, myself: &ServerRef, closing: Option<Box<ClosingRound>>, error: ServerError) {
        let of_policy = match &error {
            ServerError::Download { .. } => true,
            ServerError::Pool { source, .. } => matches!(source, PoolError::Crashed { .. }),
            _ => false,
        };
        match closing.filter(|closing| of_policy && closing.row.round > 0) {
            Some(mut closing) => {
                self.mean_is_behind = true;
                closing.broadcast_error = Some(error);
                self.store_close(myself, closing);
            }
            None => self.fail(myself, error),
        }
    }

    /// Opens the next round, or ends the run.
    pub(super) fn next_round(&mut self, myself: &ServerRef) {
        if self.closed_rounds >= self.args.rounds {
            return self.finish(myself, EndedBy::Rounds);
        }
        if self.stop.load(Ordering::Relaxed) {
            return self.finish(myself, EndedBy::Interruption);
        }
        if let Some(bytes) = self.broadcast.as_ref().and_then(|broadcast| broadcast.over_budget) {
            let (budget, next, spent) = (self.args.byte_budget, self.closed_rounds + 1, self.args.ledger.totals());
            let spent = spent.down.total() + spent.up.total();
            self.emit(ServerEvent::Note(format!(
                "{spent} of the {budget} bytes of run.byte_budget are used, and round {next} may take {bytes}: the run ends before it"
            )));
            return self.finish(myself, EndedBy::ByteBudget);
        }
        let stored = std::mem::take(&mut self.args.resume.stored);
        self.open_round(myself, stored, Excluded::new());
    }

    /// Opens the round after the last closed one. `stored` are the positions whose answer is in the journal.
    pub(super) fn open_round(&mut self, myself: &ServerRef, stored: Vec<u32>, excluded: Excluded) {
        let Some(broadcast) = &self.broadcast else { return };
        let number = self.closed_rounds + 1;
        let RunTotals { bytes, tally, mean_is_behind, largest } = self.closed_totals;
        self.args.ledger.go_back(bytes);
        (self.tally, self.mean_is_behind, self.largest) = (tally, mean_is_behind, largest);
        self.openings += 1;
        let config = &self.args.config;
        let clients = self.args.parts.roster.clients() as u32;
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
