//! Work beside the mailboxes of actors: supervised workers that run jobs on threads of their own, tasks whose end somebody sees,
//! and a clock of what a client's own jobs take.
//!
//! This room alone starts threads and tasks; clippy.toml bans the bare functions everywhere else.

mod clock;
mod task;
mod worker_thread;
mod workers;

pub use clock::OwnTime;
pub use task::{Crash, Task, blocking, watched};
pub use workers::{Pool, PoolError, Work};
