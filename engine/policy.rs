//! The policy host: runs compression and aggregation policies, which are WebAssembly components, under limits.
//!
//! In: a built-in name or the path of a component, an adapter layout and options; then vectors and messages.
//! Out: messages and vectors, or a [`PolicyError`] that names the policy, the hook and both values. All calls are
//! synchronous and may take long: make them on blocking threads.

mod aggregator;
mod bindings;
mod budget;
mod buffer;
mod component;
mod compressor;
mod config;
mod error;
mod host;
mod index_set;
mod instance;
mod message;
mod options;
mod state;
mod top_k;
mod vector;

pub use aggregator::{AggregatorInstance, UpdateMeta};
pub use component::{OptionHelp, Policy, PolicyHash};
pub use compressor::{CompressorInstance, Context, Direction};
pub use config::LimitsConfig;
pub use error::PolicyError;
pub use host::PolicyHost;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
