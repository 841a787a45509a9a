//! The dispatch to one client: its catch-up frames, then the broadcast. Also the effects of the round's state machine.

use std::sync::Arc;

use ractor::rpc::CallResult;

use super::ServerError;
use super::broadcast::TierBroadcast;
use super::catch_up::{catch_up_frames, last_seen};
use super::message::{AnswerSource, Dispatch, ServerRef, TaskResult, send, spawn_task};
use super::parts::Parts;
use super::round::{Effect, Input};
use super::state::{Phase, ServerState};
use crate::compressor::Memories;
use crate::journal::JournalMsg;
use crate::link::Assignment;

/// Makes the catch-up frames of one client. They depend on no other client of the round.
async fn make_dispatch(
    client: u32,
    (round, tier): (u32, u32),
    (broadcast, memories): (&TierBroadcast, Memories),
    parts: &Parts,
) -> Result<Dispatch, ServerError> {
    let last_seen = last_seen(round, client, parts).await?;
    let occasion = (round, client, tier, last_seen);
    let (catch_up, changes) = catch_up_frames(occasion, broadcast, memories, parts).await?;
    Ok(Dispatch { tier, last_seen, catch_up, changes })
}

impl ServerState {
    /// Passes an input to the round's state machine and does what it says.
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
                Effect::MissQuorum => self.miss_quorum(myself),
            }
        }
    }

    /// Sends a client its catch-up frames and the broadcast, and awaits its answer, in a task.
    pub(super) fn ask(&mut self, myself: &ServerRef, position: u32) {
        let Some((round, client, broadcast, memories)) = self.broadcast_to(position) else { return };
        let Phase::Round(open) = &self.phase else { return };
        let candidate = open.candidate(position);
        let cancel = open.cancels[position as usize].clone();
        let tier = self.args.tiers.of(client);
        let (parts, deadline_s) = (self.args.parts.clone(), self.args.config.deadline_s);
        let reply_to = myself.clone();
        spawn_task(myself, "an exchange with a client", async move {
            let dispatch = match make_dispatch(client, (round, tier), (&broadcast, memories), &parts).await {
                Ok(dispatch) => dispatch,
                Err(error) => {
                    let failed = AnswerSource::Unsent(error);
                    return send(&reply_to, TaskResult::Answered(candidate, Dispatch::default(), failed));
                }
            };
            let (last_seen, catch_up, frame) = (dispatch.last_seen, dispatch.catch_up.clone(), broadcast.frame.clone());
            let clock = Arc::default();
            let assignment = Assignment { round, tier, last_seen, catch_up, frame, cancel, clock };
            let answer = parts.clients.ask(client, assignment, reply_to.get_cell(), deadline_s).await;
            send(&reply_to, TaskResult::Answered(candidate, dispatch, AnswerSource::Live(answer)));
        });
    }

    /// Replays a client's stored answer. The frames that it was sent are made and counted as when it was asked.
    pub(super) fn replay(&mut self, myself: &ServerRef, position: u32) {
        let Some((round, client, broadcast, memories)) = self.broadcast_to(position) else { return };
        let Phase::Round(open) = &self.phase else { return };
        let (candidate, tier) = (open.candidate(position), self.args.tiers.of(client));
        let (parts, journal, reply_to) = (self.args.parts.clone(), self.args.journal.clone(), myself.clone());
        spawn_task(myself, "a stored answer", async move {
            let (dispatch, source) = match make_dispatch(client, (round, tier), (&broadcast, memories), &parts).await {
                Ok(dispatch) => {
                    let stored = journal.call(|reply| JournalMsg::Get { round, position, reply }, None).await;
                    // A journal that has ended ends this server too, through their supervisor.
                    let Ok(CallResult::Success(stored)) = stored else { return };
                    (dispatch, AnswerSource::Replayed(stored))
                }
                Err(error) => (Dispatch::default(), AnswerSource::Unsent(error)),
            };
            send(&reply_to, TaskResult::Answered(candidate, dispatch, source));
        });
    }

    /// Counts the broadcast to a client. The result is the round, the client, its tier's broadcast and the server's
    /// memories.
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
