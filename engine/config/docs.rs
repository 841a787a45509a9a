//! The meaning of each key. The doc comment on the field of the room's config struct is the only text; it is read from the
//! source that was compiled in, so `cellm config keys` and the reference documentation cannot disagree.

const SECTIONS: [(&str, &str, &str); 16] = [
    ("run", "RunConfig", include_str!("run.rs")),
    ("model", "ModelConfig", include_str!("../trainer/config.rs")),
    ("lora", "LoraConfig", include_str!("../trainer/config.rs")),
    ("data", "Config", include_str!("../data/config.rs")),
    ("partition", "Config", include_str!("../data/partition/config.rs")),
    ("server", "Config", include_str!("../server/config.rs")),
    ("client", "LocalConfig", include_str!("../trainer/config.rs")),
    ("download", "Config", include_str!("../compressor/config.rs")),
    ("upload", "Config", include_str!("../compressor/config.rs")),
    ("aggregate", "Config", include_str!("../aggregator/config.rs")),
    ("privacy", "Config", include_str!("../privacy/config.rs")),
    ("limits", "LimitsConfig", include_str!("../policy/config.rs")),
    ("policy", "PolicyConfig", include_str!("../policy/config.rs")),
    ("link", "Config", include_str!("../link/config.rs")),
    ("metrics", "Config", include_str!("../metrics/config.rs")),
    ("report", "Config", include_str!("../report/config.rs")),
];

/// The sentence of every `section.key`, in the order of the sections and of their fields.
pub(super) fn docs() -> Vec<(String, String)> {
    SECTIONS.iter().flat_map(|(section, name, source)| fields(section, name, source)).collect()
}

fn fields(section: &str, name: &str, source: &str) -> Vec<(String, String)> {
    let head = format!("pub struct {name} {{");
    let inside = source.lines().map(str::trim).skip_while(|line| *line != head).skip(1).take_while(|line| *line != "}");
    let mut fields = Vec::new();
    let mut doc = String::new();
    let mut renamed = None;
    for line in inside {
        if let Some(text) = line.strip_prefix("///") {
            if !doc.is_empty() {
                doc.push(' ');
            }
            doc.push_str(text.trim());
        } else if let Some(name) = line.strip_prefix("#[serde(rename = \"").and_then(|rest| rest.strip_suffix("\")]")) {
            renamed = Some(name.to_owned());
        } else if let Some((key, _)) = line.strip_prefix("pub ").and_then(|field| field.split_once(':')) {
            let key = renamed.take().unwrap_or_else(|| key.to_owned());
            fields.push((format!("{section}.{key}"), std::mem::take(&mut doc)));
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Config;
    use super::*;

    #[test]
    fn every_key_has_a_doc_and_every_doc_is_of_a_key() {
        let docs: BTreeMap<String, String> = docs().into_iter().collect();
        for (key, doc) in &docs {
            assert!(doc.len() > 5, "{key} has no doc");
        }
        let json = serde_json::to_value(Config::default()).unwrap();
        for (section, keys) in json.as_object().unwrap() {
            for key in keys.as_object().unwrap().keys() {
                assert!(docs.contains_key(&format!("{section}.{key}")), "{section}.{key}");
            }
        }
        // What serde skips when unset must be a real key too.
        for key in docs.keys() {
            let (section, key) = key.split_once('.').unwrap();
            let text = format!("[{section}]\n{key} = {{ nonsense = true }}\n");
            let error =
                toml::from_str::<Config>(&text).map(|_| String::new()).unwrap_or_else(|error| error.to_string());
            assert!(!error.contains(&format!("unknown field `{key}`")), "{error}");
        }
    }
}
