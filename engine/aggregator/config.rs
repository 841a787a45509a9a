//! Section `aggregate`: which policy makes one update of many.

use serde::{Deserialize, Serialize};

/// The aggregation policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Policy: a built-in name (`cellm plugin list`) or the path of a component.
    pub policy: String,
    /// Refuse policies that could not work if updates were summed under masks, as secure aggregation does. This checks the
    /// config alone: the engine itself masks nothing and sees every update.
    pub secure: bool,
    /// The policy's own options (`cellm plugin inspect NAME` lists them).
    pub options: serde_json::Map<String, serde_json::Value>,
}

impl Default for Config {
    fn default() -> Self {
        Self { policy: "fedavg".into(), secure: false, options: serde_json::Map::new() }
    }
}
