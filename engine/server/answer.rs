//! The end of one exchange: store the client's answer, count its bytes, offer its update to the aggregator, record its
//! outcome.

use std::sync::Arc;

use ractor::rpc::CallResult;

use super::message::{AnswerSource, Dispatch, ServerRef, TaskResult, send, spawn_task};
use super::metrics::raise_clients;
use super::open_round::{Candidate, Exchange, UploadStats};
use super::round::{Effect, Input};
use super::state::{Phase, ServerState};
use super::stored_answer::{self, StoredAnswer};
use super::{EndedBy, ServerError, ServerEvent};
use crate::aggregator::{Accepted, AggregateError, AggregatorMsg, Offer};
use crate::journal::{JournalError, JournalMsg, StoredUpdate};
use crate::link::Answer;
use crate::link::ClientUpdate;
use crate::metrics::Actor;

/// Seconds of work from which a client's answer is stored. Cheaper work is done again on a resume.
const MIN_STORED_WORK_S: f64 = 0.05;

impl ServerState {
    /// Handles the end of an exchange. An answer of an earlier opening of the round is dropped.
    pub(super) fn answered(
        &mut self,
        myself: &ServerRef,
        candidate: Candidate,
        dispatch: Dispatch,
        source: AnswerSource,
    ) {
        self.args.metrics.clients_in_flight.dec();
        let (position, Some((round, client))) = (candidate.position, self.candidate(candidate)) else { return };
        self.record_dispatch(position, dispatch);
        match source {
            AnswerSource::Unsent(error) => self.fail(myself, error),
            AnswerSource::Live(Answer::Update(mut update)) => {
                self.record_state(position, &update);
                if update.seconds < MIN_STORED_WORK_S && update.state.is_none() {
                    return self.offer(myself, position, update);
                }
                // Durable first: what the aggregator has is never asked for again, and a slow disk slows the clients
                // down instead of filling the memory. The client's state waits in the journal for the end of the round.
                let stored = stored_answer::update(position, &mut update);
                self.store(myself, (round, candidate), stored, Some(update));
            }
            AnswerSource::Live(Answer::Cancelled) => self.finish(myself, EndedBy::Interruption),
            AnswerSource::Live(Answer::Crashed) => {
                self.args.metrics.restarts(Actor::Client).inc();
                self.emit(ServerEvent::Warning(format!("client {} crashed", self.client_name(client))));
                let reason = "its actor crashed";
                if self.lost(myself, position, Input::Crashed(position), "failed", reason) {
                    self.store(myself, (round, candidate), stored_answer::dropped(position, "failed", reason), None);
                }
            }
            // The supervisor of the whole core starts this server anew; the client has no part in that.
            AnswerSource::Live(Answer::NoWorkers) => {}
            AnswerSource::Live(Answer::Failed(reason)) => {
                self.store(myself, (round, candidate), stored_answer::dropped(position, "failed", &reason), None);
                self.lost(myself, position, Input::Lost(position), "failed", &reason);
            }
            AnswerSource::Live(Answer::Late(deadline_s)) => {
                let reason = format!("no answer within the deadline of {deadline_s} s of its own work");
                self.store(myself, (round, candidate), stored_answer::dropped(position, "late", &reason), None);
                self.lost(myself, position, Input::Lost(position), "late", &reason);
            }
            AnswerSource::Replayed(Err(source)) => self.fail(myself, ServerError::Journal { round, source }),
            AnswerSource::Replayed(Ok(stored)) => match stored.and_then(stored_answer::read) {
                Some(StoredAnswer::Update(update)) => {
                    self.record_state(position, &update);
                    self.offer(myself, position, update);
                }
                Some(StoredAnswer::Dropped(outcome, reason)) => {
                    self.lost(myself, position, Input::Lost(position), outcome, &reason);
                }
                // No stored answer, or none that can be read: the client is asked again.
                None => self.ask(myself, position),
            },
        }
    }

