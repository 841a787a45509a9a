//! The server: plans rounds, samples cohorts, applies the server optimizer, evaluates.

mod config;

pub use config::{Config, OptimizerKind};
