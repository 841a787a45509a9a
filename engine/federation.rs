//! The federation: wires every room together, supervises, shuts down.

mod config;
mod progress;

pub use config::RunConfig;
pub use progress::{Progress, RoundRow, Summary};
