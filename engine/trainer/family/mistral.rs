//! Mistral 7B and its like: a Llama whose positions see a window of those before them.

use serde::Deserialize;

use super::llama::{self, Biases};
use super::{Settings, Spec};
use crate::trainer::TrainerError;
use crate::trainer::kernel::Sight;

#[derive(Deserialize)]
struct Config {
    sliding_window: Option<usize>,
}

/// Reads a Mistral.
pub(super) fn read(settings: &Settings) -> Result<Spec, TrainerError> {
    let shared: llama::Config = settings.parse()?;
    let Config { sliding_window } = settings.parse()?;
    let mut spec = shared.spec(settings, "Mistral", Biases { qkv: false, out: false, mlp: false })?;
    if let Some(window) = sliding_window {
        settings.check(window > 0, "sliding_window", window, "a number above 0, or null,")?;
        spec.sights.fill(Sight::Window(window.min(spec.positions)));
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_null_sees_everything() {
        let llama = include_str!("../bundled/stories260k/config.json");
        let mistral = |window: &str| {
            let kind = format!("\"model_type\": \"mistral\", \"sliding_window\": {window}");
            Spec::read(llama.replace("\"model_type\": \"llama\"", &kind).as_bytes(), "config.json")
        };
        assert_eq!(mistral("null").unwrap().sights, [Sight::Before; 5]);
        assert_eq!(mistral("4").unwrap().sights, [Sight::Window(4); 5]);
        assert!(mistral("0").unwrap_err().to_string().contains("sliding_window is 0"));
    }
}
