//! Values given as text, by the environment or the command line: a key and its text in, the value as the key's own type wants
//! it out.

use figment::value::{Dict, Value};

use super::Config;

/// Below these keys a policy decides what is known.
const FREE: [&str; 3] = ["download.options", "upload.options", "aggregate.options"];

/// Takes a list of names, though its default is a word for all of them.
const NAMES: &str = "lora.targets";

/// The default of every key, as figment sees it; an unset optional key is absent or empty.
pub fn defaults() -> Dict {
    // Our own structs serialize to a dictionary; anything else would be a mistake that the tests of the keys catch.
    Value::serialize(Config::default()).ok().and_then(Value::into_dict).unwrap_or_default()
}

/// A value given as text (environment or command line), as the key's own type wants it. In quotes it is that TOML text. Else
/// the first reading that the key takes: the text as it is, blanks and all, so that `run.name=123` is a name; TOML; a list,
/// split at its commas; the text without the blanks around it. Where it takes none, its error is about the TOML.
pub fn parse(key: &str, text: &str) -> Value {
    let toml = toml_value(text);
    let given = || toml.clone().unwrap_or_else(|| Value::from(text));
    if is_free(key) || is_quoted(text) {
        return given();
    }
    let list = list(text);
    let readings = match key == NAMES && !is_expression(text) {
        // A text alone would be an expression to it.
        true => vec![toml.clone().filter(|value| value.as_array().is_some()), list],
        false => vec![Some(Value::from(text)), toml.clone(), list, numbers(text), Some(Value::from(text.trim()))],
    };
    readings.into_iter().flatten().find(|value| takes(key, value)).unwrap_or_else(given)
}

/// True where a config with this value under the key can be read; its range is checked later.
fn takes(key: &str, value: &Value) -> bool {
    let mut config = defaults();
    let Some((section, rest)) = key.split_once('.') else { return false };
    let Some(Value::Dict(_, keys)) = config.get_mut(section) else { return false };
    keys.extend(nest(rest, value.clone()));
    Value::from(config).deserialize::<Config>().is_ok()
}

fn toml_value(text: &str) -> Option<Value> {
    let table = format!("value = {text}").parse::<toml::Table>().ok().filter(|table| table.len() == 1);
    table.and_then(|mut table| Value::serialize(table.remove("value")?).ok())
}

/// True for a text that is a TOML string from its first sign to its last, with no comment behind it.
fn is_quoted(text: &str) -> bool {
    let line = format!("value = {text}");
    let Ok(table) = toml::de::DeTable::parse(&line) else { return false };
    let value = table.get_ref().get("value").filter(|_| table.get_ref().len() == 1);
    value.is_some_and(|value| value.get_ref().as_str().is_some() && value.span() == (8..line.len()))
}

/// True for a text that is one expression rather than names: it has signs that no name has.
fn is_expression(text: &str) -> bool {
    text.contains(['*', '\\', '(', '|', '^', '$', '?', '+']) && !text.trim_start().starts_with('[')
}

fn list(text: &str) -> Option<Value> {
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    (!text.trim_start().starts_with('[')).then(|| Value::from(items.into_iter().map(Value::from).collect::<Vec<_>>()))
}

fn numbers(text: &str) -> Option<Value> {
    toml_value(&format!("[{text}]"))
}

/// A dictionary that holds `value` under a dotted key.
pub fn nest(key: &str, value: Value) -> Dict {
    match key.split_once('.') {
        None => Dict::from([(key.to_owned(), value)]),
        Some((first, rest)) => Dict::from([(first.to_owned(), Value::from(nest(rest, value)))]),
    }
}

/// True for a key that may have keys of a policy below it.
pub fn is_free(key: &str) -> bool {
    FREE.iter().any(|free| key.strip_prefix(free).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_keys_take_any_text_and_number_keys_take_numbers() {
        assert_eq!(parse("run.name", "123"), Value::from("123"));
        assert_eq!(parse("run.name", "\"a b\""), Value::from("a b"));
        assert_eq!(parse("data.path", "true"), Value::from("true"));
        assert_eq!(parse("model.path", "7"), Value::from("7"));
        assert_eq!(parse("run.seed", "7").to_i128(), Some(7));
        assert_eq!(parse("run.seed", " 7 ").to_i128(), Some(7));
        assert_eq!(parse("upload.density", "0.5").to_f64(), Some(0.5));
        assert_eq!(parse("lora.targets", "q_proj, v_proj").as_array().unwrap().len(), 2);
        assert_eq!(parse("lora.targets", "[\"q_proj\"]").as_array().unwrap().len(), 1);
        assert_eq!(parse("lora.targets", ".*\\.(q_proj|v_proj)"), Value::from(".*\\.(q_proj|v_proj)"));
        assert_eq!(parse("upload.options.decay", "0.5").to_f64(), Some(0.5));
        assert_eq!(parse("upload.options.values", "f16"), Value::from("f16"));
        assert_eq!(parse("run.seed", "1\nrounds = 2"), Value::from("1\nrounds = 2"));
        assert_eq!(parse("model.dtype", " bf16"), Value::from("bf16"));
        assert_eq!(parse("partition.partition_sizes", "3,4").as_array().unwrap()[1].to_i128(), Some(4));
        assert_eq!(parse("partition.partition_sizes", "[3, 4]").as_array().unwrap().len(), 2);
        assert_eq!(parse("data.classes", "1,2").as_array().unwrap()[1], Value::from("2"));
    }

    #[test]
    fn a_text_is_taken_with_its_blanks_and_signs() {
        for text in [" {a}", "{q} A: ", "'a' or 'b'", "\"a\" # b", "'a' # 'b'", "{a}\n", "[x]", "a,b", "", "# {a}"] {
            assert_eq!(parse("data.answer", text), Value::from(text));
            assert_eq!(parse("data.template", text), Value::from(text));
        }
        assert_eq!(parse("data.answer", "\" {a}\""), Value::from(" {a}"));
        assert_eq!(parse("data.answer", "' {a}'"), Value::from(" {a}"));
        assert_eq!(parse("data.answer", "\"\\n{a}\""), Value::from("\n{a}"));
    }
}
