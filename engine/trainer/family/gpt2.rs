//! GPT-2: learned positions, norms and linear layers with biases, weights stored `[inputs, outputs]`, one layer for
//! queries, keys and values together.

use super::config_json::MOST_BLOCKS;
use super::keys::KeyUse;
use super::{ClassPosition, ConfigJson, Input, Labels, Linear, NormOrder, SCORE, Spec, TensorNames, TokenTables, gelu};
use crate::trainer::TrainerError;
use crate::trainer::kernel::{AttentionPattern, Heads, NormKind, RopeParameters};

/// The use of the keys of its configuration class.
pub(super) const KEYS: &[(&str, KeyUse)] = &[
    ("activation_function", KeyUse::Read),
    // Cross attention: its layers compute only where there is an encoder.
    ("add_cross_attention", KeyUse::Idle),
    ("attn_pdrop", KeyUse::Dropout),
    ("bos_token_id", KeyUse::Idle),
    ("embd_pdrop", KeyUse::Dropout),
    ("eos_token_id", KeyUse::Idle),
    ("initializer_range", KeyUse::Idle),
    ("layer_norm_epsilon", KeyUse::Read),
    ("n_embd", KeyUse::Read),
    ("n_head", KeyUse::Read),
    ("n_inner", KeyUse::Read),
    ("n_layer", KeyUse::Read),
    ("n_positions", KeyUse::Read),
    ("pad_token_id", KeyUse::Read),
    // Computed in f32 in any case, as here.
    ("reorder_and_upcast_attn", KeyUse::Idle),
    ("resid_pdrop", KeyUse::Dropout),
    ("scale_attn_by_inverse_layer_idx", KeyUse::Read),
    ("scale_attn_weights", KeyUse::Read),
    // The summary layers belong to a model with two heads.
    ("summary_activation", KeyUse::Idle),
    ("summary_first_dropout", KeyUse::Idle),
    ("summary_proj_to_labels", KeyUse::Idle),
    ("summary_type", KeyUse::Idle),
    ("summary_use_proj", KeyUse::Idle),
    ("tie_word_embeddings", KeyUse::Read),
    ("use_cache", KeyUse::Idle),
    ("vocab_size", KeyUse::Read),
];

/// Reads a GPT-2.
pub(super) fn read(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let hidden = settings.aliased_size(["n_embd", "hidden_size"], 768, None)?;
    let layers = settings.aliased_size(["n_layer", "num_hidden_layers"], 12, Some(MOST_BLOCKS))?;
    let query = settings.aliased_size(["n_head", "num_attention_heads"], 12, None)?;
    let inner = settings.optional_size("n_inner")?.unwrap_or(4 * hidden);
    let even = hidden.is_multiple_of(2 * query);
    settings.check(even, "n_embd", hidden, &format!("an even number times the {query} n_head"))?;
    let heads = Heads { query, key_value: query, size: hidden / query };
    let scale = if settings.flag("scale_attn_weights", true)? { heads.score_scale() } else { 1.0 };
    let by_layer = settings.flag("scale_attn_by_inverse_layer_idx", false)?;
    let scale_of = |layer: usize| if by_layer { scale / (layer + 1) as f32 } else { scale };
    let linear = |path, outputs, inputs| Linear { path, outputs, inputs, bias: true, transposed: true };
    Ok(Spec {
        family: "GPT-2",
        hidden,
        vocabulary: settings.size("vocab_size", 50_257)?,
        positions: settings.aliased_size(["n_positions", "max_position_embeddings"], 1024, None)?,
        heads,
        patterns: vec![AttentionPattern::Causal; layers],
        scales: (0..layers).map(scale_of).collect(),
        turns: RopeParameters::none(heads.size),
        norm: NormKind::Layer,
        norm_order: NormOrder::Pre,
        epsilon: settings.number("layer_norm_epsilon", 1e-5)? as f32,
        activation: gelu(settings, "activation_function", "gelu_new")?,
        tied: settings.flag("tie_word_embeddings", true)?,
        classifier: SCORE,
        labels: Labels::read(settings),
        class_position: ClassPosition::LastBut(settings.padding()?),
        left_out: Vec::new(),
        input: Input::Tokens(TokenTables::plain("wte", Some("wpe"))),
        names: NAMES,
        linears: [
            vec![linear("attn.c_attn", 3 * hidden, hidden)],
            vec![linear("attn.c_proj", hidden, hidden)],
            vec![linear("mlp.c_fc", inner, hidden)],
            vec![linear("mlp.c_proj", hidden, inner)],
        ],
    })
}

const NAMES: TensorNames = TensorNames {
    base: "transformer",
    blocks: "h",
    norms: ["ln_1", "ln_2"],
    head_norms: None,
    last_norm: Some("ln_f"),
};

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        r#"{"model_type": "gpt2", "vocab_size": 9, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3}"#;

    fn read(from: &str, to: &str) -> Result<Spec, String> {
        Spec::read(CONFIG.replace(from, to).as_bytes(), "config.json").map_err(|error| error.to_string())
    }

    #[test]
    fn its_targets_are_those_of_the_flasc_paper() {
        let spec = read("", "").unwrap();
        assert_eq!(spec.targets(), ["c_attn", "c_proj", "c_fc"]);
        assert_eq!((spec.heads.size, spec.linears[2][0].outputs, spec.tied), (4, 48, true));
    }

    #[test]
    fn what_the_engine_lacks_is_refused_with_both_values() {
        assert!(read("\"n_head\": 3", "\"n_head\": 4").unwrap_err().contains("n_embd is 12, but only an even number"));
        let error = read("\"n_head\"", "\"activation_function\": \"relu\", \"n_head\"").unwrap_err();
        assert!(error.contains("activation_function is relu"), "{error}");
    }

    #[test]
    fn scores_may_be_scaled_by_the_block_or_not_at_all() {
        let scales = |more: &str| read("\"n_head\"", &format!("{more}, \"n_head\"")).unwrap().scales;
        assert_eq!(scales("\"scale_attn_weights\": true"), [0.5, 0.5]);
        assert_eq!(scales("\"scale_attn_by_inverse_layer_idx\": true"), [0.5, 0.25]);
        assert_eq!(scales("\"scale_attn_weights\": false"), [1.0, 1.0]);
    }

    #[test]
    fn the_names_that_other_classes_have_for_a_size_win() {
        let spec = read("\"n_embd\": 12", "\"n_embd\": 12, \"hidden_size\": 24, \"num_hidden_layers\": 3").unwrap();
        assert_eq!((spec.hidden, spec.blocks(), spec.linears[2][0].outputs), (24, 3, 96));
    }
}
