//! One run directory, read into memory. The field names are the contract of the run directory's files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::ops::Add;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ReportError;

/// Bytes of one direction by what they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Kinds {
    /// Frames counted.
    pub frames: u64,
    /// Bytes of coded indices.
    pub indices: u64,
    /// Bytes of coded values.
    pub values: u64,
    /// Bytes that a policy coded by itself.
    pub other: u64,
    /// Headers and checksums.
    pub framing: u64,
    /// Frames that bring clients up to date that missed rounds.
    pub catch_up: u64,
    /// Messages beside frames in a deployed federation.
    pub control: u64,
}

impl Add for Kinds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            indices: self.indices + other.indices,
            values: self.values + other.values,
            other: self.other + other.other,
            framing: self.framing + other.framing,
            catch_up: self.catch_up + other.catch_up,
            control: self.control + other.control,
        }
    }
}

/// One closed round; a line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Row {
    /// Rounds closed so far; 0 is the state before any training.
    pub round: u32,
    /// Clients asked.
    #[serde(default)]
    pub cohort: u32,
    /// Clients aggregated.
    #[serde(default)]
    pub completed: u32,
    /// Clients dropped.
    #[serde(default)]
    pub dropped: u32,
    /// Clients that had to complete for the round to count; 0 where that is not known.
    #[serde(default)]
    pub quorum: u32,
    /// The clients' learning rate.
    #[serde(default)]
    pub lr: Option<f64>,
    /// Nats a token in local training.
    pub train_loss: Option<f64>,
    /// Nats a predicted token on validation data, as a client would see it.
    pub eval_loss: Option<f64>,
    /// The metric of the same evaluation, such as a share of right answers.
    pub eval_metric: Option<f64>,
    /// The same on the server's dense copy.
    pub eval_loss_dense_copy: Option<f64>,
    /// Bytes down so far.
    pub bytes_down: u64,
    /// Bytes up so far.
    pub bytes_up: u64,
    /// Bytes both ways so far.
    pub bytes_total: u64,
    /// Bytes both ways so far had every frame been dense f32.
    #[serde(default)]
    pub dense_bytes_total: u64,
    /// Down by kind.
    #[serde(default)]
    pub down: Kinds,
    /// Up by kind.
    #[serde(default)]
    pub up: Kinds,
    /// Seconds of the round.
    #[serde(default)]
    pub seconds: f64,
}

impl Row {
    /// True where too few clients completed, so that the round changed nothing.
    pub fn missed_quorum(&self) -> bool {
        self.completed < self.quorum
    }
}

/// One client's part in one round; a line of `clients.jsonl`.
#[derive(Debug, Clone, Deserialize)]
struct ClientRow {
    round: u32,
    client: u32,
    #[serde(default)]
    name: String,
    outcome: String,
    reason: Option<String>,
    loss: Option<f64>,
    #[serde(default)]
    bytes_down: u64,
    #[serde(default)]
    bytes_up: u64,
}

/// One client's totals over the whole run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Client {
    /// Display name.
    pub name: String,
    /// Rounds in which its update was aggregated.
    pub completed: u32,
    /// Rounds in which it was dropped.
    pub dropped: u32,
    /// Reasons of the drops with their counts.
    pub reasons: BTreeMap<String, u32>,
    /// Loss of its last local training.
    pub last_loss: Option<f64>,
    /// Bytes sent to it.
    pub bytes_down: u64,
    /// Bytes it sent.
    pub bytes_up: u64,
}

/// The keys of `summary.json` that the report shows.
#[derive(Debug, Clone, Deserialize)]
pub struct Summary {
    /// Clients in the roster.
    pub clients: usize,
    /// Adapter values.
    pub values: usize,
    /// The name of the accuracy.
    #[serde(default)]
    pub metric: String,
    /// BLAKE3 of the adapter.
    #[serde(default)]
    pub adapter_hash: String,
    /// Stopped before its last round.
    #[serde(default)]
    pub interrupted: bool,
    /// The reason of its end.
    #[serde(default)]
    pub ended_by: String,
    /// Bytes that it might send; none for any number.
    #[serde(default)]
    pub byte_budget: Option<u64>,
    /// Records that it was evaluated on.
    #[serde(default)]
    pub eval_records: usize,
    /// Records that are held out, evaluated or not.
    #[serde(default)]
    pub held_out_records: usize,
    /// Largest resident set, bytes.
    #[serde(default)]
    pub peak_rss_bytes: u64,
    /// CPU seconds by purpose.
    #[serde(default)]
    pub timing: Timing,
    /// Completions before and after training.
    #[serde(default)]
    pub completions: Vec<Completion>,
}

/// A prompt with two greedy completions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// The prompt.
    pub prompt: String,
    /// The completion with the adapter that the run started from.
    pub before: String,
    /// The completion with the adapter that it ended with.
    pub after: String,
}

/// CPU seconds by what they were for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// Local training.
    pub training_cpu_s: f64,
    /// Evaluation.
    pub evaluation_cpu_s: f64,
    /// Everything else, where it is known.
    pub other_cpu_s: Option<f64>,
    /// Everything else as a share of all, where it is known.
    pub overhead: Option<f64>,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    /// The run directory.
    pub dir: PathBuf,
    /// The directory's own name.
    pub name: String,
    /// Closed rounds in order, each once.
    pub rows: Vec<Row>,
    /// Clients by number.
    pub clients: BTreeMap<u32, Client>,
    /// `summary.json`, where the run wrote it.
    pub summary: Option<Summary>,
    /// `config.toml` as text; empty where it is missing.
    pub config: String,
    /// True for the run that the report's reader named as the baseline.
    pub is_named_baseline: bool,
}

