//! The part of a config that a server tells its clients: what all must agree on, and what a site may take over.

use std::collections::BTreeMap;

use serde_json::Value;

use super::keys::{KEYS, Scope};
use super::{Config, ConfigError, Layers, Loaded, Table};

/// Values by dotted key.
pub type Settings = BTreeMap<String, Value>;

/// Keys of a site that take the server's value where the site has set none: how records become text, where the model lies, how
/// often a sign of life is due.
const SUGGESTED: [&str; 10] = [
    "data.answer",
    "data.invalid",
    "data.label",
    "data.min_chars",
    "data.template",
    "data.text",
    "link.silence_s",
    "link.stall_s",
    "lora.init",
    "model.path",
];

impl Config {
    /// The keys that are the same for all participants, with their values.
    pub fn shared_settings(&self) -> Settings {
        self.settings(|key, scope| scope == Scope::Federation && !key.starts_with("partition."))
    }

    /// The values that a site takes over where it has none of its own.
    pub fn suggested_settings(&self) -> Settings {
        self.settings(|key, _| SUGGESTED.contains(&key))
    }

    fn settings(&self, wanted: impl Fn(&str, Scope) -> bool) -> Settings {
        let all = self.to_json();
        let value = |section: &str, key: &str| all.get(section)?.get(key).filter(|value| !value.is_null()).cloned();
        let of = |key: &super::keys::Key| {
            let (section, inner) = key.parts();
            wanted(key.name, key.scope).then(|| Some((key.name.to_owned(), value(section, inner)?))).flatten()
        };
        KEYS.iter().filter_map(of).collect()
    }
}

impl Loaded {
    /// The keys that are set here and differ from the server's: key, value here, value there. `shared` are the server's.
    pub fn differences(&self, shared: &Settings) -> Vec<(String, Value, Value)> {
        let own = self.config.shared_settings();
        let keys: std::collections::BTreeSet<&String> = own.keys().chain(shared.keys()).collect();
        let value = |of: &Settings, key: &str| of.get(key).cloned().unwrap_or_default();
        let pairs = keys.into_iter().map(|key| (key.clone(), value(&own, key), value(shared, key)));
        pairs.filter(|(key, here, there)| here != there && !self.is_default(key)).collect()
    }
}

impl Layers {
    /// These layers over the values of a server: shared ones, and suggested ones where nothing is set here.
    ///
    /// # Errors
    /// As [`Layers::load`]; for a value that no config file can have.
    pub fn load_with_servers(
        &self,
        own: &Loaded,
        shared: &Settings,
        suggested: &Settings,
    ) -> Result<Loaded, ConfigError> {
        let mut sections = toml::Table::new();
        let all = shared.iter().chain(suggested.iter().filter(|(key, _)| SUGGESTED.contains(&key.as_str())));
        for (name, value) in all.filter(|(key, _)| own.is_default(key)) {
            let Some((section, key)) = name.split_once('.') else { continue };
            let wrong = |error: toml::ser::Error| ConfigError::Type {
                key: name.clone(),
                origin: "the server".into(),
                reason: error.to_string(),
            };
            let value = toml::Value::try_from(value).map_err(wrong)?;
            let table = sections.entry(section).or_insert_with(|| toml::Table::new().into());
            if let Some(table) = table.as_table_mut() {
                table.insert(key.into(), value);
            }
        }
        let mut layers = self.clone();
        layers.tables.push(Table { name: "the server".into(), sections, ..Table::default() });
        layers.load()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Override;
    use super::*;

    fn layers(set: &[&str]) -> Layers {
        let overrides = set.iter().map(|text| Override::parse(text).unwrap()).collect();
        Layers { overrides, ..Layers::default() }
    }

    #[test]
    fn a_site_takes_over_what_it_has_not_set_and_says_what_differs() {
        let server = layers(&["lora.rank=3", "client.lr=0.25", "data.template=Q {q}", "run.seed=7", "run.threads=9"]);
        let server = server.load().unwrap().config;
        let (shared, suggested) = (server.shared_settings(), server.suggested_settings());
        assert!(!shared.contains_key("run.threads") && !shared.contains_key("partition.kind"));
        let own = layers(&["data.path=mine.jsonl", "client.lr=0.25", "data.text=body"]);
        let loaded = own.load().unwrap();
        assert_eq!(loaded.differences(&shared), []);
        let joined = own.load_with_servers(&loaded, &shared, &suggested).unwrap().config;
        assert_eq!((joined.lora.rank, joined.run.seed, joined.data.template.as_str()), (3, 7, "Q {q}"));
        assert_eq!((joined.data.text.as_str(), joined.run.threads), ("body", 0));
        assert_eq!(joined.shared_settings(), shared, "every number comes across as it is");
        let other = layers(&["lora.rank=4"]).load().unwrap();
        let differs = other.differences(&shared);
        assert_eq!(differs.len(), 1);
        assert_eq!(
            (differs[0].0.as_str(), differs[0].1.as_u64(), differs[0].2.as_u64()),
            ("lora.rank", Some(4), Some(3))
        );
    }
}
