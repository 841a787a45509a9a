//! The range of every number in the config: the key with its limits in, the first value outside of its own out.
//!
//! A limit is where a value stops to mean something or the engine's arithmetic stops to be safe, not where it is wise. What
//! depends on other keys is in `validate`.

use std::fmt;
use std::ops::Bound::{self, Excluded, Included};

use figment::value::{Num, Value};

use super::{Config, ConfigError};

/// The values that a key may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    key: &'static str,
    low: Bound<f64>,
    high: Bound<f64>,
}

const fn from_to(key: &'static str, low: f64, high: f64) -> Range {
    Range { key, low: Included(low), high: Included(high) }
}

/// Above 0.
const fn above_zero(key: &'static str, high: f64) -> Range {
    Range { key, low: Excluded(0.0), high: Included(high) }
}

/// A part of a whole that is not the whole.
const fn below_one(key: &'static str) -> Range {
    Range { key, low: Included(0.0), high: Excluded(1.0) }
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

/// Every number of the config, in the order of the sections. A list or a table holds numbers of the range.
const RANGES: &[Range] = &[
    from_to("run.seed", 0.0, U64),
    from_to("run.rounds", 1.0, MILLION),
    from_to("run.threads", 0.0, 1024.0),
    from_to("model.slots", 0.0, 1024.0),
    from_to("lora.rank", 1.0, 4096.0),
    above_zero("lora.alpha", MILLION),
    from_to("lora.rank_pattern", 1.0, 4096.0),
    above_zero("lora.alpha_pattern", MILLION),
    below_one("lora.dropout"),
    from_to("data.max_tokens", 2.0, 1_048_576.0),
    below_one("data.validation"),
    from_to("data.min_chars", 0.0, COUNT),
    from_to("data.cache_mb", 0.0, 16_777_216.0),
    from_to("partition.clients", 0.0, 10_000_000.0),
    from_to("partition.alpha", 1e-6, COUNT),
    from_to("partition.min_partition_size", 0.0, COUNT),
    from_to("partition.partition_sizes", 0.0, COUNT),
    from_to("partition.num_classes_per_partition", 0.0, COUNT),
    from_to("partition.num_shards_per_partition", 0.0, COUNT),
    from_to("partition.shard_size", 0.0, COUNT),
    from_to("partition.group_size", 0.0, COUNT),
    from_to("partition.distribution_array", 0.0, 1e15),
    from_to("partition.num_unique_labels_per_partition", 0.0, COUNT),
    from_to("partition.preassigned_num_samples_per_label", 0.0, COUNT),
    from_to("server.cohort", 1.0, 10_000_000.0),
    above_zero("server.lr", MILLION),
    below_one("server.momentum"),
    below_one("server.beta2"),
    above_zero("server.tau", MILLION),
    below_one("server.ema_decay"),
    from_to("server.deadline_s", 0.0, YEAR_S),
    above_zero("server.quorum", 1.0),
    from_to("server.over_selection", 0.0, 1000.0),
    from_to("server.eval_every", 0.0, u32::MAX as f64),
    from_to("server.max_update_norm", 0.0, MAGNITUDE),
    above_zero("client.lr", MILLION),
    below_one("client.momentum"),
    from_to("client.weight_decay", 0.0, MILLION),
    from_to("client.epochs", 0.0, MILLION),
    from_to("client.steps", 0.0, MILLION),
    from_to("client.batch", 1.0, 65_536.0),
    from_to("client.max_grad_norm", 0.0, MAGNITUDE),
    above_zero("download.density", 1.0),
    from_to("download.error_decay", 0.0, 1.0),
    from_to("download.byte_budget", 0.0, U64),
    above_zero("upload.density", 1.0),
    from_to("upload.error_decay", 0.0, 1.0),
    from_to("upload.byte_budget", 0.0, U64),
    from_to("privacy.clip", 0.0, MAGNITUDE),
    above_zero("privacy.noise_multiplier", MILLION),
    Range { key: "privacy.delta", low: Excluded(0.0), high: Excluded(1.0) },
    from_to("privacy.budget", 0.0, MILLION),
    from_to("limits.memory_mb", 1.0, 1_048_576.0),
    from_to("limits.deadline_ms", 1.0, DAY_MS),
    from_to("limits.output_mb", 1.0, 1_048_576.0),
    from_to("limits.parts", 1.0, MILLION),
    from_to("limits.handles", 1.0, 16_777_216.0),
    from_to("limits.state_mb", 1.0, 1_048_576.0),
    from_to("limits.component_mb", 1.0, 1_048_576.0),
];

/// Checks every number of the config; the first one outside of its range is the error.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    let Ok(values) = Value::serialize(config) else { return Ok(()) };
    for range in RANGES {
        // An optional key that is not set is not there.
        let Some(value) = values.find_ref(range.key) else { continue };
        if let Some(found) = outside(value, range) {
            let (key, allowed) = (range.key.into(), format!("in {range}"));
            return Err(ConfigError::Value { key, found, allowed, origin: String::new() });
        }
    }
    Ok(())
}

/// The range of a key that is a number or holds numbers, as people read it.
pub(super) fn of(key: &str) -> Option<String> {
    RANGES.iter().find(|range| range.key == key).map(Range::to_string)
}

