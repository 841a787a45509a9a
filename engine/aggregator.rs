//! The aggregator: takes the cohort's frames in any order, decodes and accumulates them in cohort order, one at a
//! time, and ends with one vector. Memory: the accumulator, one decoded update, and the frames that wait their turn.

mod accumulator;
mod actor;
mod config;

pub use accumulator::{Accepted, Aggregate, AggregateError, Offer, Opening};
pub use actor::{Aggregator, AggregatorArgs, AggregatorMsg, AggregatorRef};
pub use config::Config;
