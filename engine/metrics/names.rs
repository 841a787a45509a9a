//! Every metric name, as it stands on the endpoint. A test holds this list against the registry and the dashboard.

/// Prefix of every name.
pub const PREFIX: &str = "cellm";

/// The product's own metrics, without the prefix.
pub const OWN: [&str; 29] = [
    ACTOR_RESTARTS,
    BUILD_INFO,
    CLIENTS,
    CLIENTS_IN_FLIGHT,
    CLIENTS_REGISTERED,
    DECODE_DURATION,
    ENCODE_DURATION,
    EVAL_LOSS,
    EVAL_LOSS_DENSE_COPY,
    JOURNAL_BYTES,
    JOURNAL_COMMIT_DURATION,
    LAST_ROUND_CLOSED,
    LOSS_NOT_FINITE,
    MAILBOX_DEPTH,
    POLICY_CALL_DURATION,
    POLICY_TRAPS,
    ROUND,
    ROUNDS,
    ROUNDS_PLANNED,
    ROUND_DURATION,
    TRAINER_CPU,
    TRAINING_DURATION,
    TRAINING_STEPS,
    TRAINING_TOKENS,
    TRAIN_LOSS,
    UPDATE_NORM,
    WIRE_BYTES,
    WIRE_DENSE_EQUIVALENT_BYTES,
    WIRE_FRAMES,
];

/// Metrics of the process, without the prefix; Linux only.
pub const PROCESS: [&str; 7] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

pub(super) const ACTOR_RESTARTS: &str = "actor_restarts_total";
pub(super) const BUILD_INFO: &str = "build_info";
pub(super) const CLIENTS: &str = "clients_total";
pub(super) const CLIENTS_IN_FLIGHT: &str = "clients_in_flight";
pub(super) const CLIENTS_REGISTERED: &str = "clients_registered";
pub(super) const DECODE_DURATION: &str = "decode_duration_seconds";
pub(super) const ENCODE_DURATION: &str = "encode_duration_seconds";
pub(super) const EVAL_LOSS: &str = "eval_loss";
pub(super) const EVAL_LOSS_DENSE_COPY: &str = "eval_loss_dense_copy";
pub(super) const JOURNAL_BYTES: &str = "journal_bytes";
pub(super) const JOURNAL_COMMIT_DURATION: &str = "journal_commit_duration_seconds";
pub(super) const LAST_ROUND_CLOSED: &str = "last_round_closed_timestamp_seconds";
pub(super) const LOSS_NOT_FINITE: &str = "loss_not_finite_total";
pub(super) const MAILBOX_DEPTH: &str = "mailbox_depth";
pub(super) const POLICY_CALL_DURATION: &str = "policy_call_duration_seconds";
pub(super) const POLICY_TRAPS: &str = "policy_traps_total";
pub(super) const ROUND: &str = "round";
pub(super) const ROUNDS: &str = "rounds_total";
pub(super) const ROUNDS_PLANNED: &str = "rounds_planned";
pub(super) const ROUND_DURATION: &str = "round_duration_seconds";
pub(super) const TRAINER_CPU: &str = "trainer_cpu_seconds_total";
pub(super) const TRAINING_DURATION: &str = "training_duration_seconds";
pub(super) const TRAINING_STEPS: &str = "training_steps_total";
pub(super) const TRAINING_TOKENS: &str = "training_tokens_total";
pub(super) const TRAIN_LOSS: &str = "train_loss";
pub(super) const UPDATE_NORM: &str = "update_norm";
pub(super) const WIRE_BYTES: &str = "wire_bytes_total";
pub(super) const WIRE_DENSE_EQUIVALENT_BYTES: &str = "wire_dense_equivalent_bytes_total";
pub(super) const WIRE_FRAMES: &str = "wire_frames_total";
