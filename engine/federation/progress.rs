//! The events of a run, and its summary at the end.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Timing;
use crate::report::Completion;
use crate::server::{EndedBy, RoundRow};

/// An event of a run. The receiver prints it; nothing depends on it.
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
        /// The name of the accuracy: `accuracy` of classes, `token accuracy` of the next token.
        metric: &'static str,
        /// The run directory.
        run_dir: PathBuf,
        /// Rounds in all.
        rounds: u32,
        /// True where not all rounds have the same learning rate.
        rates_change: bool,
        /// First round to run; above 1 when resumed.
        first_round: u32,
    },
    /// A client's update was accepted, or the client was dropped.
    Client {
        /// The round.
        round: u32,
        /// The client's name.
        client: String,
        /// The reason of its drop; none when its update was accepted.
        dropped: Option<String>,
        /// Clients of this round that are through.
        done: u32,
        /// Clients asked this round.
        cohort: u32,
    },
    /// A part of an evaluation has ended.
    Evaluated {
        /// Records through so far.
        done: usize,
        /// Records of the whole evaluation.
        of: usize,
    },
    /// A round was closed durably.
    Round(Box<RoundRow>),
    /// Something changed as it was meant to: a policy was replaced.
    Note(String),
    /// An actor was restarted, or something else that an operator wants to know; it is in the log already.
    Warning(String),
}

/// The results of a run; `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The run directory.
    pub run_dir: PathBuf,
    /// Rounds closed.
    pub rounds: u32,
    /// Updates that were aggregated, in all rounds.
    #[serde(default)]
    pub completed: u64,
    /// Clients that failed, were late or were rejected, in all rounds.
    #[serde(default)]
    pub dropped: u64,
    /// Rounds that missed their quorum: they changed nothing.
    #[serde(default)]
    pub rounds_without_quorum: u32,
    /// Number of them that are the last rounds: the adapter is that of the round before them.
    #[serde(default)]
    pub last_rounds_without_quorum: u32,
    /// Clients in the roster.
    pub clients: usize,
    /// Adapter values, `P`.
    pub values: usize,
    /// Records that it was evaluated on.
    #[serde(default)]
    pub eval_records: usize,
    /// Records that are held out, evaluated or not.
    #[serde(default)]
    pub held_out_records: usize,
    /// Loss of the base model on the validation data, nats a token.
    pub eval_loss_before: Option<f64>,
    /// Loss at the last evaluation after a round, on what a client would see or its running mean; none where there was none.
    pub eval_loss_after: Option<f64>,
    /// The name of the accuracy: `accuracy` of classes, `token accuracy` of the next token.
    #[serde(default)]
    pub metric: String,
    /// Accuracy of the base model on the validation data.
    #[serde(default)]
    pub eval_metric_before: Option<f64>,
    /// Accuracy at the last evaluation after a round.
    #[serde(default)]
    pub eval_metric_after: Option<f64>,
    /// Bytes down.
    pub bytes_down: u64,
    /// Bytes up.
    pub bytes_up: u64,
    /// Bytes both ways.
    pub bytes_total: u64,
    /// `run.byte_budget`; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byte_budget: Option<u64>,
    /// Bytes of dense f32 both ways, in the same frames.
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
    /// CPU seconds by purpose.
    #[serde(default)]
    pub timing: Timing,
    /// Epsilon spent; absent without differential privacy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// The reason of the run's end.
    #[serde(default)]
    pub ended_by: EndedBy,
    /// True where the run was stopped before its last round; `--resume` goes on.
    pub interrupted: bool,
    /// Largest resident set of this process so far, bytes.
    pub peak_rss_bytes: u64,
    /// Prompts with what the model puts after them, before and after training.
    #[serde(default)]
    pub completions: Vec<Completion>,
}

impl Summary {
    /// The reason why the run is no success though it came to its end: no round fits in its budget, or its last rounds
    /// changed nothing. None where they did.
    pub fn in_vain(&self) -> Option<String> {
        if let (EndedBy::ByteBudget, 0, Some(budget)) = (self.ended_by, self.rounds, self.byte_budget) {
            return Some(format!(
                "run.byte_budget is {budget}, less than the first round may take: nothing was trained"
            ));
        }
        let (missed, rounds) = (self.last_rounds_without_quorum, self.rounds);
        let last = rounds.saturating_sub(missed);
        (missed > 0).then(|| {
            format!("the last {missed} of {rounds} rounds missed their quorum and changed nothing: the adapter is that of round {last}")
        })
    }
}
