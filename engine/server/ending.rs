//! A round whose answers are all in: the aggregate, the step, the row, the journal.

use std::sync::Arc;

use ractor::rpc::CallResult;

use super::actor::{Internal, ServerRef, send};
use super::closing::{self, Model};
use super::state::{Ending, Open, Phase, ServerState, Turn};
use super::{RoundRow, ServerError, ServerEvent};
use crate::aggregator::{Aggregate, AggregateError, AggregatorMsg};
use crate::compressor::{Memories, Tracker};
use crate::journal::{ClosedRound, JournalError, JournalMsg, StoredReference, Verdict};
use crate::privacy::{self, Place};

/// Rounds in a row that may miss their quorum.
const MISSES: u32 = 3;

impl ServerState {
    pub(super) fn finish_round(&mut self, myself: &ServerRef) {
        let Phase::Round(open) = &self.phase else { return };
        let (round, weights) = (open.number, self.model.weights.clone());
        let (aggregator, myself) = (self.args.aggregator.clone(), myself.clone());
        tokio::spawn(async move {
            let aggregate = aggregator.call(|reply| AggregatorMsg::Finish { round, weights, reply }, None).await;
            if let Ok(CallResult::Success(aggregate)) = aggregate {
                send(&myself, Internal::Aggregated(round, aggregate));
            }
        });
    }

    pub(super) fn aggregated(&mut self, myself: &ServerRef, round: u32, aggregate: Result<Aggregate, AggregateError>) {
        if self.client(round, 0).is_none() {
            return;
        }
        let mut aggregate = match aggregate {
            Ok(aggregate) => aggregate,
            Err(source) => return self.fail(myself, ServerError::Aggregate { round, source }),
        };
        let mut model = self.model.clone();
        let memories = std::mem::take(&mut aggregate.memories);
        self.perturb(&mut aggregate.update, round);
        match closing::step(&mut model, aggregate, round) {
            Ok(norm) => {
                self.missed = 0;
                self.end_round(myself, model, norm, Some(memories));
            }
            Err(error) => self.fail(myself, error),
        }
    }

    /// Noise on the mean of the updates, each of which was clipped: one client moves the mean by at most `clip` over their
    /// number.
    fn perturb(&self, update: &mut [f32], round: u32) {
        let (Some((privacy, _)), Phase::Round(open)) = (&self.args.privacy, &self.phase) else { return };
        if privacy.place == Place::Server {
            let deviation = privacy.deviation() / f64::from(open.machine.accepted().max(1));
            privacy::perturb(update, deviation, (self.args.seed, round), None);
        }
    }

    /// Too few clients: the round is closed with the weights as they were, and nobody remembers it but the server what it
    /// sent.
    pub(super) fn miss(&mut self, myself: &ServerRef) {
        let Phase::Round(open) = &self.phase else { return };
        self.missed += 1;
        let (completed, quorum) = (open.machine.accepted(), open.machine.quorum());
        let (client, reason) = match &open.last_drop {
            Some((client, reason)) => (self.name(*client), reason.clone()),
            None => ("none".into(), "none".into()),
        };
        // A run that never got an update is no run, however short.
        let in_vain = self.missed == open.number && open.number == self.args.rounds;
        if self.missed >= MISSES || in_vain {
            let rounds = self.missed;
            return self.fail(myself, ServerError::Quorum { rounds, completed, quorum, client, reason });
        }
        let round = open.number;
        self.tell(ServerEvent::Warning(format!(
            "round {round} missed its quorum: {completed} of {quorum} needed clients completed; {client} dropped: {reason}"
        )));
        let model = self.model.clone();
        self.end_round(myself, model, 0.0, None);
    }

    /// `memories` is what the server remembers of a round that counts; none for one that missed its quorum.
    fn end_round(&mut self, myself: &ServerRef, model: Model, norm: f64, memories: Option<Memories>) {
        let Phase::Round(mut open) = std::mem::replace(&mut self.phase, Phase::Looking) else { return };
        let Some(view) = &self.view else { return };
        // Turns end in any order; what is stored is in the cohort's.
        open.client_rows.sort_by_key(|(position, _)| *position);
        open.losses.sort_by_key(|(position, _)| *position);
        let row = self.row(open.number, Some(&open), norm);
        let verdicts = verdicts(std::mem::take(&mut open.turns), &open.candidates, memories.is_some());
        let memories = memories.as_ref().unwrap_or(&view.memories).settled();
        let trackers = view.trackers();
        let client_rows = open.client_rows.into_iter().map(|(_, row)| row + "\n").collect();
        self.look(myself, Some(Box::new(Ending { row, client_rows, model, memories, trackers, verdicts, view: None })));
    }

