//! The policy host: runs compression and aggregation policies, which are WebAssembly components, under limits.
//!
//! In: a built-in name or the path of a component, an adapter layout and options; then vectors and messages.
//! Out: messages and vectors, or a [`PolicyError`] that names the policy, the hook and both values. All calls are
//! synchronous and may take long: make them on blocking threads.

mod aggregator;
mod bindings;
mod budget;
mod capabilities;
mod charged_buffer;
mod codes;
mod compile;
mod component;
mod componentize;
mod compressor;
mod config;
mod context;
mod description;
mod error;
mod hash;
mod host;
mod host_functions;
mod index_set;
mod instance;
mod kernels;
mod log;
mod memory;
mod message;
mod options;
mod printable;
mod resources;
mod reusable_instance;
mod state;
mod trust;
mod vector;

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
pub use log::PolicyLog;
pub use memory::{Changes, DamagedMemory, Entries, Entry, EntryKind, Memory};
pub use printable::{is_hidden, printable};
pub use reusable_instance::{Breakable, ReusableInstance};

#[cfg(test)]
mod aggregator_tests;
#[cfg(test)]
mod all_hooks_tests;
#[cfg(test)]
mod corrupted_message_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
