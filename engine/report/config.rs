//! Section `report`.

use serde::{Deserialize, Serialize};

/// The completions that a run shows at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Prompts that the model completes with the adapter before and after training, each in the form of the data; the
    /// beginning of a held-out record where there are none. Not where classes are learned.
    pub prompts: Vec<String>,
    /// Tokens of a completion, at most; 0 makes no completions.
    pub completion_tokens: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { prompts: Vec::new(), completion_tokens: 32 }
    }
}
