//! The policy host: runs compression and aggregation policies, which are WebAssembly components, under limits.
//!
//! In: a built-in name or the path of a component, an adapter layout and options; then vectors and messages.
//! Out: messages and vectors, or a [`PolicyError`] that names the policy, the hook and both values. All calls are
//! synchronous and may take long: make them on blocking threads.

mod aggregator;
mod bindings;
mod budget;
mod buffer;
mod capabilities;
mod codes;
mod component;
mod componentize;
mod compressor;
mod config;
mod context;
mod description;
mod error;
mod hash;
mod host;
mod index_set;
mod instance;
mod kernels;
mod log;
mod memory;
mod message;
mod options;
mod printable;
mod recall;
mod state;
mod trust;
mod vector;
mod warm;

pub use aggregator::{AggregatorInstance, RoundMeta, UpdateMeta};
pub use capabilities::Capabilities;
pub use component::Policy;
pub use componentize::componentize;
pub use compressor::CompressorInstance;
pub use config::{LimitsConfig, PolicyConfig};
pub use context::{Content, Context, Direction};
pub use description::OptionHelp;
pub use error::PolicyError;
pub use hash::PolicyHash;
pub use host::PolicyHost;
pub use log::Said;
pub use memory::{Changes, DamagedMemory, Entries, Entry, EntryKind, Memory};
pub use printable::printable;
pub use warm::{Breakable, Warm};

#[cfg(test)]
mod aggregator_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod spoiled_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod witness_tests;
