//! The close of a round: aggregate, server step, row, journal.

use ractor::rpc::CallResult;

use super::message::{ServerRef, TaskResult, send, spawn_task};
use super::model::{self, Model, Noise, Stepped};
use super::open_round::{ClosingRound, Exchange, OpenRound};
use super::state::{Phase, ServerState};
use super::{EndedBy, LargestExchange, RoundRow, ServerError, ServerEvent};
use crate::aggregator::AggregatorMsg;
use crate::compressor::{Memories, Tracker};
use crate::journal::{ClosedRound, JournalMsg, StoredReference, Verdict};
use crate::link::ByteTotals;
use crate::pool::blocking;
use crate::privacy::Place;

/// Rounds in a row that may miss their quorum before the run fails.
const MAX_MISSES_IN_A_ROW: u32 = 3;

impl ServerState {
    /// Asks the aggregator for the aggregate and takes the server's step, in a task.
    pub(super) fn finish_round(&mut self, myself: &ServerRef) {
        let Phase::Round(open) = &self.phase else { return };
        let (round, opening) = (open.number, open.opening);
        let (model, noise) = (self.model.clone(), self.noise(open));
        let (aggregator, reply_to) = (self.args.aggregator.clone(), myself.clone());
        spawn_task(myself, "the end of a round", async move {
            let weights = model.weights.clone();
            let aggregate = aggregator.call(|reply| AggregatorMsg::Finish { opening, weights, reply }, None).await;
            // An aggregator that has ended ends this server too, through their supervisor.
            let Ok(CallResult::Success(aggregate)) = aggregate else { return };
            let stepped = match aggregate {
                Ok(aggregate) => {
                    let step = move || model::step(&model, aggregate, noise, round);
                    let crashed = |source| Err(ServerError::Crashed { round, source });
                    blocking("the server's step", step).await.unwrap_or_else(crashed)
                }
                Err(source) => Err(ServerError::Aggregate { round, source }),
            };
            send(&reply_to, TaskResult::Stepped(opening, stepped));
        });
    }

    /// Closes the round with the stepped model. One whose aggregate is not finite is begun again without the update at
    /// fault.
    pub(super) fn stepped(&mut self, myself: &ServerRef, opening: u32, stepped: Result<Stepped, ServerError>) {
        let Some(open) = self.opened(opening) else { return };
        match stepped {
            Ok(Stepped { model, norm, memories }) => {
                self.missed = 0;
                self.close_round(myself, model, norm, Some(memories));
            }
            Err(error @ ServerError::NotFinite { .. }) => match open.culprit() {
                Some(position) => self.reopen_round(myself, position, format!("with its update {error}")),
                None => self.fail(myself, error),
            },
            Err(error) => self.fail(myself, error),
        }
    }

    /// Noise on the mean of the clipped updates: one client moves the mean by at most `clip` over their number.
    fn noise(&self, open: &OpenRound) -> Option<Noise> {
        let (privacy, _) = self.args.privacy.as_ref().filter(|(privacy, _)| privacy.place == Place::Server)?;
        let deviation = privacy.deviation() / f64::from(open.machine.accepted().max(1));
        Some(Noise { deviation, seed: self.args.noise_seed })
    }

    /// Closes a round with too few updates: the weights stay, the clients forget the round, and the server keeps the
    /// memories of what it sent.
    pub(super) fn miss_quorum(&mut self, myself: &ServerRef) {
        let Phase::Round(open) = &self.phase else { return };
        self.missed += 1;
        let (completed, quorum) = (open.machine.accepted(), open.machine.quorum());
        let (client, reason) = match &open.last_drop {
            Some((client, reason)) => (self.client_name(*client), reason.clone()),
            None => ("none".into(), "none".into()),
        };
        // A run without a single update fails, however short it is.
        let all = self.tally.missed_in_a_row + 1;
        let in_vain = all == open.number && open.number == self.args.rounds;
        if self.missed >= MAX_MISSES_IN_A_ROW || in_vain {
            let rounds = self.missed;
            return self.fail(myself, ServerError::Quorum { rounds, completed, quorum, client, reason });
        }
        let round = open.number;
        self.emit(ServerEvent::Warning(format!(
            "round {round} missed its quorum: {completed} of {quorum} needed clients completed; {client} dropped: {reason}"
        )));
        let model = self.model.clone();
        self.close_round(myself, model, 0.0, None);
    }

