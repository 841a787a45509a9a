//! What the root supervisor of a run is told, by its children and by whoever began the run.

use ractor::ActorRef;

use super::FederationError;
use crate::server::ServerEvent;

/// How the run reaches its root.
pub(super) type FederationRef = ActorRef<FederationMsg>;

/// What the root is told.
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
