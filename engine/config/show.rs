//! The config as text: the effective values with their origins, or every key with its default and meaning. Both are TOML
//! that can be read back.

use std::collections::BTreeMap;
use std::fmt::Write;

use figment::value::{Num, Value};

use super::docs::docs;
use super::keys::{KEYS, Key, find};
use super::{Config, Loaded};

impl Config {
    /// The config as an object of sections. Numbers of single precision keep their own digits: 0.002 is 0.002.
    pub fn to_json(&self) -> serde_json::Value {
        let text = serde_json::to_string(self).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }
}

impl Loaded {
    /// The effective config; each line ends with the origin of its value. Keys that are not set are left out.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        for key in KEYS {
            let (own, inner) = key.parts();
            if own != section {
                let _ = writeln!(text, "{}[{own}]", if section.is_empty() { "" } else { "\n" });
                section = own;
            }
            if let Some(value) = lookup(&self.config, key) {
                let _ = writeln!(text, "{inner} = {}  # {}", literal(&value), self.option_origins(key.name, &value));
            }
        }
        text
    }

    /// The origin of each `section.key` that has a value.
    pub fn origins(&self) -> BTreeMap<String, String> {
        let named = |key: &Key| {
            let value = lookup(&self.config, key)?;
            Some((key.name.to_owned(), self.option_origins(key.name, &value)))
        };
        KEYS.iter().filter_map(named).collect()
    }

    /// A table of options can come from several places.
    fn option_origins(&self, key: &str, value: &Value) -> String {
        let mut origins: Vec<String> = match value.as_dict().filter(|dict| !dict.is_empty()) {
            Some(dict) => dict.keys().map(|inner| self.inner_origin(key, inner)).collect(),
            None => vec![self.origin(key)],
        };
        origins.dedup();
        origins.join("; ")
    }

    /// The path of a layer has dots of its own, so it cannot be looked up by a dotted key; its table can.
    fn inner_origin(&self, key: &str, inner: &str) -> String {
        match inner.contains('.') {
            true => self.origin(key),
            false => self.origin(&format!("{key}.{inner}")),
        }
    }
}

