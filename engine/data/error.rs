//! What can be wrong with data; every message names the file, line, field or client and the values at odds.

use std::fmt::Display;
use std::path::PathBuf;

/// An error of the data room.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file that cannot be opened.
    #[error("cannot open data file {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that breaks off or is not what its name says, such as a broken gzip stream.
    #[error("cannot read {name} after line {line}: {source}")]
    Read {
        /// The file or source.
        name: String,
        /// Lines read so far.
        line: usize,
        /// Why.
        source: std::io::Error,
    },
    /// A name that does not tell the format.
    #[error(
        "cannot tell the format of {} from its name: name it .jsonl, .jsonl.gz, .txt or .txt.gz, or set data.format",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A line that is not a JSON object.
    #[error("{name} line {line} (record {record}): {reason}")]
    Json {
        /// The file or source.
        name: String,
        /// Line, from 1.
        line: usize,
        /// Record, from 1.
        record: usize,
        /// What is wrong.
        reason: String,
    },
    /// A field that a setting asks for and the record lacks.
    #[error("{name} line {line} has no field `{field}` ({setting}); its fields are {fields}")]
    MissingField {
        /// The file or source.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The field asked for.
        field: String,
        /// The setting that asks for it.
        setting: &'static str,
        /// The fields that the record has.
        fields: String,
    },
    /// A field whose value cannot become text.
    #[error("{name} line {line}: field `{field}` ({setting}) is {found}, it must be text, a number or a truth value")]
    FieldKind {
        /// The file or source.
        name: String,
        /// Line, from 1.
        line: usize,
        /// The field.
        field: String,
        /// The setting that asks for it.
        setting: &'static str,
        /// What was found.
        found: &'static str,
    },
    /// A template that does not parse.
    #[error("data.template `{template}`: {reason}")]
    Template {
        /// The template.
        template: String,
        /// What is wrong.
        reason: String,
    },
    /// A setting outside its range.
    #[error("{key} is {found}, it must be {allowed}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        allowed: String,
    },
    /// Data without a record.
    #[error("{name} has no record: {read} were read, all shorter than data.min_chars ({min_chars}) characters")]
    NoRecords {
        /// The file or source.
        name: String,
        /// Records read.
        read: usize,
        /// The least characters of a record.
        min_chars: usize,
    },
    /// More clients asked for than the data can give.
    #[error("partition.clients is {wanted}, {name} has {found} {unit}")]
    TooManyClients {
        /// The file or source.
        name: String,
        /// Clients asked for.
        wanted: usize,
        /// What there is.
        found: usize,
        /// Of what.
        unit: &'static str,
    },
    /// A client without training data.
    #[error(
        "client `{client}` has no training record: {records} records in its shard, {validation} of them held out \
         (data.validation {share})"
    )]
    EmptyShard {
        /// The client.
        client: String,
        /// Records of its shard.
        records: usize,
        /// Held out.
        validation: usize,
        /// The share asked for.
        share: f32,
    },
    /// A Dirichlet split that leaves some client too small, however often it is drawn.
    #[error(
        "dirichlet partition: the smallest client got {smallest} records at best in {attempts} draws, \
         partition.min_partition_size is {wanted} (partition.alpha {alpha}, {clients} clients, {records} records)"
    )]
    PartitionTooSmall {
        /// Records of the smallest client in the best draw.
        smallest: usize,
        /// Draws made.
        attempts: usize,
        /// Records asked for.
        wanted: usize,
        /// The concentration.
        alpha: f64,
        /// Clients.
        clients: usize,
        /// Records.
        records: usize,
    },
    /// A tokenizer that cannot be read, or a text that it cannot encode.
    #[error("tokenizer {name}: {reason}")]
    Tokenizer {
        /// The tokenizer's file or name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl DataError {
    /// A setting outside its range.
    pub(super) fn value(key: &'static str, found: impl Display, allowed: impl Display) -> Self {
        Self::Value { key, found: found.to_string(), allowed: allowed.to_string() }
    }
}