    /// Counts the catch-up frames that a client was sent, and begins its exchange record.
    fn record_dispatch(&mut self, position: u32, dispatch: Dispatch) {
        let Phase::Round(open) = &mut self.phase else { return };
        let Dispatch { tier, last_seen, catch_up, changes } = dispatch;
        let before = open.exchanges[position as usize].take().unwrap_or_default();
        let broadcast = self.broadcast.as_ref().and_then(|broadcast| broadcast.tiers.get(&tier));
        let mut bytes_down = before.bytes_down + broadcast.map_or(0, |broadcast| broadcast.frame.len() as u64);
        let mut catch_up_bytes = before.catch_up_bytes;
        for frame in &catch_up {
            self.args.ledger.catch_up(frame);
            catch_up_bytes += frame.len() as u64;
            bytes_down += frame.len() as u64;
        }
        let exchange = Exchange { tier, last_seen, bytes_down, catch_up_bytes, changes, ..Exchange::default() };
        open.exchanges[position as usize] = Some(exchange);
    }

    /// Records whether the client has state to keep if its update is accepted.
    fn record_state(&mut self, position: u32, update: &ClientUpdate) {
        if let Some(exchange) = self.exchange(position) {
            exchange.remembers = update.state.is_some();
        }
    }

    fn exchange(&mut self, position: u32) -> Option<&mut Exchange> {
        let Phase::Round(open) = &mut self.phase else { return None };
        open.exchanges.get_mut(position as usize)?.as_mut()
    }

    /// Stores an answer in the journal, durably.
    fn store(
        &self,
        myself: &ServerRef,
        (round, candidate): (u32, Candidate),
        stored: StoredUpdate,
        update: Option<ClientUpdate>,
    ) {
        let (journal, reply_to) = (self.args.journal.clone(), myself.clone());
        spawn_task(myself, "storing an answer", async move {
            let stored = journal.call(|reply| JournalMsg::Put { round, update: stored, reply }, None).await;
            // A journal that has ended ends this server too, through their supervisor.
            if let Ok(CallResult::Success(stored)) = stored {
                send(&reply_to, TaskResult::Stored(candidate, update, stored));
            }
        });
    }

    /// Offers the update whose answer is durable now.
    pub(super) fn stored(
        &mut self,
        myself: &ServerRef,
        candidate: Candidate,
        update: Option<ClientUpdate>,
        stored: Result<(), Arc<JournalError>>,
    ) {
        let Some((round, _)) = self.candidate(candidate) else { return };
        match (stored, update) {
            (Err(source), _) => self.fail(myself, ServerError::Journal { round, source }),
            (Ok(()), Some(update)) => self.offer(myself, candidate.position, update),
            (Ok(()), None) => {}
        }
    }

    /// Counts the upload's bytes, reads its header and offers it to the aggregator.
    fn offer(&mut self, myself: &ServerRef, position: u32, update: ClientUpdate) {
        let Phase::Round(open) = &mut self.phase else { return };
        let (candidate, client) = (open.candidate(position), open.candidates[position as usize]);
        self.args.ledger.upload(&update.frame);
        let ClientUpdate { frame, steps, seconds, .. } = update;
        let Some(exchange) = open.exchanges[position as usize].as_mut() else { return };
        let header = frame.header().upload;
        exchange.upload = Some(UploadStats { header, steps, bytes_up: frame.len() as u64, seconds });
        let (tier, last_seen, catch_up) = (exchange.tier, exchange.last_seen, exchange.changes.take());
        let offer = Offer { client, tier, last_seen, catch_up, frame };
        let (effects, excluded) =
            (open.machine.handle(Input::Answered(position)), open.excluded.get(&position).cloned());
        self.apply(myself, effects);
        if let Some(reason) = excluded {
            self.skip(position);
            return self.refused(myself, position, reason);
        }
        let (aggregator, reply_to) = (self.args.aggregator.clone(), myself.clone());
        spawn_task(myself, "an offer to the aggregator", async move {
            let Candidate { opening, position } = candidate;
            let offered = aggregator.call(|reply| AggregatorMsg::Offer { opening, position, offer, reply }, None).await;
            if let Ok(CallResult::Success(offered)) = offered {
                send(&reply_to, TaskResult::Offered(candidate, offered));
            }
        });
    }

    /// Handles the aggregator's verdict on an update. One over which the policy trapped is left out of a round begun
    /// again.
    pub(super) fn offered(
        &mut self,
        myself: &ServerRef,
        candidate: Candidate,
        offered: Result<Accepted, AggregateError>,
    ) {
        let (position, Some((round, _))) = (candidate.position, self.candidate(candidate)) else { return };
        match offered {
            Ok(Accepted { norm }) => {
                if let Some(exchange) = self.exchange(position) {
                    exchange.norm = Some(norm);
                }
                self.record_verdict(position, true);
                self.record_outcome(position, None);
                self.handle_input(myself, Input::Accepted(position));
            }
            Err(source @ AggregateError::Trapped(_)) => self.reopen_round(myself, position, source.to_string()),
            Err(source) if source.ends_the_run() => self.fail(myself, ServerError::Aggregate { round, source }),
            Err(refusal) => self.refused(myself, position, refusal.to_string()),
        }
    }

