//! The faults of a link.

use crate::wire::WireError;

/// The reason why something does not get across.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The broker cannot be reached, or does not take the credentials.
    #[error("no link to the broker at {address}: {reason}")]
    Connect {
        /// Host and port.
        address: String,
        /// The reason.
        reason: String,
        /// True where nobody listens there, which may change.
        nobody: bool,
    },
    /// The broker refuses or cannot do something.
    #[error("the broker at {address} failed to {what}: {reason}")]
    Broker {
        /// Host and port.
        address: String,
        /// The request.
        what: &'static str,
        /// The reason.
        reason: String,
    },
    /// The broker that the server is to start.
    #[error("nats-server: {0}")]
    Process(String),
    /// A message that is none of this protocol.
    #[error("a message of {from} cannot be read: {reason}")]
    Message {
        /// The sender.
        from: String,
        /// The fault.
        reason: String,
    },
    /// A transfer of a size that cannot be.
    #[error("a transfer of {found} bytes, at most {limit} allowed")]
    TooLong {
        /// Bytes announced.
        found: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// A transfer whose bytes are not those announced.
    #[error(
        "chunk {chunk} of a transfer is not the one announced: {found} bytes with hash {hash}, {expected} expected"
    )]
    Damaged {
        /// The chunk.
        chunk: usize,
        /// Its bytes.
        found: usize,
        /// Its hash.
        hash: String,
        /// The hash announced.
        expected: String,
    },
    /// A transfer that makes no progress.
    #[error("no byte of a transfer came across for {0} s")]
    Stalled(f64),
    /// A frame that cannot be read.
    #[error(transparent)]
    Frame(#[from] WireError),
}
