//! Section `limits`: what a policy may use up before it is stopped. Section `policy`: which policies may run at all.

use serde::{Deserialize, Serialize};

/// Limits of one policy instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Memory of one policy instance in MiB: its own linear memory and what it holds in the host, together.
    pub memory_mb: u32,
    /// Wall-clock milliseconds that one call of a policy may take.
    pub deadline_ms: u64,
    /// MiB that the parts of one encoded message may take before wire coding.
    pub output_mb: u32,
    /// Parts of one message.
    pub parts: u32,
    /// Vectors, index sets, codes and messages that a policy may hold at the same time.
    pub handles: u32,
    /// MiB that a policy may remember of one client, or of the server, from round to round.
    pub state_mb: u32,
    /// MiB that a component may have: compiling takes time that grows with it.
    pub component_mb: u32,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            memory_mb: 1024,
            deadline_ms: 60_000,
            output_mb: 512,
            parts: 1024,
            handles: 65_536,
            state_mb: 64,
            component_mb: 64,
        }
    }
}

/// The components that may be loaded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// Components that may run, each as name@blake3:HEX (`cellm plugin inspect` shows both); none listed allows all.
    pub allow: Vec<String>,
    /// Public keys of minisign; where there are any, a component that is not built in needs a signature of one of them,
    /// FILE.minisig beside FILE.
    pub keys: Vec<String>,
    /// Load a component's file anew where it changes between two rounds of a run.
    pub watch: bool,
}