    /// Drops a client whose update came but is not in the aggregate.
    fn refused(&mut self, myself: &ServerRef, position: u32, reason: String) {
        self.record_verdict(position, false);
        self.record_outcome(position, Some(("rejected", reason)));
        self.handle_input(myself, Input::Refused(position));
    }

    /// Tells the aggregator that no update comes from this position.
    pub(super) fn skip(&self, position: u32) {
        if let Phase::Round(open) = &self.phase {
            // An aggregator that has ended ends this server too, through their supervisor.
            drop(self.args.aggregator.cast(AggregatorMsg::Skip { opening: open.opening, position }));
        }
    }

    /// Handles a candidate without an update. True where it is dropped: after a first crash it is asked once more
    /// instead.
    fn lost(&mut self, myself: &ServerRef, position: u32, input: Input, outcome: &'static str, reason: &str) -> bool {
        let Phase::Round(open) = &mut self.phase else { return false };
        let effects = open.machine.handle(input);
        let dropped = effects.contains(&Effect::Skip(position));
        if dropped {
            self.record_outcome(position, Some((outcome, reason.into())));
        }
        self.apply(myself, effects);
        dropped
    }

    /// Records whether an upload is in the aggregate, and counts the verdict frame of a client that has to be told.
    fn record_verdict(&mut self, position: u32, accepted: bool) {
        let plan = self.args.parts.compressors.plans().upload.clone();
        let Phase::Round(open) = &mut self.phase else { return };
        let (round, client) = (open.number, open.candidates[position as usize]);
        let Some(exchange) = open.exchanges[position as usize].as_mut() else { return };
        exchange.accepted = Some(accepted);
        let told = !self.args.parts.clients.keep_their_states();
        if !told || (!exchange.remembers && !plan.policy().acknowledges()) {
            return;
        }
        // The length is the same for both verdicts, and for a round that misses its quorum in the end.
        if let Ok(verdict) = plan.verdict(round, client, accepted) {
            self.args.ledger.verdict(&verdict);
            exchange.bytes_down += verdict.len() as u64;
        }
    }

    /// Records the outcome of a client: its line of `clients.jsonl`, the counters, the event.
    fn record_outcome(&mut self, position: u32, dropped: Option<(&'static str, String)>) {
        let Phase::Round(open) = &mut self.phase else { return };
        let client = open.candidates[position as usize];
        let name = self.args.parts.roster.name(client);
        let exchange = open.exchanges[position as usize].clone().unwrap_or_default();
        let upload = exchange.upload;
        let (outcome, reason) = match &dropped {
            None => ("completed", None),
            Some((outcome, reason)) => (*outcome, Some(reason.clone())),
        };
        // The no-op trainer has no loss.
        let loss = upload.and_then(|upload| upload.header.loss).map(f64::from);
        if let (None, Some(loss)) = (&dropped, loss) {
            open.losses.push((position, loss));
        }
        let row = serde_json::json!({
            "round": open.number, "client": client, "name": name, "tier": exchange.tier,
            "outcome": if reason.is_none() { "completed" } else { "dropped" }, "reason": reason,
            "loss": loss, "examples": upload.map(|upload| upload.header.examples),
            "steps": upload.map(|upload| upload.steps),
            "bytes_down": exchange.bytes_down, "bytes_catch_up": exchange.catch_up_bytes,
            "bytes_up": upload.map_or(0, |upload| upload.bytes_up),
            "seconds": upload.map(|upload| upload.seconds),
        });
        open.client_rows.push((position, row.to_string()));
        if let Some(reason) = &reason {
            open.last_drop = Some((client, reason.clone()));
        }
        open.outcomes.count(outcome);
        raise_clients(&self.args.metrics.clients, &self.tally.clients.plus(&open.outcomes));
        let (round, done, asked) = (open.number, open.client_rows.len() as u32, open.machine.asked());
        self.emit(ServerEvent::Client { round, client, dropped: reason, done, asked });
    }
}
