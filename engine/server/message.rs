//! The server actor's messages: from its owner, and from the tasks whose results it waits for.

use std::sync::Arc;

use ractor::ActorRef;

use super::broadcast::Broadcast;
use super::model::Stepped;
use super::open_round::{Candidate, ClosingRound, Excluded};
use super::{Reloaded, ServerError};
use crate::aggregator::{Accepted, AggregateError};
use crate::journal::{JournalError, StoredUpdate};
use crate::link::Answer;
use crate::link::ClientUpdate;
use crate::policy::Changes;
use crate::pool;
use crate::wire::Frame;

/// The server actor's address.
pub type ServerRef = ActorRef<ServerMsg>;

/// The server actor's messages.
pub enum ServerMsg {
    /// End the run. A round that is being closed is closed first; an open one is left for a resume.
    Stop,
    /// The result of a task that the server started.
    Reply(Reply),
}

/// The result of a task that the server started; opaque to other rooms.
pub struct Reply(pub(super) TaskResult);

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
    /// Notes for the operator.
    pub warnings: Vec<String>,
    /// The next broadcast, or the reason that it cannot be made; the closing round has no part in that.
    pub broadcast: Result<Broadcast, ServerError>,
}

/// The catch-up frames of one client, and the server's record of the client.
#[derive(Debug, Clone, Default)]
pub(super) struct Dispatch {
    /// The client's tier.
    pub tier: u32,
    /// The last round whose update of this client was accepted.
    pub last_seen: Option<u32>,
    /// The frames that bring the client up to date, in order.
    pub catch_up: Vec<Frame>,
    /// The writes of encoding them to the memory of the download policy.
    pub changes: Option<Changes>,
}

/// Starts a task beside the mailbox. A panic in it stops the server with the reason, for its supervisor to act on.
pub(super) fn spawn_task(myself: &ServerRef, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let server = myself.get_cell();
    pool::watched(what, work, move |crash| server.stop(Some(crash.to_string())));
}

pub(super) fn send(myself: &ServerRef, message: TaskResult) {
    // A server that has stopped needs no answers.
    drop(myself.cast(ServerMsg::Reply(Reply(message))));
}
