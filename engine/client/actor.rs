//! The Client actor.

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, RpcReplyPort, SpawnErr};

use super::exchange::{Assignment, ClientError, ClientUpdate, Participants, exchange};

/// A reference to a client, for its messages.
pub type ClientRef = ActorRef<ClientMsg>;

/// The actor.
pub struct Client;

/// The client's messages.
pub enum ClientMsg {
    /// Take part in a round. A client that crashes drops the port.
    Take {
        /// The work.
        assignment: Assignment,
        /// The update, or why there is none.
        reply: RpcReplyPort<Result<ClientUpdate, ClientError>>,
    },
}

/// The actor's parts.
pub struct ClientArgs {
    /// Its index in the roster.
    pub client: u32,
    /// The parts that it shares with the other clients.
    pub participants: Participants,
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
                let answer = exchange(state.client, assignment, &state.participants).await;
                // The server may have stopped waiting; the client's work ends here either way.
                drop(reply.send(answer));
                myself.stop(None);
            }
        }
        Ok(())
    }
}
