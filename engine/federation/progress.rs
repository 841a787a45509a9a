//! What a run tells while it goes on and when it ends.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Bytes of real frames in one direction, by what they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DirectionBytes {
    /// Frames counted.
    pub frames: u64,
    /// Bytes of coded indices.
    pub indices: u64,
    /// Bytes of coded values.
    pub values: u64,
    /// Bytes that a policy coded by itself.
    pub other: u64,
    /// Headers, section heads, checksums.
    pub framing: u64,
}

/// One line of `metrics.jsonl`: a closed round. Round 0 is the state before any training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundRow {
    /// Rounds closed so far, this one included.
    pub round: u32,
    /// Clients asked.
    pub cohort: u32,
    /// Clients whose update was aggregated.
    pub completed: u32,
    /// Clients that failed, were late or were rejected.
    pub dropped: u32,
    /// Mean nats a token over the cohort's local training; none in round 0.
    pub train_loss: Option<f64>,
    /// Mean nats a predicted token of the validation data, on what a client would see; none where not evaluated.
    pub eval_loss: Option<f64>,
    /// Perplexity, `exp(eval_loss)`.
    pub eval_metric: Option<f64>,
    /// The same loss on the server's dense copy.
    pub eval_loss_dense_copy: Option<f64>,
    /// L2 norm of the aggregated update.
    pub update_norm: Option<f64>,
    /// Bytes down so far.
    pub bytes_down: u64,
    /// Bytes up so far.
    pub bytes_up: u64,
    /// Bytes both ways so far.
    pub bytes_total: u64,
    /// What dense f32 both ways would have cost so far, in the same frames.
    pub dense_bytes_total: u64,
    /// Down by kind, so far.
    pub down: DirectionBytes,
    /// Up by kind, so far.
    pub up: DirectionBytes,
    /// Seconds of this round.
    pub seconds: f64,
}

/// What a run tells while it goes on. The receiver prints it; nothing depends on it.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Everything is loaded and checked.
    Ready {
        /// One line on the model.
        model: String,
        /// Clients in the roster.
        clients: usize,
        /// Adapter values, `P`.
        values: usize,
        /// Where the run lies.
        run_dir: PathBuf,
        /// Rounds in all.
        rounds: u32,
        /// First round to run; above 1 when resumed.
        first_round: u32,
    },
    /// A client's update was accepted, or the client was dropped.
    Client {
        /// The round.
        round: u32,
        /// The client's name.
        client: String,
        /// Why it was dropped; none when its update was accepted.
        dropped: Option<String>,
        /// Clients of this round that are through.
        done: u32,
        /// Clients asked this round.
        cohort: u32,
    },
    /// A round was closed durably.
    Round(RoundRow),
    /// An actor was restarted, or something else that an operator wants to know.
    Warning(String),
}

/// How a run ended; `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Where the run lies.
    pub run_dir: PathBuf,
    /// Rounds closed.
    pub rounds: u32,
    /// Clients in the roster.
    pub clients: usize,
    /// Adapter values, `P`.
    pub values: usize,
    /// Loss of the base model on the validation data, nats a token.
    pub eval_loss_before: Option<f64>,
    /// Loss after the last round, on what a client would see.
    pub eval_loss_after: Option<f64>,
    /// Bytes down.
    pub bytes_down: u64,
    /// Bytes up.
    pub bytes_up: u64,
    /// Bytes both ways.
    pub bytes_total: u64,
    /// What dense f32 both ways would have cost, in the same frames.
    pub dense_bytes_total: u64,
    /// `dense_bytes_total / bytes_total`.
    pub reduction: f64,
    /// The PEFT folder.
    pub adapter: PathBuf,
    /// BLAKE3 of the adapter's values.
    pub adapter_hash: String,
    /// The report.
    pub report: PathBuf,
    /// Seconds of this process.
    pub seconds: f64,
    /// Whether the run was stopped before its last round; `--resume` goes on.
    pub interrupted: bool,
    /// Largest resident set of this process so far, bytes.
    pub peak_rss_bytes: u64,
}
