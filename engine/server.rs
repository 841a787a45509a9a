//! The server: samples cohorts, runs rounds, applies the server optimizer, evaluates, closes rounds durably.
//!
//! In: the run's plan and what the journal holds. Out: [`ServerEvent`]s. Decisions are in [`round`], a pure state
//! machine; the actor moves messages.

mod actor;
mod answer;
mod broadcast;
mod byte_budget;
mod catch_up;
mod close;
mod config;
mod dispatch;
mod evaluation;
mod event;
mod largest_exchange;
mod message;
mod metrics;
mod model;
mod open_round;
pub mod optimizer;
mod outcomes;
mod parts;
mod prepare;
mod reload;
mod reopen;
pub mod round;
mod round_row;
mod run_totals;
pub mod sampler;
mod settle;
mod state;
mod stored_answer;

pub use actor::Server;
pub use config::{Config, OptimizerKind};
pub use event::{EndedBy, Finished, Reload, Reloaded, ServerError, ServerEvent};
pub use largest_exchange::LargestExchange;
pub use message::{ServerMsg, ServerRef};
pub use outcomes::{Outcomes, Tally};
pub use parts::Parts;
pub use round_row::{RoundRow, RowPolicies};
pub use run_totals::RunTotals;
pub use state::{Resume, ServerArgs};
