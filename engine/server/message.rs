//! What the server is told: by its owner, and by those whose answers it waits for.

use std::sync::Arc;

use ractor::ActorRef;

use super::broadcast::Broadcast;
use super::exchange::Answer;
use super::model::Stepped;
use super::open_round::{Candidate, ClosingRound, Excluded};
use super::{Reloaded, ServerError};
use crate::aggregator::{Accepted, AggregateError};
use crate::client::ClientUpdate;
use crate::journal::{JournalError, StoredUpdate};
use crate::policy::Changes;
use crate::pool;
use crate::wire::Frame;

/// How others reach the server.
pub type ServerRef = ActorRef<ServerMsg>;

/// What the server is told.
pub enum ServerMsg {
    /// Finish what is being closed, give up what is not, and end.
    Stop,
    /// An answer to one of its own requests.
    Reply(Reply),
}

/// An answer to one of the server's own requests; opaque to others.
pub struct Reply(pub(super) Internal);

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

/// What one client was sent before the broadcast, and what the server knows of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Dispatch {
    /// The client's tier.
    pub tier: u32,
    /// The last round whose update of this client was accepted.
    pub last_seen: Option<u32>,
    /// The frames that bring it up to date, in order.
    pub catch_up: Vec<Frame>,
    /// What making them wrote to the memory of the download's policy.
    pub changes: Option<Changes>,
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
