//! The Client actor.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};

use super::exchange::{ClientError, Participants, exchange, load};
use crate::journal::Journal;
use crate::link::{Assignment, ClientUpdate};

/// A reference to a client, for its messages.
pub(super) type ClientRef = ActorRef<ClientMsg>;

/// The actor.
pub(super) struct Client;

/// The client's messages.
pub(super) enum ClientMsg {
    /// Take part in a round. A client that crashes drops the port.
    Take {
        /// The work.
        assignment: Assignment,
        /// The update, or why there is none.
        reply: RpcReplyPort<Result<ClientUpdate, ClientError>>,
    },
}

/// The actor's parts.
pub(super) struct ClientArgs {
    /// Its index in the roster.
    pub client: u32,
    /// The parts that it shares with the other clients.
    pub participants: Participants,
    /// The journal with its state; only read from here.
    pub journal: Arc<Journal>,
}

impl Client {
    /// Starts the actor under `supervisor`.
    ///
    /// # Errors
    /// Ractor's error.
    pub async fn spawn(args: ClientArgs, supervisor: ActorCell) -> Result<ClientRef, SpawnErr> {
        Ok(Actor::spawn_linked(None, Self, args, supervisor).await?.0)
    }
}

impl Actor for Client {
    type Msg = ClientMsg;
    type State = ClientArgs;
    type Arguments = ClientArgs;

    async fn pre_start(&self, _: ClientRef, args: ClientArgs) -> Result<ClientArgs, ActorProcessingErr> {
        Ok(args)
    }

    async fn handle(
        &self,
        myself: ClientRef,
        message: ClientMsg,
        state: &mut ClientArgs,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ClientMsg::Take { assignment, reply } => {
                let ClientArgs { client, participants, journal } = state;
                let answer = match load(*client, journal, participants).await {
                    Ok(remembered) => exchange(*client, assignment, remembered, participants).await,
                    Err(error) => Err(error),
                };
                // The server may have stopped waiting; the client's work ends here either way.
                drop(reply.send(answer));
                myself.stop(None);
            }
        }
        Ok(())
    }
}
