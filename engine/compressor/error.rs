//! Errors between values and frames.

use super::reference::ReferenceError;
use crate::policy::PolicyError;
use crate::wire::WireError;

/// A failure to make or to read a frame.
#[derive(Debug, thiserror::Error)]
pub enum CompressorError {
    /// The policy failed.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The bytes are not a frame of this run.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A sound frame that does not belong here.
    #[error("policy {policy} was given another frame to {hook}: its {what} is {found}, expected {expected}")]
    Misplaced {
        /// The policy that would have read it.
        policy: String,
        /// The call.
        hook: &'static str,
        /// The header field.
        what: &'static str,
        /// The frame's value.
        found: String,
        /// The receiver's value.
        expected: String,
    },
    /// A value that is not finite came out of the policy.
    #[error("policy {policy} decoded {count} values that are not finite")]
    NotFinite {
        /// The policy.
        policy: String,
        /// Number of values.
        count: usize,
    },
    /// A broadcast or snapshot that does not fit the reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A snapshot that does not give what it was made of.
    #[error("the snapshot after broadcast {sequence} gives {count} other values than the server has")]
    Snapshot {
        /// Number of the last broadcast in it.
        sequence: u32,
        /// Number of values that differ.
        count: usize,
    },
    /// A broadcast of a tracked download without the reference that it belongs to.
    #[error("broadcast {round} is a difference, and the reference that it is to is not here")]
    NoReference {
        /// The broadcast.
        round: u32,
    },
    /// Settings that do not go together.
    #[error(
        "download.error_feedback keeps one reference for all clients, but policy {policy} decodes a broadcast with each \
         client's own memory; set it to false"
    )]
    Untrackable {
        /// The download's policy.
        policy: String,
    },
}
