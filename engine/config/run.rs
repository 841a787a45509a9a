//! Section `run`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the run, part of its directory's name.
    pub name: String,
    /// Seed of every random choice.
    pub seed: u64,
    /// Rounds to run.
    pub rounds: u32,
    /// Bytes that the run may send, both ways together: it ends before the first round that may go beyond; 0 is any number.
    pub byte_budget: u64,
    /// Run directory; by default `runs/<time>-<name>`.
    pub out: Option<PathBuf>,
    /// Clients trained at the same time; 0 takes one a core. The result does not depend on it.
    pub threads: usize,
}

impl RunConfig {
    /// `threads`, or one a core.
    pub fn threads_in_use(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { name: "demo".into(), seed: 1, rounds: 30, byte_budget: 0, out: None, threads: 0 }
    }
}
