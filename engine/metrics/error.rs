//! What can go wrong with the metrics of a run.

use std::net::SocketAddr;

/// An error of the metrics room.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// An address that cannot be listened on.
    #[error("cannot serve metrics on `{listen}` (metrics.listen): {source}")]
    Bind {
        /// The address asked for.
        listen: String,
        /// Why.
        source: std::io::Error,
    },
    /// A server that ended by itself.
    #[error("the metrics endpoint on {address} ended: {reason}")]
    Ended {
        /// Where it was.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
    /// Metrics that cannot be written as text.
    #[error("cannot write the metrics as text: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
}
