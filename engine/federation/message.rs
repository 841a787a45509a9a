//! The messages of a run's root supervisor, from its children and from whoever began the run.

use ractor::ActorRef;

use super::FederationError;
use crate::server::ServerEvent;

/// A reference to the root, for its messages.
pub(super) type FederationRef = ActorRef<FederationMsg>;

/// The root's messages.
pub(super) enum FederationMsg {
    /// Finish what is being closed, give up the rest, and end.
    Stop,
    /// The server says something; the number is the core's generation.
    Server(u32, Box<ServerEvent>),
    /// A pool has replaced a crashed worker.
    WorkerRestarted(&'static str),
    /// Read the gauges that nobody pushes, and look whether the run directory is where it was.
    Sample,
    /// The run cannot go on.
    Lost(FederationError),
}
