//! Records: the configured source in, one text a record out, with its label and natural id where those are asked for.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::reader::{self, Lines};
use super::template::Template;
use super::{Config, DataError, Source, Task};

/// One record of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its text, the template applied.
    pub text: String,
    /// Its label, where `data.label` names a field. Equal labels share their memory.
    pub label: Option<Arc<str>>,
    /// What `partition.by` makes of it, where that is asked for: the client (natural-id) or the class (dirichlet).
    /// Equal ids share their memory.
    pub natural_id: Option<Arc<str>>,
    /// The place of its label among [`Dataset::classes`], where the task is classification.
    pub class: Option<u32>,
}

/// All records of a source, in its order. Memory: the texts and about 56 bytes a record.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// The records.
    pub records: Vec<Record>,
    /// The file, or `bundled speeches`.
    pub name: String,
    /// What [`Dataset::classes`] gives.
    pub(super) classes: Arc<[String]>,
}

impl Dataset {
    /// The distinct labels, sorted (numbers by value); none unless the task is classification.
    pub fn classes(&self) -> &Arc<[String]> {
        &self.classes
    }

    /// How many classes the configured source has, which is read for it; 0, and nothing read, unless the task is
    /// classification.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn count_classes(config: &Config) -> Result<usize, DataError> {
        match config.task {
            Task::Classification => Ok(Self::load(config, None)?.classes.len()),
            _ => Ok(0),
        }
    }

    /// Reads the configured source. `by` is `partition.by` where the partitioner needs it
    /// ([`super::partition::Config::field`]): field names, split by commas, whose values are joined by `/`.
    ///
    /// # Errors
    /// A [`DataError`] that names the setting, or the file with the line and the field.
    pub fn load(config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        config.validate()?;
        match (config.source, &config.path) {
            (Source::File | Source::Auto, Some(path)) => Self::load_file(path, config, by),
            _ => Self::read(Lines::bundled(), config, by),
        }
    }

    /// Reads a file, whatever `data.source` and `data.path` say; used to evaluate on data other than the run's.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn load_file(path: &Path, config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        Self::read(Lines::open(path, config.format)?, config, by)
    }

    fn read(mut lines: Lines, config: &Config, by: Option<&str>) -> Result<Self, DataError> {
        let template = Template::parse(&config.template)?;
        let by: Option<Vec<&str>> = by.map(|by| by.split(',').map(str::trim).collect());
        let mut interned = HashSet::new();
        let mut records = Vec::new();
        let mut read = 0;
        while let Some(found) = lines.next_record()? {
            read += 1;
            let mut text = template.fill(|field, text| match field {
                "text" => append(&found, &config.text, "data.text", text),
                other => append(&found, other, "data.template", text),
            })?;
            if text.chars().take(config.min_chars).count() < config.min_chars {
                continue;
            }
            text.shrink_to_fit();
            let mut value = |fields: &[&str], setting| -> Result<Arc<str>, DataError> {
                let mut joined = String::new();
                for (number, field) in fields.iter().enumerate() {
                    if number > 0 {
                        joined.push('/');
                    }
                    append(&found, field, setting, &mut joined)?;
                }
                Ok(intern(&mut interned, joined))
            };
            let label = config.label.as_deref().map(|field| value(&[field], "data.label")).transpose()?;
            let natural_id = by.as_deref().map(|fields| value(fields, "partition.by")).transpose()?;
            records.push(Record { text, label, natural_id, class: None });
        }
        let name = lines.into_name();
        if records.is_empty() {
            return Err(DataError::NoRecords { name, read, min_chars: config.min_chars });
        }
        records.shrink_to_fit();
        let classes = match config.task {
            Task::Classification => classify(&mut records).into(),
            Task::Text => Arc::default(),
        };
        Ok(Self { records, name, classes })
    }
}

/// Gives every record its class and returns the labels in the order of their classes.
fn classify(records: &mut [Record]) -> Vec<String> {
    let mut labels: Vec<Arc<str>> = records.iter().filter_map(|record| record.label.clone()).collect();
    let number = |label: &str| label.parse::<f64>().unwrap_or(f64::INFINITY);
    labels.sort_by(|a, b| number(a).total_cmp(&number(b)).then_with(|| a.cmp(b)));
    labels.dedup();
    let places: HashMap<Arc<str>, u32> = labels.iter().cloned().zip(0..).collect();
    for record in records {
        record.class = record.label.as_ref().and_then(|label| places.get(label).copied());
    }
    labels.iter().map(ToString::to_string).collect()
}

fn intern(known: &mut HashSet<Arc<str>>, text: String) -> Arc<str> {
    if let Some(found) = known.get(text.as_str()) {
        return found.clone();
    }
    let text: Arc<str> = text.into();
    known.insert(text.clone());
    text
}