    /// Closes the round. `memories` are the server's after it; none for a round that missed its quorum.
    fn close_round(&mut self, myself: &ServerRef, model: Model, norm: f64, memories: Option<Memories>) {
        let Phase::Round(mut open) = std::mem::replace(&mut self.phase, Phase::Preparing) else { return };
        let Some(broadcast) = &self.broadcast else { return };
        // Exchanges end in any order; rows are stored in the cohort's.
        open.client_rows.sort_by_key(|(position, _)| *position);
        open.losses.sort_by_key(|(position, _)| *position);
        self.tally.add(&open.outcomes, memories.is_some());
        self.args.ledger.control(self.args.parts.clients.control_bytes());
        let row = self.row(open.number, Some(&open), norm);
        for exchange in open.exchanges.iter().flatten() {
            let sent = broadcast.tiers.get(&exchange.tier).map_or(0, |broadcast| broadcast.frame.len() as u64);
            let upload = exchange.upload.map_or(0, |upload| upload.bytes_up);
            let beside = exchange.bytes_down.saturating_sub(sent + exchange.catch_up_bytes);
            self.largest = self.largest.or(LargestExchange { upload, beside });
        }
        let verdicts = verdicts(std::mem::take(&mut open.exchanges), &open.candidates, memories.is_some());
        let memories = memories.as_ref().unwrap_or(&broadcast.memories).settled();
        let trackers = broadcast.trackers();
        let client_rows = open.client_rows.into_iter().map(|(_, row)| row + "\n").collect();
        let (broadcast, broadcast_error) = (None, None);
        let closing =
            ClosingRound { row, client_rows, model, memories, trackers, verdicts, broadcast, broadcast_error };
        self.prepare(myself, Some(Box::new(closing)));
    }

    /// A line of `metrics.jsonl` from the ledger as it stands; the evaluation is filled in when the next broadcast is
    /// made.
    pub(super) fn row(&self, round: u32, open: Option<&OpenRound>, norm: f64) -> RoundRow {
        let ByteTotals { down, up, dense_total } = self.args.ledger.totals();
        let accepted = open.map_or(0, |open| open.machine.accepted());
        RoundRow {
            round,
            cohort: open.map_or(0, |open| open.machine.asked()),
            completed: accepted,
            dropped: open.map_or(0, |open| open.machine.dropped()),
            quorum: open.map_or(0, |open| open.machine.quorum() as u32),
            lr: open.and(self.args.rates).map(|rates| rates.of(round)),
            train_loss: open.and_then(mean_loss),
            eval_loss: None,
            eval_metric: None,
            eval_loss_dense_copy: None,
            update_norm: open.map(|_| norm),
            bytes_down: down.total(),
            bytes_up: up.total(),
            bytes_total: down.total() + up.total(),
            dense_bytes_total: dense_total,
            down,
            up,
            policies: self.args.policies.clone(),
            epsilon: self.args.privacy.as_ref().map(|(_, spending)| spending.after(round)),
            seconds: open.map_or(0.0, |open| open.started.elapsed().as_secs_f64()),
        }
    }

