//! Section `data`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::DataError;

/// Which data to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The file at `data.path` where that is set, else the bundled speeches.
    #[default]
    Auto,
    /// The speeches of 24 Shakespeare roles that the program carries.
    Bundled,
    /// The file at `data.path`.
    File,
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// By the file's name: `.jsonl`, `.jsonl.gz`, `.txt`, `.txt.gz`.
    #[default]
    Auto,
    /// One JSON object a line.
    Jsonl,
    /// Plain text; a paragraph (lines up to a blank line) is a record whose only field is `text`.
    Txt,
}

/// What is learned from the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The next token of everything.
    #[default]
    Text,
    /// The class that `data.label` names.
    Classification,
}

/// What becomes of a record with more than `max_tokens` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LongRecords {
    /// It becomes consecutive windows, the last one shorter.
    #[default]
    Split,
    /// It is cut; the rest is not used.
    Truncate,
}

/// What to read and how a record becomes text and tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is learned: text (the next token of everything) or classification (the class that `label` names).
    pub task: Task,
    /// Where records come from: auto (the file at `path` if set, else bundled), bundled or file.
    pub source: Source,
    /// File to read: .jsonl, .jsonl.gz, .txt or .txt.gz.
    pub path: Option<PathBuf>,
    /// How to read the file: auto (by its name), jsonl or txt (a paragraph is a record).
    pub format: Format,
    /// Text of a record; `{field}` stands for a field's value, `{{` and `}}` for braces.
    pub template: String,
    /// The field that `{text}` in the template stands for.
    pub text: String,
    /// Field that holds the record's label, where it has one: its class where the task is classification.
    pub label: Option<String>,
    /// Tokens a training sequence has at most.
    pub max_tokens: usize,
    /// Share of each client's records held out for validation, in [0, 1).
    pub validation: f32,
    /// Records whose text has fewer characters are left out.
    pub min_chars: usize,
    /// A record longer than max_tokens: split (consecutive windows) or truncate; one to classify is always cut.
    pub long: LongRecords,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            task: Task::Text,
            source: Source::Auto,
            path: None,
            format: Format::Auto,
            template: "{text}".into(),
            text: "text".into(),
            label: None,
            max_tokens: 128,
            validation: 0.2,
            min_chars: 1,
            long: LongRecords::Split,
        }
    }
}

impl Config {
    /// Checks what can be checked without reading anything.
    ///
    /// # Errors
    /// [`DataError::Value`] names the key, what was found and what is allowed; a template that does not parse is
    /// [`DataError::Template`].
    pub fn validate(&self) -> Result<(), DataError> {
        if self.max_tokens < 2 {
            return Err(DataError::value("data.max_tokens", self.max_tokens, "at least 2"));
        }
        if !(0.0..1.0).contains(&self.validation) {
            return Err(DataError::value("data.validation", self.validation, "in [0, 1)"));
        }
        if self.source == Source::File && self.path.is_none() {
            return Err(DataError::value("data.path", "not set", "a file, as data.source is `file`"));
        }
        if let (Source::Bundled, Some(path)) = (self.source, &self.path) {
            return Err(DataError::value("data.path", path.display(), "not set, as data.source is `bundled`"));
        }
        if self.task == Task::Classification && self.label.is_none() {
            return Err(DataError::value("data.label", "not set", "a field, as data.task is `classification`"));
        }
        super::template::Template::parse(&self.template).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_config_is_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn a_bad_value_is_named_with_what_is_allowed() {
        let message = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert_eq!(message(|c| c.max_tokens = 1), "data.max_tokens is 1, it must be at least 2");
        assert_eq!(message(|c| c.validation = 1.0), "data.validation is 1, it must be in [0, 1)");
        assert_eq!(message(|c| c.validation = f32::NAN), "data.validation is NaN, it must be in [0, 1)");
        assert!(message(|c| c.source = Source::File).contains("data.path is not set"));
    }

    #[test]
    fn an_unknown_source_lists_the_known_ones() {
        let error = serde_json::from_str::<Config>(r#"{"source": "web"}"#).unwrap_err().to_string();
        assert!(error.contains("web") && error.contains("bundled") && error.contains("file"), "{error}");
    }
}