impl Run {
    /// Reads one run directory.
    ///
    /// # Errors
    /// A missing `metrics.jsonl`, an unreadable file or a corrupt line. A last line without its line end is what a killed
    /// run leaves and is skipped.
    pub fn read(dir: &Path) -> Result<Run, ReportError> {
        let mut rows = BTreeMap::new();
        lines(&dir.join("metrics.jsonl"), true, |row: Row| {
            rows.insert(row.round, row);
        })?;
        let mut clients = BTreeMap::new();
        lines(&dir.join("clients.jsonl"), false, |row: ClientRow| {
            clients.insert((row.client, row.round), row);
        })?;
        let summary = dir.join("summary.json");
        let summary = match optional(&summary)? {
            Some(text) => Some(serde_json::from_str(&text).map_err(|error| ReportError::Line {
                path: summary,
                line: error.line(),
                reason: error.to_string(),
            })?),
            None => None,
        };
        let full = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        Ok(Run {
            dir: dir.to_owned(),
            name: full.file_name().unwrap_or(full.as_os_str()).to_string_lossy().into_owned(),
            rows: rows.into_values().collect(),
            clients: by_client(clients.into_values()),
            summary,
            config: optional(&dir.join("config.toml"))?.unwrap_or_default(),
            is_named_baseline: false,
        })
    }

    /// True where `name` is this run's directory, however written, or that directory's own name.
    pub fn is_named(&self, name: &Path) -> bool {
        let same = |full: PathBuf| std::fs::canonicalize(&self.dir).is_ok_and(|own| own == full);
        name == Path::new(&self.name) || std::fs::canonicalize(name).is_ok_and(same)
    }

    /// The last closed round.
    pub fn last(&self) -> Option<&Row> {
        self.rows.last()
    }

    /// First and last measured validation loss, in nats a prediction; none where nothing was evaluated after a round.
    pub fn losses(&self) -> Option<(f64, f64)> {
        self.first_and_last(|row| row.eval_loss)
    }

    /// The first measured value and the last after a round; none without one after a round.
    pub fn first_and_last(&self, value: impl Fn(&Row) -> Option<f64>) -> Option<(f64, f64)> {
        let first = self.rows.iter().find_map(&value)?;
        let last = self.rows.iter().rev().filter(|row| row.round > 0).find_map(value)?;
        Some((first, last))
    }

    /// The first learning rate and the last.
    pub fn rates(&self) -> Option<(f64, f64)> {
        let rates = || self.rows.iter().filter_map(|row| row.lr);
        rates().next().zip(rates().next_back())
    }

    /// True where not all rounds had the same learning rate.
    pub fn rates_change(&self) -> bool {
        let first = self.rates().map(|(first, _)| first);
        self.rows.iter().any(|row| row.lr.is_some() && row.lr != first)
    }

    /// Clients dropped in all rounds.
    pub fn dropped(&self) -> u64 {
        self.rows.iter().map(|row| u64::from(row.dropped)).sum()
    }

    /// Rounds that missed their quorum, and how many of them are the last ones.
    pub fn missed_rounds(&self) -> (usize, usize) {
        let last = self.rows.iter().rev().take_while(|row| row.missed_quorum()).count();
        (self.rows.iter().filter(|row| row.missed_quorum()).count(), last)
    }

    /// The name of the accuracy, as a heading has it.
    pub fn metric(&self) -> &str {
        match self.summary.as_ref().map(|summary| summary.metric.as_str()) {
            Some("token accuracy") => "Token accuracy",
            _ => "Accuracy",
        }
    }
}

fn by_client(rows: impl Iterator<Item = ClientRow>) -> BTreeMap<u32, Client> {
    let mut clients: BTreeMap<u32, Client> = BTreeMap::new();
    for row in rows {
        let client = clients.entry(row.client).or_default();
        client.name = if row.name.is_empty() { format!("client {}", row.client) } else { row.name };
        client.last_loss = row.loss.or(client.last_loss);
        client.bytes_down += row.bytes_down;
        client.bytes_up += row.bytes_up;
        if row.outcome == "completed" {
            client.completed += 1;
        } else {
            client.dropped += 1;
            *client.reasons.entry(row.reason.unwrap_or(row.outcome)).or_default() += 1;
        }
    }
    clients
}

fn optional(path: &Path) -> Result<Option<String>, ReportError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError::Read { path: path.to_owned(), source }),
    }
}

fn lines<T: DeserializeOwned>(path: &Path, required: bool, mut each: impl FnMut(T)) -> Result<(), ReportError> {
    let read = |source| ReportError::Read { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if !required && error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(read(source)),
    };
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        if file.read_until(b'\n', &mut text).map_err(read)? == 0 {
            break;
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&text) {
            Ok(row) => each(row),
            Err(_) if text.last() != Some(&b'\n') => break,
            Err(error) => {
                return Err(ReportError::Line { path: path.to_owned(), line, reason: reason(&error) });
            }
        }
    }
    Ok(())
}

fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // serde_json counts lines inside the line that it was given; only the column means something here.
    text.replace(
        &format!(" at line {} column {}", error.line(), error.column()),
        &format!(" at column {}", error.column()),
    )
}