fn append(found: &reader::Found<'_>, field: &str, setting: &'static str, text: &mut String) -> Result<(), DataError> {
    let kind = match found.fields.get(field) {
        Some(Value::String(value)) => {
            text.push_str(value);
            return Ok(());
        }
        Some(value @ (Value::Number(_) | Value::Bool(_))) => {
            text.push_str(&value.to_string());
            return Ok(());
        }
        Some(Value::Null) => "null",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
        None => {
            return Err(DataError::MissingField {
                name: found.name.into(),
                line: found.line,
                field: field.into(),
                setting,
                fields: names(&found.fields),
            });
        }
    };
    Err(DataError::FieldKind { name: found.name.into(), line: found.line, field: field.into(), setting, found: kind })
}

fn names(fields: &Map<String, Value>) -> String {
    if fields.is_empty() {
        return "none".into();
    }
    fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::bundled;
    use super::*;

    fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        (dir, Config { path: Some(path), ..Config::default() })
    }

    fn error(name: &str, content: &str, change: impl FnOnce(&mut Config), by: Option<&str>) -> String {
        let (dir, mut config) = file(name, content.as_bytes());
        change(&mut config);
        let error = Dataset::load(&config, by).unwrap_err().to_string();
        error.replace(&format!("{}/", dir.path().display()), "")
    }

    const TWO: &str =
        "{\"q\": \"one?\", \"a\": 1, \"topic\": \"n\"}\n\n{\"q\": \"two?\", \"a\": true, \"topic\": \"n\"}\n";

    #[test]
    fn the_template_takes_fields_and_text_stands_for_the_configured_one() {
        let (_dir, mut config) = file("two.jsonl", TWO.as_bytes());
        config.template = "{text} - {a}".into();
        config.text = "q".into();
        config.label = Some("a".into());
        let data = Dataset::load(&config, Some("topic, a")).unwrap();
        let texts: Vec<_> = data.records.iter().map(|record| record.text.as_str()).collect();
        assert_eq!(texts, ["one? - 1", "two? - true"]);
        assert_eq!(data.records[0].label.as_deref(), Some("1"));
        assert_eq!(data.records[1].natural_id.as_deref(), Some("n/true"));
    }

    #[test]
    fn classes_are_the_labels_in_order_numbers_by_value() {
        let lines: String = ["10", "9", "\"b\"", "10", "\"a\""]
            .map(|label| format!("{{\"text\": \"t\", \"label\": {label}}}\n"))
            .concat();
        let (_dir, mut config) = file("labels.jsonl", lines.as_bytes());
        (config.task, config.label) = (Task::Classification, Some("label".into()));
        let data = Dataset::load(&config, None).unwrap();
        assert_eq!(data.classes()[..], ["9", "10", "a", "b"]);
        let classes: Vec<_> = data.records.iter().map(|record| record.class.unwrap()).collect();
        assert_eq!(classes, [1, 0, 3, 1, 2]);
        config.task = Task::Text;
        assert!(Dataset::load(&config, None).unwrap().classes().is_empty());
    }

    #[test]
    fn a_missing_field_is_named_with_the_setting_and_the_fields_that_are_there() {
        assert_eq!(
            error("two.jsonl", TWO, |_| {}, None),
            "two.jsonl line 1 has no field `text` (data.text); its fields are a, q, topic"
        );
        assert_eq!(
            error("two.jsonl", TWO, |config| config.text = "q".into(), Some("play,role")),
            "two.jsonl line 1 has no field `play` (partition.by); its fields are a, q, topic"
        );
        assert_eq!(
            error("two.jsonl", "{\"text\": [1]}", |_| {}, None),
            "two.jsonl line 1: field `text` (data.text) is an array, it must be text, a number or a truth value"
        );
    }

    #[test]
    fn short_records_are_left_out_and_nothing_left_is_an_error() {
        let (_dir, mut config) = file("lines.txt", "abc\n\nabcdéf\n".as_bytes());
        config.min_chars = 6;
        assert_eq!(Dataset::load(&config, None).unwrap().records.len(), 1);
        let message = error("lines.txt", "abc\n\nabcd\n", |config| config.min_chars = 6, None);
        assert_eq!(message, "lines.txt has no record: 2 were read, all shorter than data.min_chars (6) characters");
    }

    #[test]
    fn equal_ids_share_their_memory() {
        let (_dir, mut config) = file("two.jsonl", TWO.as_bytes());
        config.text = "q".into();
        let records = Dataset::load(&config, Some("topic")).unwrap().records;
        assert!(Arc::ptr_eq(records[0].natural_id.as_ref().unwrap(), records[1].natural_id.as_ref().unwrap()));
    }

    #[test]
    fn the_default_source_is_the_bundled_speeches_of_24_roles() {
        let data = Dataset::load(&Config::default(), Some("play,role")).unwrap();
        let ids: HashSet<_> = data.records.iter().map(|record| record.natural_id.clone().unwrap()).collect();
        assert_eq!(ids.len(), 24);
        assert!(ids.contains("hamlet/HAMLET"));
        assert_eq!(data.name, bundled::NAME);
    }
}
