//! The journal's contents, as its callers see them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::wire::Frame;

/// The identity of a journal's run. Written once, when the journal is created.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RunRecord {
    /// Hash of every setting that changes the result, as hexadecimal text.
    pub config_hash: String,
    /// Hash of the adapter's layout, as hexadecimal text.
    pub layout_hash: String,
    /// The run's seed.
    pub seed: u64,
    /// The settings behind `config_hash` as a JSON object, so that a mismatch can be named.
    pub json: String,
    /// Name of the processor's or device's arithmetic. Another one rounds in other places, but does not keep a run from
    /// going on. Empty in journals that do not say.
    #[serde(default)]
    pub arithmetic: String,
}

/// One thing in which two runs differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key or the part that differs, for example `config.server.lr`.
    pub what: String,
    /// The journal's value.
    pub stored: String,
    /// The caller's value.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} in the journal and {} now", self.what, self.stored, self.found)
    }
}

impl RunRecord {
    /// The differences that keep a journal with this record from being continued as `now`; empty where there are
    /// none. The settings in `json` are compared one by one, and only when the hashes differ.
    pub fn differences(&self, now: &Self) -> Vec<Difference> {
        let mut all = Vec::new();
        let mut compare = |what: &str, stored: &dyn fmt::Display, found: &dyn fmt::Display| {
            let (stored, found) = (stored.to_string(), found.to_string());
            if stored != found {
                all.push(Difference { what: what.into(), stored, found });
            }
        };
        compare("seed", &self.seed, &now.seed);
        compare("layout hash", &self.layout_hash, &now.layout_hash);
        compare("config hash", &self.config_hash, &now.config_hash);
        if self.config_hash != now.config_hash {
            let parse = |json: &str| serde_json::from_str(json).unwrap_or(Value::Null);
            compare_settings("config", &parse(&self.json), &parse(&now.json), &mut all);
        }
        all
    }
}

fn compare_settings(name: &str, stored: &Value, found: &Value, all: &mut Vec<Difference>) {
    if let (Value::Object(stored), Value::Object(found)) = (stored, found) {
        for (key, value) in stored {
            let other = found.get(key).unwrap_or(&Value::Null);
            compare_settings(&format!("{name}.{key}"), value, other, all);
        }
        for (key, value) in found.iter().filter(|(key, _)| !stored.contains_key(*key)) {
            compare_settings(&format!("{name}.{key}"), &Value::Null, value, all);
        }
    } else if stored != found {
        all.push(Difference { what: name.into(), stored: stored.to_string(), found: found.to_string() });
    }
}

/// An upload that has arrived in the round in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUpdate {
    /// The client's place in the round's cohort.
    pub position: u32,
    /// The wire frame as it came; none of a client that was dropped.
    pub frame: Option<Frame>,
    /// The server's notes for its resumption, as JSON.
    pub meta: String,
    /// The client's state once the round is closed with this update in it; empty where it does not change.
    pub state: Vec<u8>,
}

/// A client whose memory of the round is kept when the round is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The client's place in the round's cohort.
    pub position: u32,
    /// The client's number in the roster.
    pub client: u32,
    /// True where its update is in the aggregate. Otherwise it keeps its state of before, with the changes of hearing
    /// of it.
    pub accepted: bool,
}

/// The reference of a tracked download after a closed round.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredReference {
    /// The tier.
    pub tier: u32,
    /// Number of the last broadcast in it.
    pub sequence: u32,
    /// Its values, in layout order.
    pub values: Arc<Vec<f32>>,
    /// Number and frame of the broadcasts that are kept for those who miss them, ascending.
    pub kept: Vec<(u32, Frame)>,
}

/// The state of a server optimizer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredOptimizer {
    /// Steps so far.
    pub steps: u32,
    /// Its moments, one after the other.
    pub moments: Arc<Vec<f32>>,
}

/// The state after a closed round.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClosedRound {
    /// The round.
    pub round: u32,
    /// The adapter after it, in layout order.
    pub weights: Arc<Vec<f32>>,
    /// The server optimizer's own state.
    pub optimizer: StoredOptimizer,
    /// The running mean of what clients would see, in layout order; empty where there is none.
    pub mean: Arc<Vec<f32>>,
    /// The round's line of `metrics.jsonl`, without its end of line.
    pub row: String,
    /// The round's lines of `clients.jsonl`.
    pub client_rows: String,
    /// Totals up to and with this round (bytes, seconds), as JSON.
    pub ledger: String,
    /// The server's memories for its policies, by name. When a round is closed, those that changed with it, with no
    /// bytes for a memory that is gone; when it is read, all of them.
    pub memory: BTreeMap<String, Vec<u8>>,
    /// The references of tracked downloads, one a tier.
    pub references: Vec<StoredReference>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(config_hash: &str, json: &str) -> RunRecord {
        let arithmetic = String::new();
        RunRecord { config_hash: config_hash.into(), layout_hash: "b".into(), seed: 1, json: json.into(), arithmetic }
    }

    #[test]
    fn records_that_differ_name_what_differs_and_both_values() {
        let stored = record("a", r#"{"server":{"lr":0.1,"cohort":8},"run":{"rounds":3}}"#);
        assert_eq!(stored.differences(&stored.clone()), []);
        let mut now = record("c", r#"{"server":{"lr":0.2,"cohort":8,"quorum":4},"run":{"rounds":3}}"#);
        now.seed = 2;
        let text: Vec<String> = stored.differences(&now).iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "seed is 1 in the journal and 2 now",
                "config hash is a in the journal and c now",
                "config.server.lr is 0.1 in the journal and 0.2 now",
                "config.server.quorum is null in the journal and 4 now",
            ]
        );
    }

    #[test]
    fn settings_that_do_not_change_the_hash_do_not_count() {
        let stored = record("a", r#"{"run":{"threads":1}}"#);
        assert_eq!(stored.differences(&record("a", r#"{"run":{"threads":2}}"#)), []);
    }
}
