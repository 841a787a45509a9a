//! The rotary settings of config.json in, the frequency of each pair of a head's values out: unscaled, `linear` scaling
//! (Chen et al. 2023), `dynamic`, that of Llama 3, and `yarn` (Peng et al. 2023). As in `transformers` 5,
//! `rope_scaling` wins over `rope_parameters` where it is not empty, and keys outside of the table fill in what it
//! lacks.

use std::f64::consts::TAU;

use serde_json::{Map, Value};

use super::ConfigJson;
use crate::trainer::TrainerError;
use crate::trainer::kernel::RopeParameters;

/// Tables by kind of layer, which other families have; refused.
const BY_LAYER: [&str; 2] = ["full_attention", "sliding_attention"];

/// The rotary parameters of a head of `head_size` values, for sequences of up to `positions` tokens.
pub(super) fn turns(settings: &ConfigJson, head_size: usize, positions: usize) -> Result<RopeParameters, TrainerError> {
    let (name, table) = match settings.table("rope_scaling")? {
        Some(table) => ("rope_scaling", Some(table)),
        None => ("rope_parameters", settings.table("rope_parameters")?),
    };
    let nothing = Map::new();
    let rope = Rope { settings, name, table: table.unwrap_or(&nothing), positions };
    if let Some(key) = BY_LAYER.iter().find(|key| rope.table.contains_key(**key)) {
        return Err(settings.unsupported(&format!("{name}.{key}"), &rope.table[*key], "one table for all layers"));
    }
    let theta = rope.positive("rope_theta")?.or(rope.outside("rope_theta")?).unwrap_or(10_000.0);
    let half = head_size / 2;
    let plain = (0..half).map(|pair| theta.powf(-(pair as f64) / half as f64));
    let kind = rope.kind()?;
    if kind != "default" {
        let part = rope.positive("partial_rotary_factor")?.or(rope.outside("partial_rotary_factor")?).unwrap_or(1.0);
        let whole = (head_size as f64 * part) as usize == head_size;
        settings.check(whole, "partial_rotary_factor", part, &format!("1 beside rope_type {kind}"))?;
    }
    let frequencies: Vec<f64> = match kind {
        "default" => plain.collect(),
        "linear" => {
            let factor = rope.needed("factor")?;
            plain.map(|frequency| frequency / factor).collect()
        }
        // Dynamic scaling slows sequences beyond the model's positions, of which there are none here.
        "dynamic" => rope.needed("factor").map(|_| plain.collect())?,
        "llama3" => rope.llama3(plain)?,
        "yarn" => return rope.yarn(theta, plain.collect()),
        other => {
            return Err(settings.unsupported(
                &format!("{name}.rope_type"),
                other,
                "default, linear, dynamic, llama3 or yarn",
            ));
        }
    };
    rope.finite(RopeParameters { frequencies, factor: 1.0 })
}

/// The rotary table of config.json in use.
struct Rope<'a> {
    settings: &'a ConfigJson<'a>,
    /// Its key in config.json.
    name: &'static str,
    table: &'a Map<String, Value>,
    positions: usize,
}

