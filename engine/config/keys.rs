//! Every key of the config, declared once: whose it is, whether it changes results, and its range. Its sentence and its default
//! stand with the field of its section's struct.
//!
//! Keys of what a model learns, and how, are the federation's; where a participant's files lie, what its machine does and what it lets
//! others do there is its own. A path is always a site's: that what lies there is the same for all is known from its hash.

use super::range::Range;

/// The side that sets a key in a deployed federation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The same for all participants: the server's counts.
    Federation,
    /// Each side's own.
    Site,
}

impl Scope {
    /// Its word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Federation => "federation",
            Self::Site => "site",
        }
    }
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// `section.key`.
    pub(super) name: &'static str,
    /// Whose it is.
    pub(super) scope: Scope,
    /// True where a run with another value may end with another adapter or other rows.
    pub(super) changes_results: bool,
    /// The values that it may have, if it is a number or holds numbers. What depends on other keys is in `validate`.
    pub(super) range: Option<Range>,
}

/// A key that is the same for all participants.
const fn federation(name: &'static str) -> Key {
    Key { name, scope: Scope::Federation, changes_results: true, range: None }
}

/// A key that is each side's own.
const fn site(name: &'static str) -> Key {
    Key { name, scope: Scope::Site, changes_results: true, range: None }
}

impl Key {
    const fn without_effect(mut self) -> Self {
        self.changes_results = false;
        self
    }

    const fn within(mut self, low: f64, high: f64) -> Self {
        self.range = Some(Range::from_to(low, high));
        self
    }

    /// Above 0.
    const fn above_zero(mut self, high: f64) -> Self {
        self.range = Some(Range::above_zero(high));
        self
    }

    /// A part of a whole that is not the whole.
    const fn below_one(mut self) -> Self {
        self.range = Some(Range::below_one());
        self
    }

    /// A part of a whole that is neither nothing nor the whole.
    const fn between_zero_and_one(mut self) -> Self {
        self.range = Some(Range::between_zero_and_one());
        self
    }

    /// Its section and its name in it.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or((self.name, ""))
    }
}

const MILLION: f64 = 1e6;
/// Records, sizes and counts of data.
const COUNT: f64 = 1e9;
/// Norms and other magnitudes of single precision, with room to be squared.
const MAGNITUDE: f64 = 1e18;
/// Seconds of a year.
const YEAR_S: f64 = 31_536_000.0;
/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;
/// Whole numbers of 64 bits.
const U64: f64 = u64::MAX as f64;

/// Every key, in the order of the sections and of their fields. A key changes results unless its row says otherwise. A limit
/// is where a value stops to mean something or the engine's arithmetic stops to be safe, not where it is wise; a list or a
/// table holds numbers of the range.
pub(super) static KEYS: &[Key] = &[
    site("run.name").without_effect(),
    federation("run.seed").within(0.0, U64),
    federation("run.rounds").within(1.0, MILLION),
    federation("run.byte_budget").within(0.0, U64),
    site("run.out").without_effect(),
    site("run.threads").without_effect().within(0.0, 1024.0),
    site("model.path"),
    site("model.device"),
    federation("model.dtype"),
    federation("model.quantize"),
    site("model.slots").without_effect().within(0.0, 1024.0),
    federation("lora.rank").within(1.0, 4096.0),
    federation("lora.alpha").above_zero(MILLION),
    federation("lora.rank_pattern").within(1.0, 4096.0),
    federation("lora.alpha_pattern").above_zero(MILLION),
    federation("lora.rslora"),
    federation("lora.dropout").below_one(),
    federation("lora.targets"),
    federation("lora.residual"),
    site("lora.init"),
    federation("lora.head"),
    // What is learned, and how records become sequences, is the federation's; which records there are, what their fields are
    // called and what is done with the bad ones only their owner can say.
    federation("data.task"),
    site("data.source"),
    site("data.path"),
    site("data.format"),
    site("data.template"),
    site("data.answer"),
    site("data.text"),
    site("data.label"),
    federation("data.classes"),
    federation("data.max_tokens").within(2.0, 1_048_576.0),
    federation("data.validation").below_one(),
    site("data.min_chars").within(0.0, COUNT),
    federation("data.long"),
    site("data.invalid"),
    federation("data.packing"),
    site("data.cache_mb").without_effect().within(0.0, 16_777_216.0),
    federation("partition.kind"),
    federation("partition.clients").within(0.0, 10_000_000.0),
    federation("partition.by"),
    federation("partition.alpha").within(1e-6, COUNT),
    federation("partition.min_partition_size").within(0.0, COUNT),
    federation("partition.self_balancing"),
    federation("partition.partition_sizes").within(0.0, COUNT),
    federation("partition.num_classes_per_partition").within(0.0, COUNT),
    federation("partition.class_assignment_mode"),
    federation("partition.num_shards_per_partition").within(0.0, COUNT),
    federation("partition.shard_size").within(0.0, COUNT),
    federation("partition.keep_incomplete_shard"),
    federation("partition.group_size").within(0.0, COUNT),
    federation("partition.mode"),
    federation("partition.sort_unique_ids"),
    federation("partition.distribution_array").within(0.0, 1e15),
    federation("partition.num_unique_labels_per_partition").within(0.0, COUNT),
    federation("partition.preassigned_num_samples_per_label").within(0.0, COUNT),
    federation("partition.rescale"),
    federation("server.cohort").within(1.0, 10_000_000.0),
    federation("server.optimizer"),
    federation("server.lr").above_zero(MILLION),
    federation("server.momentum").below_one(),
    federation("server.beta2").below_one(),
    federation("server.tau").above_zero(MILLION),
    federation("server.ema_decay").below_one(),
    federation("server.deadline_s").within(0.0, YEAR_S),
    federation("server.quorum").above_zero(1.0),
    federation("server.over_selection").within(0.0, 1000.0),
    federation("server.eval_every").within(0.0, u32::MAX as f64),
    federation("server.eval_records").within(0.0, COUNT),
    federation("server.eval_dense"),
    federation("server.max_update_norm").within(0.0, MAGNITUDE),
    federation("client.trainer"),
    federation("client.optimizer"),
    federation("client.lr").above_zero(MILLION),
    federation("client.lr_schedule"),
    federation("client.lr_floor").within(0.0, MILLION),
    federation("client.warmup_rounds").within(0.0, MILLION),
    federation("client.momentum").below_one(),
    federation("client.weight_decay").within(0.0, MILLION),
    federation("client.epochs").within(0.0, MILLION),
    federation("client.steps").within(0.0, MILLION),
    federation("client.batch").within(1.0, 65_536.0),
    federation("client.max_grad_norm").within(0.0, MAGNITUDE),
    site("client.gradient_checkpointing").without_effect(),
    federation("client.tiers"),
    federation("download.policy"),
    federation("download.density").above_zero(1.0),
    federation("download.bits"),
    federation("download.error_feedback"),
    federation("download.error_decay").within(0.0, 1.0),
    federation("download.byte_budget").within(0.0, U64),
    federation("download.options"),
    federation("upload.policy"),
    federation("upload.density").above_zero(1.0),
    federation("upload.bits"),
    federation("upload.error_feedback"),
    federation("upload.error_decay").within(0.0, 1.0),
    federation("upload.byte_budget").within(0.0, U64),
    federation("upload.options"),
    federation("aggregate.policy"),
    federation("aggregate.secure"),
    federation("aggregate.options"),
    federation("privacy.clip").within(0.0, MAGNITUDE),
    federation("privacy.noise_multiplier").above_zero(MILLION),
    federation("privacy.where"),
    federation("privacy.delta").between_zero_and_one(),
    federation("privacy.budget").within(0.0, MILLION),
    // The federation's policies run on each side's machine: what they may use up there, and whether they may run, is its own.
    site("limits.memory_mb").within(1.0, 1_048_576.0),
    site("limits.deadline_ms").within(1.0, DAY_MS),
    site("limits.output_mb").within(1.0, 1_048_576.0),
    site("limits.parts").within(1.0, MILLION),
    site("limits.handles").within(1.0, 16_777_216.0),
    site("limits.state_mb").within(1.0, 1_048_576.0),
    site("limits.component_mb").within(1.0, 1_048_576.0),
    site("policy.allow").without_effect(),
    site("policy.keys").without_effect(),
    site("policy.watch").without_effect(),
    site("link.enrolment").without_effect(),
    site("link.listen").without_effect(),
    site("link.url").without_effect(),
    site("link.min_clients").without_effect().within(0.0, 10_000_000.0),
    site("link.silence_s").without_effect().above_zero(YEAR_S),
    site("link.stall_s").without_effect().above_zero(YEAR_S),
    site("metrics.listen").without_effect(),
    site("report.prompts").without_effect(),
    site("report.completion_tokens").within(0.0, MILLION).without_effect(),
];

