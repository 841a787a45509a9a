//! The rotary settings of config.json in, the frequency of each pair of a head's values out: plain ones, `linear` scaling
//! (Chen et al. 2023), and that of Llama 3.

use std::f64::consts::TAU;

use serde::Deserialize;

use super::{Settings, TrainerError};

/// `rope_parameters`, where newer versions of `transformers` write all of it, or `rope_scaling` of the older ones.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// What still older versions call `rope_type`.
    #[serde(rename = "type")]
    old_type: Option<String>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

impl Rope {
    /// Radians a position for each of the `head_size / 2` pairs of values; `theta` is what config.json says outside of this.
    pub fn frequencies(
        &self,
        settings: &Settings,
        theta: Option<f64>,
        head_size: usize,
    ) -> Result<Vec<f64>, TrainerError> {
        let theta = self.rope_theta.or(theta).unwrap_or(10_000.0);
        let half = head_size / 2;
        let plain = (0..half).map(|pair| theta.powf(-(pair as f64) / half as f64));
        let unnamed = if self.factor.is_some() { "missing" } else { "default" };
        let kind = self.rope_type.as_deref().or(self.old_type.as_deref()).unwrap_or(unnamed);
        match kind {
            "default" => Ok(plain.collect()),
            "linear" => {
                let factor = needed(settings, "rope_scaling.factor", self.factor)?;
                Ok(plain.map(|frequency| frequency / factor).collect())
            }
            "llama3" => {
                let factor = needed(settings, "rope_scaling.factor", self.factor)?;
                let low = needed(settings, "rope_scaling.low_freq_factor", self.low_freq_factor)?;
                let high = needed(settings, "rope_scaling.high_freq_factor", self.high_freq_factor)?;
                let trained = self.original_max_position_embeddings;
                let trained = needed(settings, "rope_scaling.original_max_position_embeddings", trained)?;
                settings.check(high > low, "rope_scaling.high_freq_factor", high, "more than low_freq_factor")?;
                // Turns that the model saw whole in training stay, those that it saw a part of become slower, and a
                // share of both lies between.
                let scaled = |frequency: f64| {
                    let turns = trained * frequency / TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    frequency * (kept + (1.0 - kept) / factor)
                };
                Ok(plain.map(scaled).collect())
            }
            other => {
                settings.check(false, "rope_type", other, "default, linear or llama3")?;
                Ok(Vec::new())
            }
        }
    }
}

fn needed(settings: &Settings, key: &'static str, found: Option<f64>) -> Result<f64, TrainerError> {
    match found.filter(|found| found.is_finite() && *found > 0.0) {
        Some(found) => Ok(found),
        None => Err(TrainerError::Unsupported {
            file: settings.file.into(),
            key,
            found: found.map_or_else(|| "missing".into(), |found| found.to_string()),
            supported: "a number above 0".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frequencies(json: &str) -> Result<Vec<f64>, String> {
        let settings = Settings { json: json.as_bytes(), file: "config.json" };
        let rope: Rope = settings.parse().unwrap();
        rope.frequencies(&settings, Some(100.0), 8).map_err(|error| error.to_string())
    }

    fn close(found: &[f64], expected: [f64; 4]) {
        let far = found.iter().zip(expected).any(|(found, expected)| (found - expected).abs() > 1e-6 * expected);
        assert!(!far, "{found:?} is not {expected:?}");
    }

    #[test]
    fn linear_scaling_slows_every_turn() {
        close(&frequencies("{}").unwrap(), [1.0, 0.316_227_77, 0.1, 0.031_622_777]);
        close(&frequencies(r#"{"type": "linear", "factor": 4}"#).unwrap(), [0.25, 0.079_056_94, 0.025, 0.007_905_694]);
    }

    #[test]
    fn llama_3_scaling_keeps_fast_turns_and_slows_slow_ones() {
        let json = r#"{"rope_theta": 100, "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
            "original_max_position_embeddings": 64}"#;
        // A position turns by more than 4 * TAU / 64 = 0.39 in the first pair alone, by less than TAU / 64 in the last.
        let between = (64.0 * 0.316_227_766 / TAU - 1.0) / 3.0;
        let second = 0.316_227_766 * (between + (1.0 - between) / 8.0);
        let third = (64.0 * 0.1 / TAU - 1.0) / 3.0;
        close(&frequencies(json).unwrap(), [1.0, second, 0.1 * (third + (1.0 - third) / 8.0), 0.031_622_777 / 8.0]);
    }

    #[test]
    fn other_scalings_and_missing_numbers_are_refused() {
        assert_eq!(
            frequencies(r#"{"rope_type": "yarn"}"#).unwrap_err(),
            "model config config.json: rope_type is yarn, but only default, linear or llama3 is supported"
        );
        assert_eq!(
            frequencies(r#"{"factor": 2}"#).unwrap_err(),
            "model config config.json: rope_type is missing, but only default, linear or llama3 is supported"
        );
        assert_eq!(
            frequencies(r#"{"rope_type": "linear"}"#).unwrap_err(),
            "model config config.json: rope_scaling.factor is missing, but only a number above 0 is supported"
        );
    }
}