/// The first number that is not in the range, as it was written.
fn outside(value: &Value, range: &Range) -> Option<String> {
    match value {
        Value::Num(_, number) => (!range.holds(size(number))).then(|| shown(number)),
        Value::Array(_, items) => items.iter().find_map(|item| outside(item, range)),
        Value::Dict(_, entries) => entries.values().find_map(|entry| outside(entry, range)),
        _ => None,
    }
}

fn size(number: &Num) -> f64 {
    match number {
        Num::F32(number) => f64::from(*number),
        Num::F64(number) => *number,
        whole => whole
            .to_u128()
            .map(|whole| whole as f64)
            .or_else(|| whole.to_i128().map(|whole| whole as f64))
            .unwrap_or(f64::NAN),
    }
}

fn shown(number: &Num) -> String {
    match number {
        // Printed from its own width: 0.002 in single precision is 0.002.
        Num::F32(number) => number.to_string(),
        Num::F64(number) => number.to_string(),
        whole => whole
            .to_u128()
            .map(|whole| whole.to_string())
            .or_else(|| whole.to_i128().map(|whole| whole.to_string()))
            .unwrap_or_default(),
    }
}

impl Range {
    /// Whether a number lies in it; what is no number never does.
    fn holds(&self, number: f64) -> bool {
        let above = match self.low {
            Included(low) => number >= low,
            Excluded(low) => number > low,
            Bound::Unbounded => true,
        };
        let below = match self.high {
            Included(high) => number <= high,
            Excluded(high) => number < high,
            Bound::Unbounded => true,
        };
        above && below && number.is_finite()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: f64| if number > 1e15 { format!("{number:e}") } else { number.to_string() };
        match self.low {
            Included(low) => write!(f, "[{}, ", number(low))?,
            Excluded(low) => write!(f, "({}, ", number(low))?,
            Bound::Unbounded => f.write_str("(-inf, ")?,
        }
        match self.high {
            Included(high) => write!(f, "{}]", number(high)),
            Excluded(high) => write!(f, "{})", number(high)),
            Bound::Unbounded => f.write_str("inf)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Layers, Override, key_docs, keys};
    use super::*;

    /// What nobody means, but anybody can write.
    const EXTREMES: [&str; 12] = [
        "0",
        "1",
        "-1",
        "1e20",
        "1e308",
        "1e-308",
        "4294967295",
        "18446744073709551615",
        "9223372036854775807",
        "0.5",
        "nan",
        "inf",
    ];

    /// The keys whose default is a number.
    fn numeric() -> Vec<String> {
        let defaults = Value::from(keys::defaults());
        let keys = key_docs().into_iter().map(|key| format!("{}.{}", key.section, key.key));
        keys.filter(|key| matches!(defaults.find_ref(key), Some(Value::Num(..)))).collect()
    }

    #[test]
    fn every_number_has_a_range_and_every_range_is_of_a_key() {
        let known: BTreeSet<String> = key_docs().iter().map(|key| format!("{}.{}", key.section, key.key)).collect();
        for range in RANGES {
            assert!(known.contains(range.key), "{} is no key", range.key);
        }
        for key in numeric() {
            // Widths are a list of their own.
            assert!(of(&key).is_some() || key.ends_with(".bits"), "{key} is a number without a range in RANGES");
        }
    }

    #[test]
    fn every_default_is_in_its_range() {
        check(&Config::default()).unwrap();
    }

    #[test]
    fn every_number_at_every_extreme_is_in_its_range_or_refused_with_key_value_and_limit() {
        let keys = numeric();
        assert!(keys.len() > 45, "{keys:?}");
        for key in &keys {
            for extreme in EXTREMES {
                let set = Override::parse(&format!("{key}={extreme}")).unwrap();
                let Err(error) = (Layers { overrides: vec![set], ..Layers::default() }).load() else {
                    let number: f64 = extreme.parse().unwrap();
                    let range = RANGES.iter().find(|range| range.key == key);
                    let narrowed = f64::from(number as f32);
                    assert!(range.is_none_or(|range| range.holds(number) || range.holds(narrowed)), "{key}={extreme}");
                    continue;
                };
                let text = error.to_string();
                // A value in its range may still be refused by a key that asks for more, which names both.
                let own = text.starts_with(key.as_str()) && text.contains("(--set)");
                assert!(own || text.contains(&format!("{key}, {extreme}")), "{key}={extreme}: {text}");
                let said = text.contains(" it must be ") || text.contains("expected") || text.contains("allowed:");
                assert!(said, "{key}={extreme}: {text}");
            }
        }
    }

    #[test]
    fn numbers_inside_lists_and_tables_have_a_range_too() {
        let refused = |text: &str| {
            let set = vec![Override::parse(text).unwrap()];
            Layers { overrides: set, ..Layers::default() }.load().unwrap_err().to_string()
        };
        let error = refused("lora.rank_pattern={ q_proj = 4294967295 }");
        assert_eq!(error, "lora.rank_pattern is 4294967295, it must be in [1, 4096] (--set)");
        let error = refused("lora.alpha_pattern={ q_proj = nan }");
        assert_eq!(error, "lora.alpha_pattern is NaN, it must be in (0, 1000000] (--set)");
        let error = refused("partition.partition_sizes=1,18446744073");
        assert_eq!(error, "partition.partition_sizes is 18446744073, it must be in [0, 1000000000] (--set)");
        assert_eq!(of("server.max_update_norm").unwrap(), "[0, 1e18]");
    }
}
