//! The Server actor: moves messages between the round's state machine and the other actors.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use super::broadcast::Broadcast;
use super::dispatch::Dispatch;
use super::exchange::Answer;
use super::model::Stepped;
use super::state::{Candidate, ClosingRound, Excluded, ServerState};
use super::{Reloaded, ServerArgs, ServerError};
use crate::aggregator::{Accepted, AggregateError};
use crate::client::ClientUpdate;
use crate::journal::{JournalError, StoredUpdate};
use crate::pool;

/// The server actor's address.
pub type ServerRef = ActorRef<ServerMsg>;

/// The actor.
pub struct Server;

/// The server actor's messages.
pub enum ServerMsg {
    /// End the run. A round that is being closed is closed first; an open one is left for a resume.
    Stop,
    /// The result of a task that the server started.
    Reply(Reply),
}

/// The result of a task that the server started; opaque to other rooms.
pub struct Reply(TaskResult);

/// Results of the server's tasks. One of an earlier opening of the round is dropped.
pub(super) enum TaskResult {
    /// The next broadcast is encoded and, where due, evaluated.
    Prepared(Result<Prepared, ServerError>),
    /// A client's exchange has ended; with the catch-up frames that it was sent.
    Answered(Candidate, Dispatch, AnswerSource),
    /// A client's answer is durable, or not; with the update that waited for it.
    Stored(Candidate, Option<ClientUpdate>, Result<(), Arc<JournalError>>),
    /// The aggregator has accepted or refused a client's update.
    Offered(Candidate, Result<Accepted, AggregateError>),
    /// A round is to be begun again without the excluded positions; with the positions whose answers are stored.
    Reopen(Excluded, Result<Vec<u32>, ServerError>),
    /// The server has stepped by the aggregate of this opening, or could not.
    Stepped(u32, Result<Stepped, ServerError>),
    /// The policies' files were checked between two rounds.
    Reloaded(Reloaded),
    /// The close of the round is durable, or not.
    Closed(Result<(), ServerError>),
}

/// The source of an answer.
pub(super) enum AnswerSource {
    /// The client itself.
    Live(Answer),
    /// None: its catch-up frames could not be made, so the client was sent nothing.
    Unsent(ServerError),
    /// The journal of an interrupted run.
    Replayed(Result<Option<StoredUpdate>, Arc<JournalError>>),
}

/// The next broadcast, and the closing round that waits for its evaluation.
pub(super) struct Prepared {
    pub closing: Option<Box<ClosingRound>>,
    /// Warnings for the operator.
    pub warnings: Vec<String>,
    /// The next broadcast, or the reason that it cannot be made; the closing round has no part in that.
    pub broadcast: Result<Broadcast, ServerError>,
}

impl Server {
    /// Starts the actor under `supervisor`, known to ractor's registry as `name`.
    ///
    /// # Errors
    /// [`SpawnErr`] where the name is taken, or with a `ResumeError` where the stored state does not fit the run.
    pub async fn spawn(args: ServerArgs, (name, supervisor): (String, ActorCell)) -> Result<ServerRef, SpawnErr> {
        Ok(Actor::spawn_linked(Some(name), Self, args, supervisor).await?.0)
    }
}

impl Actor for Server {
    type Msg = ServerMsg;
    type State = ServerState;
    type Arguments = ServerArgs;

    async fn pre_start(&self, _: ServerRef, args: ServerArgs) -> Result<ServerState, ActorProcessingErr> {
        Ok(ServerState::new(args)?)
    }

    async fn post_start(&self, myself: ServerRef, state: &mut ServerState) -> Result<(), ActorProcessingErr> {
        let fresh = state.args.resume.latest.is_none();
        // Round 0 is the state before any training: evaluated and stored like any other.
        let closing = fresh.then(|| {
            let (row, model) = (state.row(0, None, 0.0), state.model.clone());
            let (memories, trackers) = (state.memories.clone(), state.trackers.clone());
            let (client_rows, verdicts) = (String::new(), Vec::new());
            Box::new(ClosingRound {
                row,
                client_rows,
                model,
                memories,
                trackers,
                verdicts,
                broadcast: None,
                broadcast_error: None,
            })
        });
        state.prepare(&myself, closing);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ServerRef,
        message: ServerMsg,
        state: &mut ServerState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ServerMsg::Stop => state.stop(&myself),
            ServerMsg::Reply(Reply(TaskResult::Prepared(prepared))) => state.prepared(&myself, prepared),
            ServerMsg::Reply(Reply(TaskResult::Answered(candidate, dispatch, answer))) => {
                state.answered(&myself, candidate, dispatch, answer);
            }
            ServerMsg::Reply(Reply(TaskResult::Stored(candidate, update, stored))) => {
                state.stored(&myself, candidate, update, stored);
            }
            ServerMsg::Reply(Reply(TaskResult::Offered(candidate, offered))) => {
                state.offered(&myself, candidate, offered)
            }
            ServerMsg::Reply(Reply(TaskResult::Reopen(excluded, stored))) => state.reopened(&myself, excluded, stored),
            ServerMsg::Reply(Reply(TaskResult::Stepped(opening, stepped))) => state.stepped(&myself, opening, stepped),
            ServerMsg::Reply(Reply(TaskResult::Reloaded(reloaded))) => state.reloaded(&myself, reloaded),
            ServerMsg::Reply(Reply(TaskResult::Closed(closed))) => state.closed(&myself, closed),
        }
        Ok(())
    }

    /// A client's crash reaches the server as a dropped reply port; its supervision event adds nothing.
    async fn handle_supervisor_evt(
        &self,
        _: ServerRef,
        _: SupervisionEvent,
        _: &mut ServerState,
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// Starts a task beside the mailbox. A panic in it stops the server with the reason, for its supervisor to act on.
pub(super) fn spawn_task(myself: &ServerRef, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let server = myself.get_cell();
    pool::watched(what, work, move |crash| server.stop(Some(crash.to_string())));
}

/// Sends a task's result to the server.
pub(super) fn send(myself: &ServerRef, message: TaskResult) {
    // A server that has stopped needs no answers.
    drop(myself.cast(ServerMsg::Reply(Reply(message))));
}
