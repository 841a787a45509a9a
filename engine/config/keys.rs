//! Known keys: is a key one of ours, which known key looks most like it, and what kind of text does it take.

use figment::value::{Dict, Value};

use super::docs::key_docs;
use super::{Config, ConfigError};

/// Below these keys a policy decides what is known.
const FREE: [&str; 3] = ["download.options", "upload.options", "aggregate.options"];

/// Takes a list of names, though its default is a word for all of them.
const NAMES: &str = "lora.targets";

/// The default of every key, as figment sees it; an unset optional key is absent or empty.
pub fn defaults() -> Dict {
    // Our own structs serialize to a dictionary; anything else would be a mistake that the tests below catch.
    Value::serialize(Config::default()).ok().and_then(Value::into_dict).unwrap_or_default()
}

/// Checks every key of a layer. `origin` tells where a dotted key of this layer was found.
pub fn check(layer: &Dict, origin: impl Fn(&str) -> String) -> Result<(), ConfigError> {
    let known: Vec<String> = key_docs().into_iter().map(|key| format!("{}.{}", key.section, key.key)).collect();
    let refuse = |key: String| {
        let nearest = nearest(&key, &known);
        Err(ConfigError::UnknownKey { origin: origin(&key), nearest, key })
    };
    for (section, value) in layer {
        let Some(keys) = value.as_dict().filter(|_| known.iter().any(|known| section_of(known) == section)) else {
            let first = value.as_dict().and_then(|keys| keys.keys().next());
            return refuse(first.map_or_else(|| section.clone(), |first| format!("{section}.{first}")));
        };
        for key in keys.keys() {
            let dotted = format!("{section}.{key}");
            if !known.contains(&dotted) {
                return refuse(dotted);
            }
        }
    }
    Ok(())
}

/// Whether a key may have keys of a policy below it.
pub fn is_free(key: &str) -> bool {
    FREE.iter().any(|free| key.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Whether `section` is one of ours.
pub fn is_section(section: &str) -> bool {
    defaults().contains_key(section)
}

fn section_of(key: &str) -> &str {
    key.split_once('.').map_or(key, |(section, _)| section)
}

fn nearest(key: &str, known: &[String]) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    let score = |known: &str| {
        let whole = strsim::normalized_damerau_levenshtein(key, known);
        // A right key in a wrong section is as likely as a typo.
        let tail = strsim::normalized_damerau_levenshtein(&last(key), &last(known)) * 0.95;
        let head = if section_of(key) == section_of(known) { 0.02 } else { 0.0 };
        whole.max(tail) + head
    };
    let best = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    best.cloned().unwrap_or_default()
}

/// A value given as text (environment or command line), as the key's own type wants it: keys that hold text take it as it
/// is, so `run.name=123` is a name; lists of names may be split by commas; everything else is TOML, else text.
pub fn parse(key: &str, text: &str) -> Value {
    let parsed = format!("value = {text}")
        .parse::<toml::Table>()
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("value"));
    let default = key.split_once('.').and_then(|(section, key)| defaults().remove(section)?.into_dict()?.remove(key));
    let is_list = key == NAMES || matches!(default, Some(Value::Array(..)));
    let holds_text = !is_free(key) && !is_list && matches!(default, None | Some(Value::String(..) | Value::Empty(..)));
    match (parsed, default) {
        (Some(toml::Value::String(text)), _) => Value::from(text),
        _ if holds_text => Value::from(text),
        (None, _) if is_list => list(text),
        (Some(value), _) => Value::serialize(value).unwrap_or_else(|_| Value::from(text)),
        (None, _) => Value::from(text),
    }
}

fn list(text: &str) -> Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::from(items.map(Value::from).collect::<Vec<_>>())
}

/// A dictionary that holds `value` under a dotted key.
pub fn nest(key: &str, value: Value) -> Dict {
    match key.split_once('.') {
        None => Dict::from([(key.to_owned(), value)]),
        Some((first, rest)) => Dict::from([(first.to_owned(), Value::from(nest(rest, value)))]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found_through_typos_and_wrong_sections() {
        let known: Vec<String> = key_docs().into_iter().map(|key| format!("{}.{}", key.section, key.key)).collect();
        assert_eq!(nearest("server.cohrt", &known), "server.cohort");
        assert_eq!(nearest("sever.cohort", &known), "server.cohort");
        assert_eq!(nearest("run.cohort", &known), "server.cohort");
        assert_eq!(nearest("client.learning_rate", &known).split('.').next(), Some("client"));
        assert_eq!(nearest("upload.densty", &known), "upload.density");
    }

    #[test]
    fn text_keys_take_any_text_and_number_keys_take_numbers() {
        assert_eq!(parse("run.name", "123"), Value::from("123"));
        assert_eq!(parse("run.name", "\"a b\""), Value::from("a b"));
        assert_eq!(parse("data.path", "true"), Value::from("true"));
        assert_eq!(parse("model.path", "7"), Value::from("7"));
        assert_eq!(parse("run.seed", "7").to_i128(), Some(7));
        assert_eq!(parse("upload.density", "0.5").to_f64(), Some(0.5));
        assert_eq!(parse("lora.targets", "q_proj, v_proj").as_array().unwrap().len(), 2);
        assert_eq!(parse("lora.targets", "[\"q_proj\"]").as_array().unwrap().len(), 1);
        assert_eq!(parse("upload.options.decay", "0.5").to_f64(), Some(0.5));
        assert_eq!(parse("upload.options.values", "f16"), Value::from("f16"));
        assert_eq!(parse("run.seed", "1\nrounds = 2"), Value::from("1\nrounds = 2"));
    }
}