    /// A line of `metrics.jsonl` from the ledger as it stands; the evaluation is filled in later.
    pub(super) fn row(&self, round: u32, open: Option<&Open>, norm: f64) -> RoundRow {
        let (down, up) = (self.ledger.down, self.ledger.up);
        let accepted = open.map_or(0, |open| open.machine.accepted());
        RoundRow {
            round,
            cohort: open.map_or(0, |open| open.machine.asked()),
            completed: accepted,
            dropped: open.map_or(0, |open| open.machine.dropped()),
            quorum: open.map_or(0, |open| open.machine.quorum() as u32),
            train_loss: open.and_then(mean_loss),
            eval_loss: None,
            eval_metric: None,
            eval_loss_dense_copy: None,
            update_norm: open.map(|_| norm),
            bytes_down: down.total(),
            bytes_up: up.total(),
            bytes_total: down.total() + up.total(),
            dense_bytes_total: self.ledger.dense_total,
            down,
            up,
            policies: self.args.policies.clone(),
            epsilon: self.args.privacy.as_ref().map(|(_, spending)| spending.after(round)),
            seconds: open.map_or(0.0, |open| open.started.elapsed().as_secs_f64()),
        }
    }

    pub(super) fn store_end(&mut self, myself: &ServerRef, ending: Box<Ending>) {
        let reference = |(tier, tracker): (&u32, &Tracker)| StoredReference {
            tier: *tier,
            sequence: tracker.reference().sequence(),
            values: tracker.reference().values().clone(),
            kept: tracker.kept().map(|sent| (sent.sequence, sent.frame.clone())).collect(),
        };
        let closed = Box::new(ClosedRound {
            round: ending.row.round,
            weights: ending.model.weights.to_vec(),
            optimizer: ending.model.optimizer.to_bytes(),
            mean: ending.model.mean.as_ref().map_or_else(Vec::new, |mean| mean.to_vec()),
            row: serde_json::json!(ending.row).to_string(),
            client_rows: ending.client_rows.clone(),
            ledger: serde_json::json!(self.ledger).to_string(),
            memory: ending.memories.since(&self.memories),
            references: ending.trackers.iter().map(reference).collect(),
        });
        let of_turn = |(position, client, turn): &(u32, u32, Turn)| Verdict {
            position: *position,
            client: *client,
            accepted: turn.accepted == Some(true),
        };
        let verdicts = ending.verdicts.iter().map(of_turn).collect();
        self.phase = Phase::Closing(ending);
        let (journal, myself) = (self.args.journal.clone(), myself.clone());
        tokio::spawn(async move {
            let closed = journal.call(|reply| JournalMsg::Close { closed, verdicts, reply }, None).await;
            if let Ok(CallResult::Success(closed)) = closed {
                send(&myself, Internal::Closed(closed));
            }
        });
    }

    pub(super) fn closed(&mut self, myself: &ServerRef, closed: Result<(), Arc<JournalError>>) {
        let Phase::Closing(ending) = std::mem::replace(&mut self.phase, Phase::Looking) else { return };
        let round = ending.row.round;
        if let Err(source) = closed {
            return self.fail(myself, ServerError::Journal { round, source });
        }
        let Ending { row, client_rows, model, memories, trackers, view, .. } = *ending;
        self.model = model;
        self.memories = memories;
        self.trackers = trackers;
        self.view = view;
        self.closed = round;
        self.measure(&row);
        self.tell(ServerEvent::Round { row: Box::new(row), client_rows });
        self.refresh(myself);
    }

    fn measure(&self, row: &RoundRow) {
        let metrics = &self.args.metrics;
        metrics.round_closed(row.round, row.seconds);
        let gauges = [
            (&metrics.train_loss, row.train_loss),
            (&metrics.eval_loss, row.eval_loss),
            (&metrics.eval_loss_dense_copy, row.eval_loss_dense_copy),
            (&metrics.update_norm, row.update_norm),
        ];
        for (gauge, value) in gauges {
            if let Some(value) = value {
                gauge.set(value);
                metrics.loss_not_finite.inc_by(u64::from(!value.is_finite()));
            }
        }
    }

    pub(super) fn stop(&mut self, myself: &ServerRef) {
        self.halt();
        match self.phase {
            // What the clients have answered is in the journal; the rest is asked again on resume.
            Phase::Round(_) => self.finish(myself, true),
            // The task or the journal answers soon; the run ends there.
            Phase::Looking | Phase::Closing(_) | Phase::Over => {}
        }
    }
}

/// Mean training loss of the accepted updates that have one, summed in cohort order.
fn mean_loss(open: &Open) -> Option<f64> {
    let sum: f64 = open.losses.iter().map(|(_, loss)| loss).sum();
    (!open.losses.is_empty()).then(|| sum / open.losses.len() as f64)
}

/// The turns in which an upload came, by position. In a round that does not count, none is accepted.
fn verdicts(turns: Vec<Option<Turn>>, candidates: &[u32], counts: bool) -> Vec<(u32, u32, Turn)> {
    let mut verdicts = Vec::new();
    for ((position, turn), client) in turns.into_iter().enumerate().zip(candidates) {
        if let Some(turn) = turn.filter(|turn| turn.accepted.is_some()) {
            let accepted = Some(counts && turn.accepted == Some(true));
            verdicts.push((position as u32, *client, Turn { accepted, ..turn }));
        }
    }
    verdicts
}
