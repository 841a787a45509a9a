//! Every metric as a typed field; the text that Prometheus scrapes comes out.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{Counter, Gauge, Histogram, IntCounter, IntGauge, Registry, TextEncoder};

use super::actors::{Actor, Actors};
use super::policies::{Policies, PolicyMetrics};
use super::registration::{
    CALL_SECONDS, ROUND_SECONDS, WORK_SECONDS, counter, counters, float_gauge, gauge, histogram, info, seconds,
};
use super::wire::{DirectionMetrics, Wire};
use super::{MetricsError, names};

/// Clients asked, by how it ended.
#[derive(Debug, Clone)]
pub struct Clients {
    /// Its update was aggregated.
    pub completed: IntCounter,
    /// Its training, its policy or its link failed.
    pub failed: IntCounter,
    /// It did not answer before the deadline.
    pub late: IntCounter,
    /// Its update was not acceptable: not finite, too large, malformed.
    pub rejected: IntCounter,
}

/// All metrics of one run. Share it behind an `Arc`.
pub struct Metrics {
    registry: Registry,
    /// Rounds closed, of a resumed run those before too.
    pub rounds: IntCounter,
    /// Seconds of a round, from sampling to its commit.
    pub round_seconds: Histogram,
    /// The last closed round's number; after a resume it goes on from where the run stood.
    pub round: IntGauge,
    /// Rounds that the run will have.
    pub rounds_planned: IntGauge,
    /// When the last round closed, in seconds since 1970; the process's start until then. See [`Metrics::round_closed`].
    pub last_round_closed: Gauge,
    /// Clients in the roster.
    pub clients_registered: IntGauge,
    /// Clients asked and not yet through.
    pub clients_in_flight: IntGauge,
    /// Clients asked, by how it ended.
    pub clients: Clients,
    /// Server to clients.
    pub download: DirectionMetrics,
    /// Clients to server.
    pub upload: DirectionMetrics,
    /// Local optimizer steps.
    pub training_steps: IntCounter,
    /// Tokens that local steps predicted.
    pub training_tokens: IntCounter,
    /// Seconds of one client's local training.
    pub training_seconds: Histogram,
    /// CPU seconds of local training.
    pub training_cpu_seconds: Counter,
    /// CPU seconds of evaluation.
    pub evaluation_cpu_seconds: Counter,
    /// Mean nats a token over the last cohort's local training.
    pub train_loss: Gauge,
    /// Mean nats a predicted token of the validation data, on what a client would see or its running mean.
    pub eval_loss: Gauge,
    /// The same on the server's dense copy.
    pub eval_loss_dense_copy: Gauge,
    /// Losses of closed rounds, of training or evaluation, that are no finite number.
    pub loss_not_finite: IntCounter,
    /// L2 norm of the last aggregated update.
    pub update_norm: Gauge,
    /// Bytes of the journal on disk.
    pub journal_bytes: IntGauge,
    /// Seconds of a durable commit.
    pub journal_commit_seconds: Histogram,
    policies: Policies,
    actors: Actors,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").field("round", &self.round.get()).finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at 0, losses not float_gauge, in a registry of their own.
    pub fn new() -> Self {
        let registry = new_registry();
        let r = &registry;
        info(
            r,
            names::BUILD_INFO,
            "Always 1; the labels say what is running.",
            &[("version", env!("CARGO_PKG_VERSION")), ("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)],
        );
        let wire = Wire::new(r);
        let trainer_cpu = seconds(r, names::TRAINER_CPU, "CPU seconds of the trainers, by what they did.", &["work"]);
        let metrics = Self {
            rounds: counter(r, names::ROUNDS, "Rounds closed, of a resumed run those before too."),
            round_seconds: histogram(r, names::ROUND_DURATION, "Seconds of a round.", ROUND_SECONDS),
            round: gauge(r, names::ROUND, "Number of the last closed round."),
            rounds_planned: gauge(r, names::ROUNDS_PLANNED, "Rounds that the run will have."),
            last_round_closed: float_gauge(
                r,
                names::LAST_ROUND_CLOSED,
                "When the last round closed, or the run began.",
            ),
            clients_registered: gauge(r, names::CLIENTS_REGISTERED, "Clients in the roster."),
            clients_in_flight: gauge(r, names::CLIENTS_IN_FLIGHT, "Clients asked and not yet through."),
            clients: clients(r),
            download: wire.direction("download"),
            upload: wire.direction("upload"),
            training_steps: counter(r, names::TRAINING_STEPS, "Local optimizer steps."),
            training_tokens: counter(r, names::TRAINING_TOKENS, "Tokens that local steps predicted."),
            training_seconds: histogram(
                r,
                names::TRAINING_DURATION,
                "Seconds of one client's local training.",
                WORK_SECONDS,
            ),
            training_cpu_seconds: trainer_cpu.with_label_values(&["training"]),
            evaluation_cpu_seconds: trainer_cpu.with_label_values(&["evaluation"]),
            train_loss: float_gauge(r, names::TRAIN_LOSS, "Mean nats a token over the last cohort's local training."),
            eval_loss: float_gauge(
                r,
                names::EVAL_LOSS,
                "Mean nats a predicted token of the validation data, on what a client would see or its running mean.",
            ),
            eval_loss_dense_copy: float_gauge(
                r,
                names::EVAL_LOSS_DENSE_COPY,
                "Mean nats a predicted token of the validation data, on the server's dense copy.",
            ),
            loss_not_finite: counter(
                r,
                names::LOSS_NOT_FINITE,
                "Losses of closed rounds, of training or evaluation, that are NaN or infinite.",
            ),
            update_norm: float_gauge(r, names::UPDATE_NORM, "L2 norm of the last aggregated update."),
            journal_bytes: gauge(r, names::JOURNAL_BYTES, "Bytes of the journal on disk."),
            journal_commit_seconds: histogram(
                r,
                names::JOURNAL_COMMIT_DURATION,
                "Seconds of a durable journal commit.",
                CALL_SECONDS,
            ),
            policies: Policies::new(r),
            actors: Actors::new(r),
            registry,
        };
        metrics.last_round_closed.set(now());
        metrics
    }

    /// The metrics of one policy, by the name that the configuration calls it. Make it once and keep it: a look-up takes a lock.
    pub fn policy(&self, policy: &str) -> PolicyMetrics {
        self.policies.get(policy)
    }

    /// Times that actors of a kind were started anew after a crash.
    pub fn restarts(&self, actor: Actor) -> &IntCounter {
        self.actors.restarts(actor)
    }

    /// Jobs that wait for a compressor.
    pub fn compressor_depth(&self) -> &IntGauge {
        &self.actors.compressor_depth
    }

    /// Jobs that wait for a trainer.
    pub fn trainer_depth(&self) -> &IntGauge {
        &self.actors.trainer_depth
    }

    /// Counts a closed round that took `seconds`.
    pub fn round_closed(&self, round: u32, seconds: f64) {
        self.rounds.inc();
        self.round.set(round.into());
        self.round_seconds.observe(seconds);
        self.last_round_closed.set(now());
    }

    /// All metrics in Prometheus' text format, version 0.0.4.
    ///
    /// # Errors
    /// [`MetricsError::Encode`] where the registry holds what the format cannot say.
    pub fn render(&self) -> Result<String, MetricsError> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| MetricsError::Encode { reason: error.to_string() })
    }
}

