//! What happens to one answer, and to a round whose answers are all in.

use std::sync::Arc;

use ractor::rpc::CallResult;

use super::actor::{Internal, ServerRef, Source, send};
use super::closing;
use super::exchange::Answer;
use super::round::{Effect, Input};
use super::state::{Ending, Open, Phase, Said, ServerState};
use super::stored::{self, StoredAnswer};
use super::{Finished, RoundRow, ServerError, ServerEvent};
use crate::aggregator::{Accepted, Aggregate, AggregateError, AggregatorMsg, Offer};
use crate::client::ClientUpdate;
use crate::journal::{ClosedRound, JournalError, JournalMsg, StoredUpdate};
use crate::metrics::Actor;

/// A client whose work took less than this is cheaper to ask again than to store.
const WORTH_STORING_S: f64 = 0.05;

/// Rounds in a row that may miss their quorum.
const MISSES: u32 = 3;

impl ServerState {
    pub(super) fn answered(&mut self, myself: &ServerRef, round: u32, position: u32, source: Source) {
        self.args.metrics.clients_in_flight.dec();
        let Some(client) = self.client(round, position) else { return };
        match source {
            Source::Live(Answer::Update(update)) => {
                if update.seconds < WORTH_STORING_S {
                    return self.offer(myself, position, update);
                }
                // Durable first: what the aggregator has is never asked for again, and a slow disk slows the clients
                // down instead of filling the memory.
                let stored = stored::update(position, client, &update);
                self.store(myself, (round, position), stored, Some(update));
            }
            Source::Live(Answer::Cancelled) => self.finish(myself, true),
            Source::Live(Answer::Crashed) => {
                self.args.metrics.restarts(Actor::Client).inc();
                self.tell(ServerEvent::Warning(format!("client {} crashed", self.name(client))));
                self.lost(myself, position, Input::Crashed(position), "failed", "its actor crashed");
            }
            Source::Live(Answer::Failed(reason)) => {
                self.store(myself, (round, position), stored::dropped(position, client, &reason), None);
                self.lost(myself, position, Input::Lost(position), "failed", &reason);
            }
            Source::Live(Answer::Late(deadline_s)) => {
                let reason = format!("no answer within the deadline of {deadline_s} s");
                self.store(myself, (round, position), stored::dropped(position, client, &reason), None);
                self.lost(myself, position, Input::Lost(position), "late", &reason);
            }
            Source::Replayed(Err(source)) => self.fail(myself, ServerError::Journal { round, source }),
            Source::Replayed(Ok(stored)) => match stored.map(stored::read) {
                Some(Ok(StoredAnswer::Update(update))) => self.offer(myself, position, update),
                Some(Ok(StoredAnswer::Dropped(reason))) => {
                    self.lost(myself, position, Input::Lost(position), "failed", &reason);
                }
                // Not there, or not readable: the work is done again.
                None | Some(Err(_)) => self.ask(myself, position),
            },
        }
    }

    fn store(
        &self,
        myself: &ServerRef,
        (round, position): (u32, u32),
        stored: StoredUpdate,
        update: Option<ClientUpdate>,
    ) {
        let (journal, myself) = (self.args.journal.clone(), myself.clone());
        tokio::spawn(async move {
            let stored = journal.call(|reply| JournalMsg::Put { round, update: stored, reply }, None).await;
            // A journal that has gone takes this server with it.
            if let Ok(CallResult::Success(stored)) = stored {
                send(&myself, Internal::Stored(round, position, update, stored));
            }
        });
    }

    pub(super) fn stored(
        &mut self,
        myself: &ServerRef,
        (round, position): (u32, u32),
        update: Option<ClientUpdate>,
        stored: Result<(), Arc<JournalError>>,
    ) {
        match (stored, update) {
            (Err(source), _) => self.fail(myself, ServerError::Journal { round, source }),
            (Ok(()), Some(update)) if self.client(round, position).is_some() => self.offer(myself, position, update),
            (Ok(()), _) => {}
        }
    }