/// Every key with its default, its doc, its range, its scope and whether it changes results, as a TOML file in which nothing is
/// changed.
pub fn keys_text() -> String {
    let defaults = Config::default();
    let mut text = String::new();
    for (key, doc) in documented() {
        let range = key.range.map_or_else(String::new, |range| format!(" In {range}."));
        let effect = if key.changes_results { "changes results" } else { "changes no result" };
        let _ = writeln!(text, "# {doc}{range}\n# Scope: {}; {effect}.", key.scope.name());
        let _ = match lookup(&defaults, key) {
            Some(value) => writeln!(text, "{} = {}\n", key.name, literal(&value)),
            None => writeln!(text, "# {} is not set\n", key.name),
        };
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

/// Every key as an object: `key`, `default` (null where it is not set), `range` (null where there is none), `scope`,
/// `changes_results` and `about`.
pub fn keys_json() -> Vec<serde_json::Value> {
    let defaults = Config::default().to_json();
    let object = |(key, doc): (&Key, String)| {
        let (section, inner) = key.parts();
        serde_json::json!({
            "key": key.name,
            "default": defaults[section][inner],
            "range": key.range.map(|range| range.to_string()),
            "scope": key.scope.name(),
            "changes_results": key.changes_results,
            "about": doc,
        })
    };
    documented().map(object).collect()
}

/// Every key with its sentence.
fn documented() -> impl Iterator<Item = (&'static Key, String)> {
    docs().into_iter().filter_map(|(name, doc)| Some((find(&name)?, doc)))
}

fn lookup(config: &Config, key: &Key) -> Option<Value> {
    let value = Value::serialize(config).ok()?.find(key.name)?;
    (!matches!(value, Value::Empty(..))).then_some(value)
}

fn literal(value: &Value) -> String {
    match value {
        Value::String(_, text) => quoted(text),
        Value::Char(_, letter) => quoted(&letter.to_string()),
        Value::Bool(_, flag) => flag.to_string(),
        // Printed from its own width: 0.002_f32 is 0.002, not 0.0020000000949949026.
        Value::Num(_, Num::F32(number)) => float(format!("{number:?}")),
        Value::Num(_, Num::F64(number)) => float(format!("{number:?}")),
        Value::Num(_, number) => match (number.to_u128(), number.to_i128()) {
            (Some(number), _) => number.to_string(),
            (None, Some(number)) => number.to_string(),
            (None, None) => "0".into(),
        },
        Value::Array(_, items) => format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", ")),
        Value::Dict(_, dict) if dict.is_empty() => "{}".into(),
        Value::Dict(_, dict) => {
            let pairs: Vec<String> =
                dict.iter().map(|(key, value)| format!("{} = {}", bare(key), literal(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        // TOML has no null; the caller leaves unset keys out.
        Value::Empty(..) => "\"\"".into(),
    }
}

/// A TOML text on one line: each value has the origin behind it.
fn quoted(text: &str) -> String {
    match text.contains(['\n', '\r']) {
        // JSON's escapes are TOML's too; it leaves the delete sign alone.
        true => serde_json::json!(text).to_string().replace('\u{7f}', "\\u007f"),
        false => toml::Value::String(text.to_owned()).to_string(),
    }
}

fn float(text: String) -> String {
    match text.as_str() {
        "NaN" => "nan".into(),
        _ => text,
    }
}

fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if plain { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::{Layers, Override};
    use super::*;

    #[test]
    fn the_effective_config_reads_back_to_itself_and_names_origins() {
        let set = [
            "upload.density=0.0625",
            "upload.options.decay=0.5",
            "run.name=a \"b\" #c",
            "data.path=x.jsonl",
            "client.lr=1e-20",
            "lora.rank_pattern={ \"mlp.up_proj\" = 4 }",
            "lora.targets=all-linear",
            "data.template=### Ask:\n{text}\r\n\u{7f}\"\\ ",
        ];
        let overrides = set.iter().map(|text| Override::parse(text).unwrap()).collect();
        let loaded = Layers { overrides, ..Layers::default() }.load().unwrap();
        let text = loaded.to_toml();
        assert!(text.contains("density = 0.0625  # --set"), "{text}");
        assert!(text.contains("options = { decay = 0.5 }  # --set"), "{text}");
        assert!(text.contains("rank_pattern = { \"mlp.up_proj\" = 4 }  # --set"), "{text}");
        assert!(text.contains("targets = \"all-linear\"  # --set"), "{text}");
        assert!(text.contains("cohort = 8  # default"), "{text}");
        assert_eq!(text.lines().filter(|line| line.contains("Ask")).count(), 1, "a value is one line: {text}");
        assert!(text.contains("tau = 0.001  # default"), "{text}");
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), loaded.config);
    }

    #[test]
    fn the_list_of_keys_is_toml_that_changes_nothing() {
        let text = keys_text();
        assert!(
            text.contains(
                "# Clients a round, sampled uniformly without replacement. In [1, 10000000].\n# Scope: federation; changes results.\n\
                 server.cohort = 8\n"
            ),
            "{text}"
        );
        assert!(text.contains("# run.out is not set"), "{text}");
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    }

    #[test]
    fn every_key_is_shown_with_whose_it_is_and_whether_it_changes_results() {
        let rows = keys_json();
        assert_eq!(rows.len(), KEYS.len());
        let row = |name: &str| rows.iter().find(|row| row["key"] == name).unwrap();
        let threads = row("run.threads");
        assert_eq!((&threads["scope"], &threads["changes_results"]), (&"site".into(), &false.into()));
        assert_eq!((&threads["default"], &threads["range"]), (&0.into(), &"[0, 1024]".into()));
        let density = row("upload.density");
        assert_eq!((&density["scope"], &density["changes_results"]), (&"federation".into(), &true.into()));
        assert!(density["about"].as_str().unwrap().starts_with("Share of the values"), "{density}");
        assert!(keys_text().contains("# Scope: site; changes no result.\nrun.threads = 0\n"));
    }
}
