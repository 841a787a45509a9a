//! The aggregator: takes the cohort's updates in cohort order, one at a time, and ends with one vector.

mod config;

pub use config::Config;
