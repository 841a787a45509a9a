//! The server: samples cohorts, runs rounds, applies the server optimizer, evaluates, closes rounds durably.
//!
//! In: the run's plan and what the journal holds. Out: [`ServerEvent`]s. Decisions are in [`round`], a pure state
//! machine; the actor moves messages.

mod acknowledging;
mod actor;
mod again;
mod closing;
mod config;
mod dispatch;
mod ending;
mod event;
mod exchange;
mod ledger;
mod looking;
mod measuring;
pub mod optimizer;
mod refreshing;
pub mod round;
mod row;
pub mod sampler;
mod state;
mod stored;
mod tally;
mod turn;
mod view;

pub use actor::{Server, ServerMsg, ServerRef};
pub use config::{Config, OptimizerKind};
pub use event::{Finished, Refreshed, ServerError, ServerEvent};
pub use ledger::Ledger;
pub use refreshing::Refresh;
pub use row::{DirectionBytes, RoundRow, RowPolicies};
pub use state::{Resume, ServerArgs};
pub use tally::{Outcomes, Tally};
