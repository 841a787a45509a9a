//! Mistral: a Llama with sliding-window attention; with `layer_types` (a Ministral in `transformers`) in some blocks
//! alone.

use super::keys::KeyUse;
use super::llama::{Biases, LlamaVariant};
use super::{ConfigJson, Spec};
use crate::trainer::TrainerError;
use crate::trainer::kernel::AttentionPattern;

/// The use of the keys of Mistral alone.
pub(super) const KEYS: &[(&str, KeyUse)] = &[("layer_types", KeyUse::Read), ("sliding_window", KeyUse::Read)];

const MISTRAL: LlamaVariant = LlamaVariant {
    family: "Mistral",
    vocabulary: 32_000,
    inner: 14_336,
    positions: 4096 * 32,
    key_value_heads: Some(8),
    head_size: None,
};

/// Reads a Mistral.
pub(super) fn read(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let mut spec = MISTRAL.spec(settings, Biases { qkv: false, out: false, mlp: false })?;
    let window = window(settings)?.map(|window| window.within(spec.positions));
    if let Some(window) = window {
        spec.patterns.fill(window);
    }
    apply_layer_types(&mut spec, settings, window)?;
    Ok(spec)
}

/// Sets each block's attention pattern by `layer_types`, where config.json has them.
pub(super) fn apply_layer_types(
    spec: &mut Spec,
    settings: &ConfigJson,
    window: Option<AttentionPattern>,
) -> Result<(), TrainerError> {
    let Some(types) = settings.get("layer_types") else { return Ok(()) };
    let of_each = format!("a type for each of {} num_hidden_layers", spec.patterns.len());
    let all = types.as_array().filter(|all| all.len() == spec.patterns.len());
    let all = all.ok_or_else(|| settings.unsupported("layer_types", types, &of_each))?;
    for (pattern, of) in spec.patterns.iter_mut().zip(all) {
        *pattern = match (of.as_str(), window) {
            // The second is the name in older versions.
            (Some("full_attention" | "attention"), _) => AttentionPattern::Causal,
            (Some("sliding_attention"), Some(window)) => window,
            (Some("sliding_attention"), None) => {
                let supported = "full_attention, where no window is given,";
                return Err(settings.unsupported("layer_types", of, supported));
            }
            _ => return Err(settings.unsupported("layer_types", of, "full_attention or sliding_attention")),
        };
    }
    Ok(())
}

/// The sliding window of config.json; none where attention is full.
pub(super) fn window(settings: &ConfigJson) -> Result<Option<AttentionPattern>, TrainerError> {
    match settings.is_null("sliding_window") {
        true => Ok(None),
        false => Ok(Some(AttentionPattern::SlidingWindow(settings.size("sliding_window", 4096)?))),
    }
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
        assert_eq!(mistral("null").unwrap().patterns, [AttentionPattern::Causal; 5]);
        assert_eq!(mistral("4").unwrap().patterns, [AttentionPattern::SlidingWindow(4); 5]);
        assert!(mistral("0").unwrap_err().to_string().contains("sliding_window is 0"));
        let missing = llama.replace("\"model_type\": \"llama\"", "\"model_type\": \"mistral\"");
        let missing = missing.replace("embeddings\": 512", "embeddings\": 8192");
        let missing = Spec::read(missing.as_bytes(), "config.json").unwrap();
        assert_eq!(
            missing.patterns,
            [AttentionPattern::SlidingWindow(4096); 5],
            "a key that is missing has the default of its class"
        );
    }
}
