//! Plays the engine for tests, natively: made-up adapters, memories that are kept or forgotten as rounds end, messages that
//! are counted in bytes, whole rounds with an aggregator, and a task that a federation can solve.
//!
//! ```text
//! let adapter = Adapter::lora(4, &[(64, 32), (32, 64)]);
//! let mut harness = Harness::<MyIdea>::new(&adapter, 16, &[("decay", 0.9.into())])?;
//! harness.density = 0.1;
//! let sent = harness.upload(1, 7, &adapter.delta(1, 1e-3))?;     // round 1, client 7
//! let received = harness.collect(&sent)?;
//! harness.end_round(1, &[7]);                                    // the update of client 7 is part of the aggregate
//! assert!(sent.bytes < 1000);
//! ```
//!
//! A mistake that the host would trap on is a panic here, and so is one of the test: an option that was not declared.

mod adapter;
mod aggregation;
mod compression;
mod feedback;
mod options;
mod owners;
mod rounds;
mod spoiling;
mod task;
mod visits;
mod wire;

pub use adapter::Adapter;
pub use aggregation::{Aggregation, near, normal_updates, update_info};
pub use compression::{Harness, Sent};
pub use feedback::Feedback;
pub use options::checked_options;
pub use owners::{Owner, Owners};
pub use rounds::{Ended, Rounds};
pub use spoiling::spoiled;
pub use task::Task;
pub use visits::{Load, Visit, Visits};
pub use wire::wire_bytes;