fn new_registry() -> Registry {
    let registry = Registry::new_custom(Some(names::PREFIX.into()), None).expect("the prefix is not empty");
    #[cfg(target_os = "linux")]
    registry
        .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
        .expect("the registry is empty");
    registry
}

fn clients(registry: &Registry) -> Clients {
    let family = counters(registry, names::CLIENTS, "Clients asked, by how it ended.", &["outcome"]);
    let outcome = |name| family.with_label_values(&[name]);
    Clients {
        completed: outcome("completed"),
        failed: outcome("failed"),
        late: outcome("late"),
        rejected: outcome("rejected"),
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;

    use super::super::policies::Hook;
    use super::*;

    /// Metrics as after a few rounds.
    pub(crate) fn sample() -> Metrics {
        let metrics = Metrics::new();
        metrics.rounds_planned.set(30);
        metrics.clients_registered.set(24);
        metrics.clients_in_flight.set(3);
        metrics.clients.completed.inc_by(23);
        metrics.clients.late.inc();
        for direction in [&metrics.download, &metrics.upload] {
            direction.bytes.add(1_000, 8_000, 0, 64);
            direction.frames.inc();
            direction.dense_equivalent_bytes.inc_by(64_000);
            direction.encode_seconds.observe(0.002);
            direction.decode_seconds.observe(0.001);
        }
        metrics.training_steps.inc_by(64);
        metrics.training_tokens.inc_by(30_000);
        metrics.training_seconds.observe(0.8);
        metrics.training_cpu_seconds.inc_by(0.7);
        for gauge in [&metrics.train_loss, &metrics.eval_loss, &metrics.eval_loss_dense_copy, &metrics.update_norm] {
            gauge.set(3.1);
        }
        metrics.journal_bytes.set(1 << 20);
        metrics.journal_commit_seconds.observe(0.004);
        let policy = metrics.policy("flasc");
        policy.call_seconds(Hook::Encode).observe(0.001);
        policy.call_seconds(Hook::Decode).observe(0.001);
        metrics.trainer_depth().set(2);
        metrics.round_closed(3, 1.5);
        metrics
    }

    #[test]
    fn the_endpoint_has_exactly_the_listed_names() {
        let text = sample().render().unwrap();
        let found: BTreeSet<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let mut listed = BTreeSet::new();
        for name in names::OWN.iter().chain(&names::PROCESS) {
            listed.insert(format!("{}_{name}", names::PREFIX));
        }
        if cfg!(target_os = "linux") {
            assert_eq!(found, listed.iter().map(String::as_str).collect());
        }
    }

    #[test]
    fn counts_stand_under_their_labels() {
        let text = sample().render().unwrap();
        for line in [
            "cellm_wire_bytes_total{direction=\"download\",kind=\"values\"} 8000",
            "cellm_clients_total{outcome=\"late\"} 1",
            "cellm_clients_total{outcome=\"rejected\"} 0",
            "cellm_policy_traps_total{policy=\"flasc\"} 0",
            "cellm_policy_call_duration_seconds_count{hook=\"encode\",policy=\"flasc\"} 1",
            "cellm_mailbox_depth{actor=\"trainer\"} 2",
            "cellm_actor_restarts_total{actor=\"trainer\"} 0",
            "cellm_trainer_cpu_seconds_total{work=\"training\"} 0.7",
            "cellm_trainer_cpu_seconds_total{work=\"evaluation\"} 0",
            "cellm_round 3",
            "cellm_eval_loss 3.1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_loss_that_was_never_measured_is_not_a_number() {
        assert!(Metrics::new().render().unwrap().contains("cellm_eval_loss NaN"));
    }

    #[test]
    fn a_policy_asked_for_twice_counts_in_one_place() {
        let metrics = Metrics::new();
        metrics.policy("flasc").traps.inc();
        metrics.policy("flasc").traps.inc();
        assert!(metrics.render().unwrap().contains("cellm_policy_traps_total{policy=\"flasc\"} 2"));
    }
}