    /// Stores the closed round in one journal transaction.
    pub(super) fn store_close(&mut self, myself: &ServerRef, closing: Box<ClosingRound>) {
        let of_turn = |(position, client, exchange): &(u32, u32, Exchange)| Verdict {
            position: *position,
            client: *client,
            accepted: exchange.accepted == Some(true),
        };
        let verdicts = closing.verdicts.iter().map(of_turn).collect();
        let round = closing.row.round;
        let (row, client_rows) = (serde_json::json!(closing.row).to_string(), closing.client_rows.clone());
        let ledger = serde_json::json!(self.totals()).to_string();
        let (model, trackers) = (closing.model.clone(), closing.trackers.clone());
        let (now, before) = (closing.memories.clone(), self.memories.clone());
        self.phase = Phase::Closing(closing);
        let (journal, reply_to) = (self.args.journal.clone(), myself.clone());
        let clients = self.args.parts.clients.clone();
        spawn_task(myself, "the close of a round", async move {
            // What policies remember may be long, and is written as bytes.
            let gather = move || {
                Box::new(ClosedRound {
                    round,
                    weights: model.weights,
                    optimizer: model.optimizer.state(),
                    mean: model.mean.unwrap_or_default(),
                    row,
                    client_rows,
                    ledger,
                    memory: now.since(&before),
                    references: trackers.iter().map(reference).collect(),
                })
            };
            let closed = match blocking("what a closed round leaves", gather).await {
                Ok(closed) => closed,
                Err(source) => return send(&reply_to, TaskResult::Closed(Err(ServerError::Crashed { round, source }))),
            };
            let closed = journal.call(|reply| JournalMsg::Close { closed, verdicts, reply }, None).await;
            // A journal that has ended ends this server too, through their supervisor.
            if let Ok(CallResult::Success(closed)) = closed {
                // Before the next round puts something on its way.
                clients.closed(round).await;
                send(&reply_to, TaskResult::Closed(closed.map_err(|source| ServerError::Journal { round, source })));
            }
        });
    }

    /// Makes the closed round the server's state once it is durable, and goes on to the next.
    pub(super) fn closed(&mut self, myself: &ServerRef, closed: Result<(), ServerError>) {
        let Phase::Closing(closing) = std::mem::replace(&mut self.phase, Phase::Preparing) else { return };
        if let Err(error) = closed {
            return self.fail(myself, error);
        }
        let ClosingRound { row, client_rows, model, memories, trackers, broadcast, broadcast_error, .. } = *closing;
        self.model = model;
        self.memories = memories;
        self.trackers = trackers;
        self.broadcast = broadcast;
        self.closed_rounds = row.round;
        self.closed_totals = self.totals();
        self.record_round(&row);
        let (budget, total) = (self.args.byte_budget, row.bytes_total);
        if budget > 0 && total > budget {
            self.emit(ServerEvent::Warning(format!(
                "round {} brought the run to {total} bytes, {} over run.byte_budget, {budget}",
                row.round,
                total - budget
            )));
        }
        self.emit(ServerEvent::Round { row: Box::new(row), client_rows });
        match broadcast_error {
            Some(error) => self.fail(myself, error),
            None => self.reload(myself),
        }
    }

    /// Stops the run: at once in an open round, otherwise when the task under way has answered.
    pub(super) fn stop(&mut self, myself: &ServerRef) {
        self.cancel_work();
        match self.phase {
            // Answers so far are in the journal; the other clients are asked again on resume.
            Phase::Round(_) => self.finish(myself, EndedBy::Interruption),
            // The task or the journal answers soon; the run ends there.
            Phase::Preparing | Phase::Closing(_) | Phase::Over => {}
        }
    }
}

fn reference((tier, tracker): (&u32, &Tracker)) -> StoredReference {
    StoredReference {
        tier: *tier,
        sequence: tracker.reference().sequence(),
        values: tracker.reference().values().clone(),
        kept: tracker.kept().map(|sent| (sent.sequence, sent.frame.clone())).collect(),
    }
}

/// Mean training loss of the accepted updates that have one, summed in cohort order.
fn mean_loss(open: &OpenRound) -> Option<f64> {
    let sum: f64 = open.losses.iter().map(|(_, loss)| loss).sum();
    (!open.losses.is_empty()).then(|| sum / open.losses.len() as f64)
}

/// The exchanges in which an upload came, by position. In a round that missed its quorum none is accepted.
fn verdicts(exchanges: Vec<Option<Exchange>>, candidates: &[u32], counts: bool) -> Vec<(u32, u32, Exchange)> {
    let mut verdicts = Vec::new();
    for ((position, exchange), client) in exchanges.into_iter().enumerate().zip(candidates) {
        if let Some(exchange) = exchange.filter(|exchange| exchange.accepted.is_some()) {
            let accepted = Some(counts && exchange.accepted == Some(true));
            verdicts.push((position as u32, *client, Exchange { accepted, ..exchange }));
        }
    }
    verdicts
}
