//! The class names of config.json: `id2label` and `label2id` in, the names in the order of the head's rows out.

use serde_json::Value;

use super::config_json::ConfigJson;

/// The classes of a checkpoint's head by its config.json.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trainer) struct Labels {
    /// Their names in order; the error where they contradict each other, which concerns only a run that needs them;
    /// empty where there are only the default names of `transformers`, `LABEL_0` and on.
    pub names: Result<Vec<String>, String>,
    /// The value of `problem_type`, `regression` for example; none where config.json has none.
    pub problem_type: Option<String>,
}

impl Labels {
    /// Reads `id2label`, or `label2id` where there is no `id2label`, and `problem_type`.
    pub fn read(settings: &ConfigJson) -> Self {
        let problem_type = settings.get("problem_type").and_then(Value::as_str).map(String::from);
        Self { names: names(settings), problem_type }
    }
}

fn names(settings: &ConfigJson) -> Result<Vec<String>, String> {
    let table = |key| settings.get(key).and_then(Value::as_object).into_iter().flatten();
    let by_id = table("id2label").map(|(id, name)| (id.parse().ok(), name.as_str().map(String::from))).collect();
    let by_id = ordered(by_id).ok_or("id2label does not have a name for each number from 0 on")?;
    let by_name = table("label2id").map(|(name, id)| (number(id), Some(name.clone()))).collect();
    let by_name = ordered(by_name).ok_or("label2id does not have each number from 0 on once")?;
    match (made_up(&by_id), made_up(&by_name)) {
        (false, false) if by_id != by_name => {
            Err(format!("label2id orders the classes {}, but id2label {}", by_name.join(", "), by_id.join(", ")))
        }
        (true, false) => Ok(by_name),
        (true, true) => Ok(Vec::new()),
        (false, _) => Ok(by_id),
    }
}

/// The names sorted by their numbers; none where the numbers are not 0 and on.
fn ordered(mut pairs: Vec<(Option<usize>, Option<String>)>) -> Option<Vec<String>> {
    pairs.sort();
    let fits = pairs.iter().enumerate().all(|(at, (id, _))| *id == Some(at));
    pairs.into_iter().map(|(_, name)| name.filter(|_| fits)).collect()
}

/// A whole number, or a text that is one.
fn number(value: &Value) -> Option<usize> {
    value.as_u64().map(|id| id as usize).or_else(|| value.as_str()?.parse().ok())
}

/// True where all names are the default names of `transformers`, `LABEL_0` and on.
fn made_up(names: &[String]) -> bool {
    names.iter().enumerate().all(|(at, name)| *name == format!("LABEL_{at}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Vec<String>, String> {
        let settings = ConfigJson::new(json.as_bytes(), "config.json").unwrap();
        Labels::read(&settings).names
    }

    #[test]
    fn names_come_in_the_order_of_their_numbers() {
        let names = ["c", "a", "b", "d", "e", "f", "g", "h", "i", "j", "k"];
        let json: serde_json::Map<String, Value> =
            names.iter().enumerate().map(|(at, name)| (at.to_string(), Value::from(*name))).collect();
        assert_eq!(read(&serde_json::json!({ "id2label": json }).to_string()).unwrap(), names, "10 comes after 9");
        assert_eq!(read(r#"{"label2id": {"no": 1, "yes": "0"}}"#).unwrap(), ["yes", "no"]);
    }

    #[test]
    fn made_up_names_say_nothing() {
        let none: [&str; 0] = [];
        assert_eq!(read(r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#).unwrap(), none);
        let both = r#"{"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"no": 0, "yes": 1}}"#;
        assert_eq!(read(both).unwrap(), ["no", "yes"]);
        assert_eq!(read("{}").unwrap(), none);
    }

    #[test]
    fn names_that_contradict_each_other_are_refused() {
        let error = read(r#"{"id2label": {"0": "a", "1": "b"}, "label2id": {"b": 0, "a": 1}}"#).unwrap_err();
        assert_eq!(error, "label2id orders the classes b, a, but id2label a, b");
        let error = read(r#"{"id2label": {"1": "a", "2": "b"}}"#).unwrap_err();
        assert_eq!(error, "id2label does not have a name for each number from 0 on");
    }
}
