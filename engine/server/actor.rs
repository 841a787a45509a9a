//! The Server actor: moves messages between the round's state machine and the other actors.

use ractor::{Actor, ActorCell, ActorProcessingErr, SpawnErr, SupervisionEvent};

use super::ServerArgs;
use super::message::{Internal, Reply, ServerMsg, ServerRef};
use super::open_round::ClosingRound;
use super::state::ServerState;

/// The actor.
pub struct Server;

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