/// True for a key that may change what a run ends with, and for a name that is no key.
pub fn changes_results(name: &str) -> bool {
    find(name).is_none_or(|key| key.changes_results)
}

/// The key that is called so.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use figment::value::Value;

    use super::super::docs::docs;
    use super::super::parse::defaults;
    use super::*;

    #[test]
    fn every_key_is_declared_once_and_every_row_is_a_key() {
        let declared: BTreeSet<&str> = KEYS.iter().map(|key| key.name).collect();
        assert_eq!(declared.len(), KEYS.len(), "a key has two rows in KEYS");
        let fields: Vec<String> = docs().into_iter().map(|(name, _)| name).collect();
        for name in &fields {
            assert!(
                declared.contains(name.as_str()),
                "{name} has no row in KEYS: whose is it, does it change results?"
            );
        }
        for (key, field) in KEYS.iter().zip(&fields) {
            assert_eq!(key.name, field, "the rows of KEYS stand in the order of the fields");
        }
        assert_eq!(KEYS.len(), fields.len(), "KEYS has a row that is no key");
    }

    #[test]
    fn every_number_has_a_range() {
        let defaults = Value::from(defaults());
        let numbers = KEYS.iter().filter(|key| matches!(defaults.find_ref(key.name), Some(Value::Num(..))));
        let without: Vec<&str> = numbers.filter(|key| key.range.is_none()).map(|key| key.name).collect();
        // Widths are a list of their own.
        assert_eq!(without, ["download.bits", "upload.bits"]);
    }

    #[test]
    fn what_only_the_own_machine_sees_changes_no_result() {
        for name in ["run.threads", "policy.watch", "metrics.listen", "data.cache_mb", "client.gradient_checkpointing"]
        {
            assert!(!changes_results(name), "{name}");
        }
        for name in ["run.rounds", "server.quorum", "model.device", "limits.memory_mb", "policyx.a", "policy"] {
            assert!(changes_results(name), "{name}");
        }
        for key in KEYS {
            assert!(key.changes_results || key.scope == Scope::Site, "{} is set for all and changes nothing", key.name);
        }
    }

    #[test]
    fn paths_devices_and_limits_are_each_sides_own() {
        let scope = |name| find(name).unwrap().scope;
        for name in ["model.path", "lora.init", "data.path", "run.out", "model.device", "limits.memory_mb"] {
            assert_eq!(scope(name), Scope::Site, "{name}");
        }
        for name in ["run.seed", "lora.rank", "client.lr", "upload.policy", "privacy.clip", "data.classes"] {
            assert_eq!(scope(name), Scope::Federation, "{name}");
        }
    }
}
