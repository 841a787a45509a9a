//! Section `data`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

/// How a file or folder is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// By the name (`.jsonl`, `.json`, `.ndjson`, `.csv`, `.tsv`, `.txt`, each also `.gz` and `.zst`, `.parquet`), or by what a
    /// folder holds.
    #[default]
    Auto,
    /// JSON objects: one a line, over several lines one after the other, or in one list.
    Jsonl,
    /// Values split by commas, in a file that is called `.tsv` by tabs; the first row names the fields.
    Csv,
    /// A Parquet file, or a folder of them, read in the order of their names. A column of pictures as `datasets` writes them
    /// makes every row a picture.
    Parquet,
    /// Plain text; a paragraph (lines up to a blank line) is a record whose only field is `text`.
    Txt,
    /// A folder with a folder of PNG or JPEG files for each class. The fields of a record are `label` and `file`.
    ImageFolder,
    /// The binary version of CIFAR-10: its folder, or one of its files. The fields of a record are `label` and `file`.
    Cifar10,
}

/// What is learned from the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// The next token of everything.
    #[default]
    Text,
    /// The next token of the answers alone.
    Instruction,
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
    /// It is left out.
    Drop,
}

/// What becomes of a record that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Invalid {
    /// Nothing is started; the first one is named, all are counted.
    #[default]
    Error,
    /// It is left out, counted and named.
    Skip,
}

/// What to read and how a record becomes text and tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is learned: text (the next token of everything), instruction (the next token of the answers) or classification
    /// (the class that `label` names; of images too).
    pub task: Task,
    /// Where records come from: auto (the file at `path` if set, else bundled), bundled or file.
    pub source: Source,
    /// What to read: a .jsonl, .json, .ndjson, .csv, .tsv or .txt file, each also .gz or .zst, a .parquet file or a folder of
    /// them, a folder of images, or CIFAR-10 in its binary version. A pipe is read to its end.
    pub path: Option<PathBuf>,
    /// How to read it: auto (by its name, or by what the folder holds), jsonl (objects a line, or in a list), csv, parquet, txt (a paragraph is a record),
    /// image-folder (a folder a class) or cifar10.
    pub format: Format,
    /// Text of a record; `{field}` stands for a field's value, `{{` and `}}` for braces. Or a format of instructions: alpaca
    /// (fields instruction, input, output), dolly (instruction, context, response), sharegpt (conversations) or messages
    /// (messages); the latter two need the chat template of the tokenizer.
    pub template: String,
    /// Text of the answer, which follows the template's, as a template itself; only what it gives is learned where the task
    /// is instruction. The named templates have their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The field that `{text}` in a template stands for.
    pub text: String,
    /// Field that holds the record's label, where it has one: its class where the task is classification.
    pub label: Option<String>,
    /// Names of the classes in their order, where they are to be others than the labels that occur, sorted.
    pub classes: Vec<String>,
    /// Tokens a training sequence has at most.
    pub max_tokens: usize,
    /// Share of each client's records held out for validation, in [0, 1).
    pub validation: f64,
    /// Records whose text has fewer characters are left out.
    pub min_chars: usize,
    /// A record longer than max_tokens: split (consecutive windows), truncate or drop. One with an answer or a class is cut
    /// where this says split; what then has no answer left is left out.
    pub long: LongRecords,
    /// A record that cannot be used (broken, without a field that is asked for, with a value that is no text, refused by the
    /// chat template, a picture that cannot be decoded): error (nothing is started, the record is named) or skip (it is left
    /// out; the first ones are named, all are counted).
    pub invalid: Invalid,
    /// Put the records of a client one after the other in sequences of max_tokens, in which each token sees all before it,
    /// those of other records too; only where the task is text.
    pub packing: bool,
    /// Megabytes of tokens that are kept from round to round; the others are read and made again when they are needed.
    pub cache_mb: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            task: Task::Text,
            source: Source::Auto,
            path: None,
            format: Format::Auto,
            template: "{text}".into(),
            answer: None,
            text: "text".into(),
            label: None,
            classes: Vec::new(),
            max_tokens: 128,
            validation: 0.2,
            min_chars: 1,
            long: LongRecords::Split,
            invalid: Invalid::Error,
            packing: false,
            cache_mb: 256,
        }
    }
}

impl Task {
    /// What the config calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Instruction => "instruction",
            Self::Classification => "classification",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_source_lists_the_known_ones() {
        let error = serde_json::from_str::<Config>(r#"{"source": "web"}"#).unwrap_err().to_string();
        assert!(error.contains("web") && error.contains("bundled") && error.contains("file"), "{error}");
    }
}