    fn offer(&mut self, myself: &ServerRef, position: u32, update: ClientUpdate) {
        let Phase::Round(open) = &mut self.phase else { return };
        let (round, client) = (open.number, open.candidates[position as usize]);
        let split = match self.args.link.weigh(&update.frame) {
            Ok(split) => split,
            Err(error) => return self.lost(myself, position, Input::Lost(position), "rejected", &error.to_string()),
        };
        self.args.link.up(&split);
        self.ledger.count_up(split);
        let ClientUpdate { frame, examples, loss, steps, tokens, seconds } = update;
        open.answers[position as usize] =
            Some(Said { loss, examples, steps, tokens, bytes_up: frame.len() as u64, seconds });
        let offer = Offer { client, examples, loss, frame };
        let (aggregator, reply_to) = (self.args.aggregator.clone(), myself.clone());
        tokio::spawn(async move {
            let taken = aggregator.call(|reply| AggregatorMsg::Offer { round, position, offer, reply }, None).await;
            if let Ok(CallResult::Success(taken)) = taken {
                send(&reply_to, Internal::Taken(round, position, taken));
            }
        });
        let effects = open.machine.handle(Input::Answered(position));
        self.apply(myself, effects);
    }

    pub(super) fn taken(
        &mut self,
        myself: &ServerRef,
        round: u32,
        position: u32,
        taken: Result<Accepted, AggregateError>,
    ) {
        if self.client(round, position).is_none() {
            return;
        }
        match taken {
            Ok(_) => {
                self.note(position, None);
                self.handle_input(myself, Input::Accepted(position));
            }
            Err(source) if source.ends_the_round() => {
                self.fail(myself, ServerError::Aggregate { round, source });
            }
            Err(refusal) => {
                self.note(position, Some(("rejected", refusal.to_string())));
                self.handle_input(myself, Input::Refused(position));
            }
        }
    }

    pub(super) fn skip(&self, position: u32) {
        if let Phase::Round(open) = &self.phase {
            // An aggregator that has gone takes this server with it.
            drop(self.args.aggregator.cast(AggregatorMsg::Skip { round: open.number, position }));
        }
    }

    fn lost(&mut self, myself: &ServerRef, position: u32, input: Input, outcome: &'static str, reason: &str) {
        let Phase::Round(open) = &mut self.phase else { return };
        let effects = open.machine.handle(input);
        // A crash that is to be tried again is not a drop.
        if effects.contains(&Effect::Skip(position)) {
            self.note(position, Some((outcome, reason.into())));
        }
        self.apply(myself, effects);
    }

    /// Writes down how a client's turn ended: its row, the counters, the event.
    fn note(&mut self, position: u32, dropped: Option<(&'static str, String)>) {
        let Phase::Round(open) = &mut self.phase else { return };
        let client = open.candidates[position as usize];
        let name = self.args.participants.shards.name(client);
        let said = open.answers[position as usize];
        let (outcome, reason) = match &dropped {
            None => ("completed", None),
            Some((outcome, reason)) => (*outcome, Some(reason.clone())),
        };
        // A no-op trainer predicts nothing, so it has no loss.
        if let (None, Some(said)) = (&dropped, said.filter(|said| said.tokens > 0)) {
            open.losses.push((position, said.loss));
        }
        let row = serde_json::json!({
            "round": open.number, "client": client, "name": name,
            "outcome": if reason.is_none() { "completed" } else { "dropped" }, "reason": reason,
            "loss": said.map(|said| said.loss), "examples": said.map(|said| said.examples),
            "steps": said.map(|said| said.steps),
            "bytes_down": open.down_split.total(), "bytes_up": said.map_or(0, |said| said.bytes_up),
            "seconds": said.map(|said| said.seconds),
        });
        open.client_rows.push((position, row.to_string()));
        if let Some(reason) = &reason {
            open.last_drop = Some((client, reason.clone()));
        }
        let clients = &self.args.metrics.clients;
        match outcome {
            "completed" => clients.completed.inc(),
            "late" => clients.late.inc(),
            "rejected" => clients.rejected.inc(),
            _ => clients.failed.inc(),
        }
        let (round, done, asked) = (open.number, open.client_rows.len() as u32, open.machine.asked());
        self.tell(ServerEvent::Client { round, client, dropped: reason, done, asked });
    }

    pub(super) fn finish_round(&mut self, myself: &ServerRef) {
        let Phase::Round(open) = &self.phase else { return };
        let round = open.number;
        let (aggregator, myself) = (self.args.aggregator.clone(), myself.clone());
        tokio::spawn(async move {
            let aggregate = aggregator.call(|reply| AggregatorMsg::Finish { round, reply }, None).await;
            if let Ok(CallResult::Success(aggregate)) = aggregate {
                send(&myself, Internal::Aggregated(round, aggregate));
            }
        });
    }

    pub(super) fn aggregated(&mut self, myself: &ServerRef, round: u32, aggregate: Result<Aggregate, AggregateError>) {
        if self.client(round, 0).is_none() {
            return;
        }
        let update = match aggregate {
            Ok(aggregate) => aggregate.update,
            Err(source) => return self.fail(myself, ServerError::Aggregate { round, source }),
        };
        let mut model = self.model.clone();
        match closing::step(&mut model, &update, round) {
            Ok(norm) => {
                self.missed = 0;
                self.end_round(myself, model, norm);
            }
            Err(error) => self.fail(myself, error),
        }
    }

    /// Too few clients: the round is closed with the weights as they were.
    pub(super) fn miss(&mut self, myself: &ServerRef) {
        let Phase::Round(open) = &self.phase else { return };
        self.missed += 1;
        let (completed, quorum) = (open.machine.accepted(), open.machine.quorum());
        let (client, reason) = match &open.last_drop {
            Some((client, reason)) => (self.name(*client), reason.clone()),
            None => ("none".into(), "none".into()),
        };
        if self.missed >= MISSES {
            let rounds = self.missed;
            return self.fail(myself, ServerError::Quorum { rounds, completed, quorum, client, reason });
        }
        let round = open.number;
        self.tell(ServerEvent::Warning(format!(
            "round {round} missed its quorum: {completed} of {quorum} needed clients completed; {client} dropped: {reason}"
        )));
        let model = self.model.clone();
        self.end_round(myself, model, 0.0);
    }

    fn end_round(&mut self, myself: &ServerRef, model: super::closing::Model, norm: f64) {
        let Phase::Round(mut open) = std::mem::replace(&mut self.phase, Phase::Looking) else { return };
        // Turns end in any order; what is stored is in the cohort's.
        open.client_rows.sort_by_key(|(position, _)| *position);
        open.losses.sort_by_key(|(position, _)| *position);
        let row = self.row(open.number, Some(&open), norm);
        let client_rows = open.client_rows.into_iter().map(|(_, row)| row + "\n").collect();
        self.look(myself, Some(Box::new(Ending { row, client_rows, model, view: None })));
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
            seconds: open.map_or(0.0, |open| open.started.elapsed().as_secs_f64()),
        }
    }

