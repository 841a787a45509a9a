//! Errors of the metrics room.

use std::net::SocketAddr;

/// An error of the metrics room.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// An address that cannot be listened on.
    #[error("cannot serve metrics on `{listen}` (metrics.listen): {source}")]
    Bind {
        /// The address asked for.
        listen: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A server that ended by itself.
    #[error("the metrics endpoint on {address} ended: {reason}")]
    Ended {
        /// The address that was served.
        address: SocketAddr,
        /// The reason of the failure.
        reason: String,
    },
    /// Metrics that cannot be written as text.
    #[error("cannot write the metrics as text: {reason}")]
    Encode {
        /// The encoder's message.
        reason: String,
    },
}
