//! What the server sends one client: what it needs to catch up, then the broadcast; and who is asked next.

use std::sync::Arc;

use ractor::rpc::CallResult;

use super::ServerError;
use super::broadcast::TierBroadcast;
use super::exchange::ask;
use super::message::{AnswerSource, Dispatch, Internal, ServerRef, send, spawn_task};
use super::round::{Effect, Input};
use super::state::{Phase, ServerState};
use crate::client::{Assignment, Participants};
use crate::compressor::{Memories, Occasion};
use crate::journal::JournalMsg;
use crate::pool::blocking;

/// Makes what a client needs before the broadcast. It depends on nothing that other clients of the round do.
async fn make_dispatch(
    client: u32,
    (round, tier): (u32, u32),
    (broadcast, memories): (&TierBroadcast, Memories),
    participants: &Participants,
) -> Result<Dispatch, ServerError> {
    let journal = participants.journal.clone();
    let read = blocking("reading the journal", move || journal.last_seen(client)).await;
    let read = read.map_err(|source| ServerError::Crashed { round, source })?;
    let last_seen = read.map_err(|source| ServerError::Journal { round, source: Arc::new(source) })?;
    let occasion = Occasion::of_client(round, client, tier, last_seen);
    let compressors = &participants.compressors;
    let catch_up = broadcast.catch_up(occasion, last_seen.unwrap_or(0), compressors).await?;
    let mut dispatch = Dispatch { tier, last_seen, catch_up, changes: None };
    let policy = compressors.plans().download.policy();
    if policy.catches_up() && round > 1 {
        let made = compressors.encode_catch_up(occasion, memories.of(&policy.name)).await;
        let made = made.map_err(|source| ServerError::Pool { round, source })?;
        if let Some((frame, memory)) = made.map_err(|source| ServerError::Download { round, source })? {
            dispatch.catch_up.push(frame);
            dispatch.changes = Some(memory.written()).filter(|written| !written.is_empty());
        }
    }
    Ok(dispatch)
}

impl ServerState {
    pub(super) fn handle_input(&mut self, myself: &ServerRef, input: Input) {
        if let Phase::Round(open) = &mut self.phase {
            let effects = open.machine.handle(input);
            self.apply(myself, effects);
        }
    }

    pub(super) fn apply(&mut self, myself: &ServerRef, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Ask(position) => self.ask(myself, position),
                Effect::Replay(position) => self.replay(myself, position),
                Effect::Skip(position) => self.skip(position),
                Effect::Finish => self.finish_round(myself),
                Effect::Miss => self.miss_quorum(myself),
            }
        }
    }

    pub(super) fn ask(&mut self, myself: &ServerRef, position: u32) {
        let Some((round, client, broadcast, memories)) = self.broadcast_to(position) else { return };
        let Phase::Round(open) = &self.phase else { return };
        let candidate = open.candidate(position);
        let cancel = open.cancels[position as usize].clone();
        let tier = self.args.tiers.of(client);
        let (participants, deadline_s) = (self.args.participants.clone(), self.args.config.deadline_s);
        let reply_to = myself.clone();
        spawn_task(myself, "an exchange with a client", async move {
            let dispatch = match make_dispatch(client, (round, tier), (&broadcast, memories), &participants).await {
                Ok(dispatch) => dispatch,
                Err(error) => {
                    let failed = AnswerSource::Unsent(error);
                    return send(&reply_to, Internal::Answered(candidate, Dispatch::default(), failed));
                }
            };
            let (last_seen, catch_up, frame) = (dispatch.last_seen, dispatch.catch_up.clone(), broadcast.frame.clone());
            let clock = Arc::default();
            let assignment = Assignment { round, tier, last_seen, catch_up, frame, cancel, clock };
            let answer = ask(client, assignment, participants, reply_to.get_cell(), deadline_s).await;
            send(&reply_to, Internal::Answered(candidate, dispatch, AnswerSource::Live(answer)));
        });
    }

    /// The stored answer of a client; what it was sent is counted as when it was asked.
    pub(super) fn replay(&mut self, myself: &ServerRef, position: u32) {
        let Some((round, client, broadcast, memories)) = self.broadcast_to(position) else { return };
        let Phase::Round(open) = &self.phase else { return };
        let (candidate, tier) = (open.candidate(position), self.args.tiers.of(client));
        let (participants, journal, reply_to) =
            (self.args.participants.clone(), self.args.journal.clone(), myself.clone());
        spawn_task(myself, "a stored answer", async move {
            let (dispatch, source) =
                match make_dispatch(client, (round, tier), (&broadcast, memories), &participants).await {
                    Ok(dispatch) => {
                        let stored = journal.call(|reply| JournalMsg::Get { round, position, reply }, None).await;
                        // A journal that has gone takes this server with it.
                        let Ok(CallResult::Success(stored)) = stored else { return };
                        (dispatch, AnswerSource::Replayed(stored))
                    }
                    Err(error) => (Dispatch::default(), AnswerSource::Unsent(error)),
                };
            send(&reply_to, Internal::Answered(candidate, dispatch, source));
        });
    }

    /// Counts the broadcast to a client; with it, what is needed to prepare the rest.
    fn broadcast_to(&mut self, position: u32) -> Option<(u32, u32, Arc<TierBroadcast>, Memories)> {
        let (Phase::Round(open), Some(broadcast)) = (&self.phase, &self.broadcast) else { return None };
        let (round, client) = (open.number, open.candidates[position as usize]);
        let tier_broadcast = broadcast.tiers.get(&self.args.tiers.of(client))?.clone();
        let memories = broadcast.memories.clone();
        self.args.ledger.broadcast(&tier_broadcast.frame);
        self.args.metrics.clients_in_flight.inc();
        Some((round, client, tier_broadcast, memories))
    }
}