    pub(super) fn store_end(&mut self, myself: &ServerRef, ending: Box<Ending>) {
        let closed = ClosedRound {
            round: ending.row.round,
            weights: ending.model.weights.to_vec(),
            optimizer: ending.model.optimizer.to_bytes(),
            row: serde_json::json!(ending.row).to_string(),
            client_rows: ending.client_rows.clone(),
            ledger: serde_json::json!(self.ledger).to_string(),
        };
        self.phase = Phase::Closing(ending);
        let (journal, myself) = (self.args.journal.clone(), myself.clone());
        tokio::spawn(async move {
            let closed = journal.call(|reply| JournalMsg::Close { closed, reply }, None).await;
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
        let Ending { row, client_rows, model, view } = *ending;
        self.model = model;
        self.view = view;
        self.closed = round;
        self.measure(&row);
        self.tell(ServerEvent::Round { row, client_rows });
        self.next(myself);
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

    pub(super) fn finish(&mut self, myself: &ServerRef, interrupted: bool) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.halt();
        self.phase = Phase::Over;
        let view = self.view.as_ref().map_or_else(|| self.model.weights.clone(), |view| view.values.clone());
        self.tell(ServerEvent::Finished(Finished { view, rounds: self.closed, interrupted }));
        myself.stop(None);
    }

    pub(super) fn fail(&mut self, myself: &ServerRef, error: ServerError) {
        if matches!(self.phase, Phase::Over) {
            return;
        }
        self.halt();
        self.phase = Phase::Over;
        self.tell(ServerEvent::Failed(error));
        myself.stop(None);
    }

    /// The client at a place of the round under way; none for an answer to another round.
    fn client(&self, round: u32, position: u32) -> Option<u32> {
        match &self.phase {
            Phase::Round(open) if open.number == round => open.candidates.get(position as usize).copied(),
            _ => None,
        }
    }

    fn name(&self, client: u32) -> String {
        self.args.participants.shards.name(client).to_owned()
    }
}

/// Mean training loss of the accepted updates that have one, summed in cohort order.
fn mean_loss(open: &Open) -> Option<f64> {
    let sum: f64 = open.losses.iter().map(|(_, loss)| loss).sum();
    (!open.losses.is_empty()).then(|| sum / open.losses.len() as f64)
}
