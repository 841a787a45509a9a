//! The manifest: everything that server and clients must agree on before a client takes part, and the comparison.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policies::Policies;
use crate::config::{Config, Settings};
use crate::trainer::ClientData;

/// The manifest of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    /// The version of the server's engine.
    pub engine: String,
    /// Clients in the roster.
    pub clients: u32,
    /// Keys that are the same for all.
    pub settings: Settings,
    /// Values that a site takes over where it has set none.
    pub suggested: Settings,
    /// Loaded parts, by name: hashes of model, tokenizer, layout, start and policies.
    pub loaded: BTreeMap<String, String>,
}

impl Manifest {
    /// The manifest of what a side has loaded.
    pub fn of(config: &Config, shards: &ClientData, initial: &[f32], policies: &Policies) -> Self {
        let mut config = config.clone();
        // A head's classes and their order are the server's to say.
        config.data.classes = shards.classes().to_vec();
        let trainer = shards.trainer();
        let start: Vec<u8> = initial.iter().flat_map(|value| value.to_le_bytes()).collect();
        let [download, upload, aggregate] = policies.all().map(|policy| policy.hash.to_string());
        let loaded = [
            ("adapter layout", trainer.layout().hash().to_string()),
            ("adapter's start", blake3::hash(&start).to_hex().to_string()),
            ("base model", trainer.model().fingerprint().to_hex().to_string()),
            ("tokenizer", trainer.model().tokenizer_fingerprint().to_hex().to_string()),
            ("download policy", download),
            ("upload policy", upload),
            ("aggregate policy", aggregate),
        ];
        Self {
            engine: env!("CARGO_PKG_VERSION").into(),
            clients: shards.clients() as u32,
            settings: config.shared_settings(),
            suggested: config.suggested_settings(),
            loaded: loaded.map(|(name, hash)| (name.into(), hash)).into(),
        }
    }

    /// Everything in which this side differs from the server's manifest, with both values.
    pub fn differences(&self, server: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |what: &str, here: String, there: String| {
            if here != there {
                differences.push(format!("{what} is {here} here and {there} at the server"));
            }
        };
        differ("engine version", self.engine.clone(), server.engine.clone());
        let text =
            |settings: &Settings, key: &str| settings.get(key).map_or_else(|| "not set".into(), Value::to_string);
        for key in keys(&self.settings, &server.settings) {
            differ(key, text(&self.settings, key), text(&server.settings, key));
        }
        let hash = |loaded: &BTreeMap<String, String>, name: &str| {
            loaded.get(name).map_or_else(|| "none".into(), |hash| hash.chars().take(16).collect::<String>())
        };
        for name in keys(&self.loaded, &server.loaded) {
            differ(&format!("the {name}"), hash(&self.loaded, name), hash(&server.loaded, name));
        }
        differences
    }
}

fn keys<'a, T>(one: &'a BTreeMap<String, T>, other: &'a BTreeMap<String, T>) -> Vec<&'a str> {
    let keys: std::collections::BTreeSet<&str> = one.keys().chain(other.keys()).map(String::as_str).collect();
    keys.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_said_with_both_values() {
        let mut here = Manifest {
            engine: "1".into(),
            clients: 2,
            settings: [("lora.rank".to_owned(), 4.into())].into(),
            suggested: Settings::new(),
            loaded: [("base model".to_owned(), "aa".repeat(32))].into(),
        };
        let there = here.clone();
        assert!(here.differences(&there).is_empty());
        here.settings.insert("lora.rank".into(), 8.into());
        here.settings.insert("client.lr".into(), 0.5.into());
        here.loaded.insert("base model".into(), "bb".repeat(32));
        assert_eq!(
            here.differences(&there),
            [
                "client.lr is 0.5 here and not set at the server",
                "lora.rank is 8 here and 4 at the server",
                "the base model is bbbbbbbbbbbbbbbb here and aaaaaaaaaaaaaaaa at the server"
            ]
        );
    }
}
