//! Errors of data; every message names the file, line, field or client and the values at odds.

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
        /// The reason.
        source: std::io::Error,
    },
    /// A file that breaks off or is not what its name says, such as a broken gzip stream.
    #[error("cannot read {name} after line {line}: {source}")]
    Read {
        /// The file or source.
        name: String,
        /// Lines read so far.
        line: usize,
        /// The reason.
        source: std::io::Error,
    },
    /// A file that is no Parquet file, or a row of one that cannot be read.
    #[error("cannot read {name} after row {row}: {reason}")]
    Parquet {
        /// The file.
        name: String,
        /// Rows read so far.
        row: usize,
        /// The reason.
        reason: String,
    },
    /// A name whose ending tells no format.
    #[error(
        "cannot tell the format of {} from its name: name it .jsonl, .json, .ndjson, .csv, .tsv or .txt, each also .gz or .zst, \
         or .parquet, or set data.format",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A folder without a file to read.
    #[error("{} has no {what}", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
        /// The files that it should have.
        what: String,
    },
    /// A picture that cannot be read.
    #[error("cannot read image {}: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// Data that has changed since the run scanned its records.
    #[error("{name} changed while it was in use: {reason}")]
    Changed {
        /// The file.
        name: String,
        /// The difference.
        reason: String,
    },
    /// Data that cannot be read at all.
    #[error("cannot read {name}: {reason}")]
    Unreadable {
        /// The file or folder.
        name: String,
        /// The reason.
        reason: String,
    },
    /// Records that cannot be used, with `data.invalid` error.
    #[error("{first} ({count} of {read} records cannot be used; data.invalid = \"skip\" leaves such records out)")]
    Invalid {
        /// The message of the first of them.
        first: String,
        /// Their number.
        count: usize,
        /// Records read.
        read: usize,
    },
    /// A record that does not follow its format.
    #[error("{name} {place}: {reason}")]
    Record {
        /// The file or source.
        name: String,
        /// Its line or row, from 1.
        place: String,
        /// The problem.
        reason: String,
    },
    /// A field that a setting asks for and the record lacks.
    #[error("{name} {place} has no field `{field}` ({setting}); its fields are {fields}")]
    MissingField {
        /// The file or source.
        name: String,
        /// Its line or row, from 1.
        place: String,
        /// The field asked for.
        field: String,
        /// The setting that asks for it.
        setting: &'static str,
        /// The fields that the record has.
        fields: String,
    },
    /// A field whose value cannot become text.
    #[error("{name} {place}: field `{field}` ({setting}) is {found}, it must be text, a number or a truth value")]
    FieldKind {
        /// The file or source.
        name: String,
        /// Its line or row, from 1.
        place: String,
        /// The field.
        field: String,
        /// The setting that asks for it.
        setting: &'static str,
        /// The kind of value found.
        found: &'static str,
    },
    /// A label that `data.classes` does not have.
    #[error("{name} {place} has the label `{label}` (data.label), data.classes has {classes}")]
    UnknownClass {
        /// The file or source.
        name: String,
        /// Its line or row, from 1.
        place: String,
        /// The label.
        label: String,
        /// The names of the classes.
        classes: String,
    },
    /// A template that does not parse.
    #[error("{setting} `{template}`: {reason}")]
    Template {
        /// The setting.
        setting: &'static str,
        /// The template.
        template: String,
        /// The problem.
        reason: String,
    },
    /// A setting outside its range.
    #[error("{key} is {found}, it must be {allowed}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Its value.
        found: String,
        /// The allowed values.
        allowed: String,
    },
    /// Data without a record.
    #[error("{name} has no record: {read} were read, all shorter than data.min_chars ({min_chars}) characters")]
    NoRecords {
        /// The file or source.
        name: String,
        /// Records read.
        read: usize,
        /// The least number of characters of a record.
        min_chars: usize,
    },
    /// More clients than the data can give.
    #[error("partition.clients is {wanted}, {name} has {found} {unit}")]
    TooManyClients {
        /// The file or source.
        name: String,
        /// Clients asked for.
        wanted: usize,
        /// Number of units that there are.
        found: usize,
        /// The unit, such as records or groups.
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
        share: f64,
    },
    /// A Dirichlet split with a client that stays too small in every draw.
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
    /// A client that gets no record by the given numbers.
    #[error(
        "client {client} of {clients} has no share of the {records} records of {name}: take fewer partition.clients or another \
         partition.kind"
    )]
    NoShare {
        /// The client's number, from 0.
        client: usize,
        /// Clients.
        clients: usize,
        /// Records.
        records: usize,
        /// The file or source.
        name: String,
    },
    /// A class with fewer records than clients that are to have it.
    #[error("class `{class}` has {records} records, but {clients} clients are to share it")]
    ClassTooSmall {
        /// The class.
        class: String,
        /// Its records.
        records: usize,
        /// Clients that are to have it.
        clients: usize,
    },
    /// Fewer shards than clients want.
    #[error(
        "shard partition: {records} records make {shards} shards of {size}, but {clients} clients are to have {} each",
        (*each).max(1)
    )]
    TooFewShards {
        /// Number of shards.
        shards: usize,
        /// Records of a shard.
        size: usize,
        /// Clients.
        clients: usize,
        /// `partition.num_shards_per_partition`; 0 deals all.
        each: usize,
        /// Records.
        records: usize,
    },
    /// A tokenizer that cannot be read, or a text that it cannot encode.
    #[error("tokenizer {name}: {reason}")]
    Tokenizer {
        /// The tokenizer's file or name.
        name: String,
        /// The problem.
        reason: String,
    },
}

impl DataError {
    /// True where it concerns one record, so that the others can be used.
    pub(super) fn is_of_a_record(&self) -> bool {
        matches!(
            self,
            Self::Record { .. }
                | Self::MissingField { .. }
                | Self::FieldKind { .. }
                | Self::UnknownClass { .. }
                | Self::Image { .. }
        )
    }

    /// A setting outside its range.
    pub(super) fn value(key: &'static str, found: impl Display, allowed: impl Display) -> Self {
        Self::Value { key, found: found.to_string(), allowed: allowed.to_string() }
    }

    /// A text of the data as errors quote it, cut where it is long.
    pub(super) fn quoted(text: &str) -> String {
        const MOST: usize = 100;
        match text.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.into(),
        }
    }

    /// Names as errors list them; only the first ones where there are many.
    pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
        const MOST: usize = 30;
        let names: Vec<String> = names.map(Self::quoted).collect();
        match names.len() {
            0 => "none".into(),
            1..=MOST => names.join(", "),
            count => format!("{} and {} more", names[..MOST].join(", "), count - MOST),
        }
    }
}
