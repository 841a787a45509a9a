//! What happens to one answer.

use std::sync::Arc;

use ractor::rpc::CallResult;

use super::exchange::Answer;
use super::message::{AnswerSource, Dispatch, Internal, ServerRef, send, spawn_task};
use super::open_round::{Candidate, Exchange, UploadStats};
use super::round::{Effect, Input};
use super::state::{Phase, ServerState};
use super::stored_answer::{self, StoredAnswer};
use super::{ServerError, ServerEvent};
use crate::aggregator::{Accepted, AggregateError, AggregatorMsg, Offer};
use crate::client::ClientUpdate;
use crate::journal::{JournalError, JournalMsg, StoredUpdate};
use crate::metrics::Actor;

/// A client whose work took less than this is cheaper to ask again than to store.
const WORTH_STORING_S: f64 = 0.05;

impl ServerState {
    pub(super) fn answered(
        &mut self,
        myself: &ServerRef,
        candidate: Candidate,
        dispatch: Dispatch,
        source: AnswerSource,
    ) {
        self.args.metrics.clients_in_flight.dec();
        let (position, Some((round, client))) = (candidate.position, self.candidate(candidate)) else { return };
        self.sent(position, dispatch);
        match source {
            AnswerSource::Unsent(error) => self.fail(myself, error),
            AnswerSource::Live(Answer::Update(mut update)) => {
                self.remembers(position, &update);
                if update.seconds < WORTH_STORING_S && update.state.is_none() {
                    return self.offer(myself, position, update);
                }
                // Durable first: what the aggregator has is never asked for again, and a slow disk slows the clients
                // down instead of filling the memory. What a client remembers waits there for the end of the round.
                let stored = stored_answer::update(position, &mut update);
                self.store(myself, (round, candidate), stored, Some(update));
            }
            AnswerSource::Live(Answer::Cancelled) => self.finish(myself, true),
            AnswerSource::Live(Answer::Crashed) => {
                self.args.metrics.restarts(Actor::Client).inc();
                self.tell(ServerEvent::Warning(format!("client {} crashed", self.name(client))));
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
                    self.remembers(position, &update);
                    self.offer(myself, position, update);
                }
                Some(StoredAnswer::Dropped(outcome, reason)) => {
                    self.lost(myself, position, Input::Lost(position), outcome, &reason);
                }
                // Not there, or not readable: the work is done again.
                None => self.ask(myself, position),
            },
        }
    }

    /// Counts what a client was sent to catch up, and notes what is known of it.
    fn sent(&mut self, position: u32, dispatch: Dispatch) {
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

    fn remembers(&mut self, position: u32, update: &ClientUpdate) {
        if let Some(exchange) = self.exchange(position) {
            exchange.remembers = update.state.is_some();
        }
    }

    fn exchange(&mut self, position: u32) -> Option<&mut Exchange> {
        let Phase::Round(open) = &mut self.phase else { return None };
        open.exchanges.get_mut(position as usize)?.as_mut()
    }

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
            // A journal that has gone takes this server with it.
            if let Ok(CallResult::Success(stored)) = stored {
                send(&reply_to, Internal::Stored(candidate, update, stored));
            }
        });
    }

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
                send(&reply_to, Internal::Offered(candidate, offered));
            }
        });
    }

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
                self.note(position, None);
                self.handle_input(myself, Input::Accepted(position));
            }
            Err(source @ AggregateError::Trapped(_)) => self.reopen_round(myself, position, source.to_string()),
            Err(source) if source.ends_the_run() => self.fail(myself, ServerError::Aggregate { round, source }),
            Err(refusal) => self.refused(myself, position, refusal.to_string()),
        }
    }

    /// An update that came and has no part in the aggregate.
    fn refused(&mut self, myself: &ServerRef, position: u32, reason: String) {
        self.record_verdict(position, false);
        self.note(position, Some(("rejected", reason)));
        self.handle_input(myself, Input::Refused(position));
    }

    pub(super) fn skip(&self, position: u32) {
        if let Phase::Round(open) = &self.phase {
            // An aggregator that has gone takes this server with it.
            drop(self.args.aggregator.cast(AggregatorMsg::Skip { opening: open.opening, position }));
        }
    }

    /// A candidate that has no update. The result is whether it is dropped: after a crash it is asked once more.
    fn lost(&mut self, myself: &ServerRef, position: u32, input: Input, outcome: &'static str, reason: &str) -> bool {
        let Phase::Round(open) = &mut self.phase else { return false };
        let effects = open.machine.handle(input);
        let dropped = effects.contains(&Effect::Skip(position));
        if dropped {
            self.note(position, Some((outcome, reason.into())));
        }
        self.apply(myself, effects);
        dropped
    }

    /// Whether an upload is in the aggregate. A client that keeps something of the round, or not, has to be told.
    fn record_verdict(&mut self, position: u32, accepted: bool) {
        let plan = self.args.participants.compressors.plans().upload.clone();
        let Phase::Round(open) = &mut self.phase else { return };
        let (round, client) = (open.number, open.candidates[position as usize]);
        let Some(exchange) = open.exchanges[position as usize].as_mut() else { return };
        exchange.accepted = Some(accepted);
        if !exchange.remembers && !plan.policy().acknowledges() {
            return;
        }
        // The length is the same for both verdicts, and for a round that misses its quorum in the end.
        if let Ok(verdict) = plan.verdict(round, client, accepted) {
            self.args.ledger.verdict(&verdict);
            exchange.bytes_down += verdict.len() as u64;
        }
    }

    /// Writes down how a client's turn ended: its row, the counters, the event.
    fn note(&mut self, position: u32, dropped: Option<(&'static str, String)>) {
        let Phase::Round(open) = &mut self.phase else { return };
        let client = open.candidates[position as usize];
        let name = self.args.participants.shards.name(client);
        let exchange = open.exchanges[position as usize].clone().unwrap_or_default();
        let upload = exchange.upload;
        let (outcome, reason) = match &dropped {
            None => ("completed", None),
            Some((outcome, reason)) => (*outcome, Some(reason.clone())),
        };
        // A no-op trainer predicts nothing, so it has no loss.
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
}
