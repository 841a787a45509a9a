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

/// How others reach the server.
pub type ServerRef = ActorRef<ServerMsg>;

/// The actor.
pub struct Server;

/// What the server is told.
pub enum ServerMsg {
    /// Finish what is being closed, give up what is not, and end.
    Stop,
    /// An answer to one of its own requests.
    Reply(Reply),
}

/// An answer to one of the server's own requests; opaque to others.
pub struct Reply(Internal);

/// Answers to the server's own requests; late ones carry their round and are dropped.
pub(super) enum Internal {
    /// What goes down next is encoded and, where due, evaluated.
    Prepared(Result<Prepared, ServerError>),
    /// A client is through; with what it was sent before the broadcast.
    Answered(Candidate, Dispatch, AnswerSource),
    /// A client's answer is durable, or not; with the update that waited for it.
    Stored(Candidate, Option<ClientUpdate>, Result<(), Arc<JournalError>>),
    /// The aggregator had a client's turn.
    Offered(Candidate, Result<Accepted, AggregateError>),
    /// A round is to be begun again without some places' updates; with the places whose answer is stored.
    Reopen(Excluded, Result<Vec<u32>, ServerError>),
    /// What the aggregate of an opening made of the server's model.
    Stepped(u32, Result<Stepped, ServerError>),
    /// Between two rounds: what a look at the policies found.
    Reloaded(Reloaded),
    /// The round's end is durable, or not.
    Closed(Result<(), ServerError>),
}

/// Where an answer comes from.
pub(super) enum AnswerSource {
    /// A client that was asked.
    Live(Answer),
    /// Nowhere: what the client needs first could not be made.
    Unsent(ServerError),
    /// The journal of a run that was interrupted.
    Replayed(Result<Option<StoredUpdate>, Arc<JournalError>>),
}

/// What goes down next, and the round that waits for it.
pub(super) struct Prepared {
    pub closing: Option<Box<ClosingRound>>,
    /// What an operator wants to know.
    pub warnings: Vec<String>,
    /// What goes down next, or why that cannot be made: the round that ends has no part in it.
    pub broadcast: Result<Broadcast, ServerError>,
}

impl Server {
    /// Starts the actor under `supervisor`, known to ractor's registry as `name`.
    ///
    /// # Errors
    /// What ractor says, or a stored state that does not fit.
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
            ServerMsg::Reply(Reply(Internal::Prepared(prepared))) => state.prepared(&myself, prepared),
            ServerMsg::Reply(Reply(Internal::Answered(candidate, dispatch, answer))) => {
                state.answered(&myself, candidate, dispatch, answer);
            }
            ServerMsg::Reply(Reply(Internal::Stored(candidate, update, stored))) => {
                state.stored(&myself, candidate, update, stored);
            }
            ServerMsg::Reply(Reply(Internal::Offered(candidate, offered))) => {
                state.offered(&myself, candidate, offered)
            }
            ServerMsg::Reply(Reply(Internal::Reopen(excluded, stored))) => state.reopened(&myself, excluded, stored),
            ServerMsg::Reply(Reply(Internal::Stepped(opening, stepped))) => state.stepped(&myself, opening, stepped),
            ServerMsg::Reply(Reply(Internal::Reloaded(reloaded))) => state.reloaded(&myself, reloaded),
            ServerMsg::Reply(Reply(Internal::Closed(closed))) => state.closed(&myself, closed),
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

/// Work beside the mailbox. A panic in it ends this server with the reason, for its supervisor to act on.
pub(super) fn spawn_task(myself: &ServerRef, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let server = myself.get_cell();
    pool::watched(what, work, move |crash| server.stop(Some(crash.to_string())));
}

pub(super) fn send(myself: &ServerRef, message: Internal) {
    // A server that has stopped needs no answers.
    drop(myself.cast(ServerMsg::Reply(Reply(message))));
}