impl Rope<'_> {
    /// `rope_type`, or `type`, its name in older versions.
    fn kind(&self) -> Result<&str, TrainerError> {
        let key = if self.table.contains_key("rope_type") { "rope_type" } else { "type" };
        match self.table.get(key) {
            None => Ok("default"),
            Some(found) => found.as_str().ok_or_else(|| self.unsupported(key, found, "a name")),
        }
    }

    /// A number of the table; none where it is missing or `null`.
    fn number(&self, key: &str) -> Result<Option<f64>, TrainerError> {
        let found = self.table.get(key).filter(|found| !found.is_null());
        let number = |found: &Value| found.as_f64().ok_or_else(|| self.unsupported(key, found, "a number"));
        found.map(number).transpose()
    }

    /// A number above 0.
    fn positive(&self, key: &str) -> Result<Option<f64>, TrainerError> {
        let found = self.number(key)?;
        match found.filter(|found| *found <= 0.0) {
            Some(wrong) => Err(self.unsupported(key, wrong, "a number above 0")),
            None => Ok(found),
        }
    }

    fn needed(&self, key: &str) -> Result<f64, TrainerError> {
        self.positive(key)?.ok_or_else(|| self.unsupported(key, "missing", "a number above 0"))
    }

    /// A number above 0 from config.json itself.
    fn outside(&self, key: &str) -> Result<Option<f64>, TrainerError> {
        let found = self.settings.get(key).map(|found| (found, found.as_f64().filter(|number| *number > 0.0)));
        match found {
            Some((found, None)) => Err(self.settings.unsupported(key, found, "a number above 0")),
            Some((_, number)) => Ok(number),
            None => Ok(None),
        }
    }

    /// The context length of the training: from config.json where it is there, else from the table, else the model's
    /// positions.
    fn trained(&self) -> Result<f64, TrainerError> {
        let key = "original_max_position_embeddings";
        Ok(self.outside(key)?.or(self.positive(key)?).unwrap_or(self.positions as f64))
    }

    fn llama3(&self, plain: impl Iterator<Item = f64>) -> Result<Vec<f64>, TrainerError> {
        let factor = self.needed("factor")?;
        let (low, high) = (self.needed("low_freq_factor")?, self.needed("high_freq_factor")?);
        let trained = self.trained()?;
        if high <= low {
            return Err(self.unsupported("high_freq_factor", high, "more than low_freq_factor"));
        }
        // Fast frequencies, whose period fits into the trained context, stay; slow ones are divided by the factor;
        // those between are interpolated.
        let scaled = |frequency: f64| {
            let turns = trained * frequency / TAU;
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            frequency * (kept + (1.0 - kept) / factor)
        };
        Ok(plain.map(scaled).collect())
    }

    fn yarn(&self, theta: f64, plain: Vec<f64>) -> Result<RopeParameters, TrainerError> {
        let trained = self.trained()?;
        // `null` key_use the quotient of the two lengths.
        let factor = match self.table.get("factor") {
            Some(Value::Null) => self.positions as f64 / trained,
            _ => self.needed("factor")?,
        };
        let half = plain.len();
        let size = 2.0 * half as f64;
        let or = |found: Option<f64>, default| found.filter(|found| *found != 0.0).unwrap_or(default);
        // The pair that turns so many times in the trained context.
        let pair = |turns: f64| size * (trained / (turns * TAU)).ln() / (2.0 * theta.ln());
        let (mut low, mut high) = (pair(or(self.number("beta_fast")?, 32.0)), pair(or(self.number("beta_slow")?, 1.0)));
        let truncated = self.table.get("truncate").is_none_or(|found| found.as_bool().unwrap_or(false));
        if truncated {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(size - 1.0));
        if low == high {
            high += 0.001;
        }
        let scaled = |(pair, frequency): (usize, f64)| {
            let slowed = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            frequency * ((1.0 - slowed) + slowed / factor)
        };
        let frequencies = plain.into_iter().enumerate().map(scaled).collect();
        self.finite(RopeParameters { frequencies, factor: self.attention_factor(factor)? })
    }

    fn finite(&self, turns: RopeParameters) -> Result<RopeParameters, TrainerError> {
        let finite = turns.factor.is_finite() && turns.frequencies.iter().all(|frequency| frequency.is_finite());
        let found = Value::Object(self.table.clone());
        self.settings.check(finite, self.name, found, "what gives finite turns")?;
        Ok(turns)
    }

    /// The attention factor of `yarn`, which multiplies queries and keys so that scores over more positions keep their
    /// spread.
    fn attention_factor(&self, factor: f64) -> Result<f64, TrainerError> {
        if let Some(given) = self.number("attention_factor")? {
            return Ok(given);
        }
        let spread = |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        let given = |key| Ok::<_, TrainerError>(self.number(key)?.filter(|scale| *scale != 0.0));
        Ok(match (given("mscale")?, given("mscale_all_dim")?) {
            (Some(above), Some(below)) => spread(above) / spread(below),
            _ => spread(1.0),
        })
    }

    fn unsupported(&self, key: &str, found: impl ToString, supported: &str) -> TrainerError {
        self.settings.unsupported(&format!("{}.{key}", self.name), found, supported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The turns of a head of 8 values in a model of 512 positions.
    fn read(json: &str) -> Result<RopeParameters, String> {
        let settings = ConfigJson::new(json.as_bytes(), "config.json").unwrap();
        turns(&settings, 8, 512).map_err(|error| error.to_string())
    }

    fn frequencies(scaling: &str) -> Result<Vec<f64>, String> {
        read(&format!("{{\"rope_theta\": 100.0, \"rope_scaling\": {scaling}}}")).map(|turns| turns.frequencies)
    }

    fn close(found: &[f64], expected: [f64; 4]) {
        let far = found.iter().zip(expected).any(|(found, expected)| (found - expected).abs() > 1e-6 * expected);
        assert!(!far, "{found:?} is not {expected:?}");
    }

    const PLAIN: [f64; 4] = [1.0, 0.316_227_77, 0.1, 0.031_622_777];

    #[test]
    fn linear_scaling_slows_every_turn() {
        close(&frequencies("{}").unwrap(), PLAIN);
        close(&frequencies(r#"{"type": "linear", "factor": 4}"#).unwrap(), PLAIN.map(|plain| plain / 4.0));
    }

    #[test]
    fn a_table_wins_over_what_stands_beside_it_and_rope_scaling_over_rope_parameters() {
        let of = |json| read(json).unwrap().frequencies;
        close(&of(r#"{"rope_theta": 7, "rope_parameters": {"rope_theta": 100, "rope_type": "default"}}"#), PLAIN);
        close(&of(r#"{"rope_theta": 100, "rope_scaling": {}, "rope_parameters": {"rope_type": "default"}}"#), PLAIN);
        let both = r#"{"rope_scaling": {"rope_theta": 100}, "rope_parameters": {"rope_theta": 7, "type": "linear"}}"#;
        close(&of(both), PLAIN);
        // Without a type a factor does nothing in transformers 5 either.
        close(&of(r#"{"rope_theta": 100, "rope_scaling": {"factor": 2}}"#), PLAIN);
        close(&of(r#"{"rope_theta": 100, "partial_rotary_factor": 0.5}"#), PLAIN);
    }

    #[test]
    fn llama_3_scaling_keeps_fast_turns_and_slows_slow_ones() {
        let json = |more: &str| {
            format!(r#"{{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4 {more}}}"#)
        };
        // A position turns by more than 4 * TAU / 64 = 0.39 in the first pair alone, by less than TAU / 64 in the last.
        let between = (64.0 * 0.316_227_766 / TAU - 1.0) / 3.0;
        let second = 0.316_227_766 * (between + (1.0 - between) / 8.0);
        let third = (64.0 * 0.1 / TAU - 1.0) / 3.0;
        let expected = [1.0, second, 0.1 * (third + (1.0 - third) / 8.0), 0.031_622_777 / 8.0];
        close(&frequencies(&json(", \"original_max_position_embeddings\": 64")).unwrap(), expected);
        let outside = format!(
            r#"{{"rope_theta": 100, "original_max_position_embeddings": 64, "rope_scaling": {}}}"#,
            json(", \"original_max_position_embeddings\": 9")
        );
        close(&read(&outside).unwrap().frequencies, expected);
        let missing = frequencies(&json("")).unwrap();
        let given = frequencies(&json(", \"original_max_position_embeddings\": 512")).unwrap();
        assert_eq!(missing, given, "without it, that of config.json");
    }

    #[test]
    fn yarn_slows_slow_turns_and_sharpens_the_scores() {
        let json = r#"{"rope_theta": 100, "rope_scaling": {"type": "yarn", "factor": 4,
            "original_max_position_embeddings": 128}}"#;
        // 32 turns in 128 positions would be pair -0.4, one turn pair 2.6: from pair 0 to pair 3 turns become slower.
        let turns = read(json).unwrap();
        let slowed = [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0];
        let expected: Vec<f64> =
            PLAIN.iter().zip(slowed).map(|(plain, slow)| plain * (1.0 - slow + slow / 4.0)).collect();
        close(&turns.frequencies, [expected[0], expected[1], expected[2], expected[3]]);
        assert!((turns.factor - 1.138_629_436).abs() < 1e-9);
        let with = |more: &str| read(&json.replace("\"factor\"", &format!("{more}, \"factor\""))).unwrap();
        assert_eq!(with("\"attention_factor\": 2.5").factor, 2.5);
        assert_eq!(with("\"mscale\": 1, \"mscale_all_dim\": 1").factor, 1.0);
        assert_eq!(with("\"mscale\": 2").factor, turns.factor);
        assert_ne!(with("\"truncate\": false").frequencies, turns.frequencies);
        assert_ne!(with("\"beta_slow\": 4").frequencies, turns.frequencies);
        assert_eq!(read(&json.replace("\"factor\": 4", "\"factor\": null")).unwrap(), turns, "512 of 128 is 4");
    }

    #[test]
    fn other_scalings_and_missing_numbers_are_refused() {
        let error =
            |scaling: &str| frequencies(scaling).unwrap_err().replace("model config config.json: rope_scaling.", "");
        let known = "but only default, linear, dynamic, llama3 or yarn is supported";
        assert_eq!(error(r#"{"rope_type": "longrope"}"#), format!("rope_type is longrope, {known}"));
        let missing = "factor is missing, but only a number above 0 is supported";
        for kind in ["linear", "dynamic", "yarn", "llama3"] {
            assert_eq!(error(&format!(r#"{{"rope_type": "{kind}"}}"#)), missing);
        }
        assert_eq!(
            error(r#"{"type": "linear", "factor": "two"}"#),
            "factor is \"two\", but only a number is supported"
        );
        let error =
            read(r#"{"partial_rotary_factor": 0.5, "rope_scaling": {"type": "linear", "factor": 2}}"#).unwrap_err();
        assert!(
            error.ends_with("partial_rotary_factor is 0.5, but only 1 beside rope_type linear is supported"),
            "{error}"
        );
        let error = read(r#"{"rope_parameters": {"full_attention": {"rope_type": "default"}}}"#).unwrap_err();
        assert!(error.contains("rope_parameters.full_attention is "), "{error}");
        assert!(read(r#"{"rope_scaling": 7}"#).unwrap_err().contains("rope_scaling is 7, but only a table"));
    }
}
