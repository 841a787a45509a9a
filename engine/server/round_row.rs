//! A closed round's line of `metrics.jsonl`.

use serde::{Deserialize, Serialize};

use crate::link::DirectionBytes;

/// The policies of a round, each as its name, `@` and the first 16 digits of its component's hash.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowPolicies {
    /// Server to client.
    pub download: String,
    /// Client to server.
    pub upload: String,
    /// Updates of the cohort to one update.
    pub aggregate: String,
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
    /// Clients that had to complete for the round to count; 0 in round 0. With fewer the weights stay as they were.
    #[serde(default)]
    pub quorum: u32,
    /// The clients' learning rate; none in round 0 and where nothing is trained.
    #[serde(default)]
    pub lr: Option<f64>,
    /// Mean nats a token over the cohort's local training; none in round 0.
    pub train_loss: Option<f64>,
    /// Mean nats a prediction of the validation data, on the decoded broadcast or its running mean; none where not
    /// evaluated.
    pub eval_loss: Option<f64>,
    /// Accuracy on the validation data: the share of tokens, or examples, whose most likely choice is right.
    pub eval_metric: Option<f64>,
    /// `eval_loss` of the server's dense copy; none without `server.eval_dense`.
    pub eval_loss_dense_copy: Option<f64>,
    /// L2 norm of the aggregated update.
    pub update_norm: Option<f64>,
    /// Bytes down so far.
    pub bytes_down: u64,
    /// Bytes up so far.
    pub bytes_up: u64,
    /// Bytes both ways so far.
    pub bytes_total: u64,
    /// Bytes so far of the same frames in dense f32, both ways.
    pub dense_bytes_total: u64,
    /// Down by kind, so far.
    pub down: DirectionBytes,
    /// Up by kind, so far.
    pub up: DirectionBytes,
    /// The policies.
    #[serde(default)]
    pub policies: RowPolicies,
    /// Epsilon spent so far; absent without differential privacy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// Seconds of this round.
    pub seconds: f64,
}
