//! Qwen 2 and 2.5: a Llama with biases of queries, keys and values. Qwen 3: without these, with a norm of each head's
//! queries and keys. In both, the blocks from `max_window_layers` on, or those that `layer_types` names, may have
//! sliding-window attention.

use serde_json::Value;

use super::keys::KeyUse;
use super::llama::{Biases, LlamaVariant};
use super::{ConfigJson, Spec, mistral};
use crate::trainer::TrainerError;

/// The use of the keys of both.
pub(super) const KEYS: &[(&str, KeyUse)] = &[
    ("layer_types", KeyUse::Read),
    ("max_window_layers", KeyUse::Read),
    ("sliding_window", KeyUse::Read),
    ("use_sliding_window", KeyUse::Read),
];

/// The use of the keys of Qwen 3 alone.
pub(super) const QWEN3_KEYS: &[(&str, KeyUse)] = &[("attention_bias", KeyUse::Read)];

const QWEN2: LlamaVariant = LlamaVariant {
    family: "Qwen 2",
    vocabulary: 151_936,
    inner: 22_016,
    positions: 32_768,
    key_value_heads: Some(32),
    head_size: None,
};

const QWEN3: LlamaVariant = LlamaVariant { family: "Qwen 3", head_size: Some(128), ..QWEN2 };

/// Reads a Qwen 2 or 2.5.
pub(super) fn read_qwen2(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let spec = QWEN2.spec(settings, Biases { qkv: true, out: false, mlp: false })?;
    with_windows(spec, settings)
}

/// Reads a Qwen 3.
pub(super) fn read_qwen3(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let bias = settings.flag("attention_bias", false)?;
    let mut spec = QWEN3.spec(settings, Biases { qkv: bias, out: bias, mlp: false })?;
    spec.names.head_norms = Some(["self_attn.q_norm", "self_attn.k_norm"]);
    with_windows(spec, settings)
}

fn with_windows(mut spec: Spec, settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let window = match settings.flag("use_sliding_window", false)? {
        true => mistral::window(settings)?.map(|window| window.within(spec.positions)),
        false => None,
    };
    let first = settings.get("max_window_layers").map_or(Some(28), Value::as_u64);
    let first = first.ok_or_else(|| {
        let found = settings.get("max_window_layers").unwrap_or(&Value::Null);
        settings.unsupported("max_window_layers", found, "a whole number from 0 on")
    })?;
    if let Some(window) = window {
        spec.patterns
            .iter_mut()
            .skip(usize::try_from(first).unwrap_or(usize::MAX))
            .for_each(|pattern| *pattern = window);
    }
    mistral::apply_layer_types(&mut spec, settings, window)?;
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::kernel::AttentionPattern;

    fn read(kind: &str, more: &str) -> Spec {
        tried(kind, more).unwrap()
    }

    fn tried(kind: &str, more: &str) -> Result<Spec, String> {
        let llama = include_str!("../bundled/stories260k/config.json");
        let kind = format!("\"model_type\": \"{kind}\", {more} \"sliding_window\": 9");
        Spec::read(llama.replace("\"model_type\": \"llama\"", &kind).as_bytes(), "config.json")
            .map_err(|error| error.to_string())
    }

    #[test]
    fn windows_begin_where_the_config_says_and_only_if_it_wants_them() {
        assert_eq!(read("qwen2", "\"max_window_layers\": 3,").patterns, [AttentionPattern::Causal; 5]);
        let [before, window] = [AttentionPattern::Causal, AttentionPattern::SlidingWindow(9)];
        let head = "\"head_dim\": 8,";
        let patterns =
            read("qwen3", &format!("{head} \"use_sliding_window\": true, \"max_window_layers\": 3,")).patterns;
        assert_eq!(patterns, [before, before, before, window, window]);
        let types = |last: &str| {
            let four = "\"sliding_attention\", \"full_attention\", \"full_attention\", \"attention\"";
            format!("\"use_sliding_window\": true, \"layer_types\": [{four}, \"{last}\"],")
        };
        let patterns = read("qwen2", &types("sliding_attention")).patterns;
        assert_eq!(patterns, [window, before, before, before, window], "layer_types wins");
        let error = tried("qwen2", &types("chunked_attention")).unwrap_err();
        assert!(error.contains("layer_types is \"chunked_attention\", but only full_attention or"), "{error}");
        let error = tried("qwen2", "\"layer_types\": [\"full_attention\"],").unwrap_err();
        assert!(error.contains("but only a type for each of 5 num_hidden_layers is supported"), "{error}");
        let error = tried("qwen2", &types("full_attention").replace("true", "false")).unwrap_err();
        assert!(error.contains("where no window is given"), "{error}");
    }

    #[test]
    fn the_second_has_biases_and_the_third_has_head_norms() {
        let biased = |spec: &Spec| spec.linears.iter().flatten().filter(|linear| linear.bias).count();
        let (second, third) = (read("qwen2", ""), read("qwen3", ""));
        assert_eq!((second.heads.size, third.heads.size), (8, 128), "the class of the third has a size of its own");
        assert_eq!((biased(&second), second.names.head_norms), (3, None));
        assert_eq!((biased(&third), third.names.head_norms), (0, Some(["self_attn.q_norm", "self_attn.k_norm"])));
    }
}
