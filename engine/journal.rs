//! Journal: the durable state of a run, in one embedded database file. What the federation did in, what it had done
//! (after `kill -9` at any point) out.
//!
//! `journal.redb` holds the run's identity, the uploads of the round in progress, the state after the newest closed
//! round, the rows of all closed rounds, and the clients' states. Every change is one transaction that is on disk when
//! the call returns.

mod actor;
mod blobs;
mod error;
mod record;
mod store;

pub use actor::{JournalMsg, JournalRef, JournalWriter};
pub use error::JournalError;
pub use record::{ClosedRound, Difference, RunRecord, StoredOptimizer, StoredReference, StoredUpdate, Verdict};
pub use store::Journal;
