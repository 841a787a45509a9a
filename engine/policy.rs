//! The policy host: runs compression and aggregation policies, which are WebAssembly components, under limits.

mod config;

pub use config::LimitsConfig;
