//! ViT (Dosovitskiy et al. 2021): images cut into patches, a class token in front of them, full attention. The names
//! are those of checkpoints; newer versions of `transformers` have other names in memory but write these. PEFT goes by
//! the names in memory: `adapter::peft` renames.

use serde_json::Value;

use super::config_json::MOST_BLOCKS;
use super::keys::KeyUse;
use super::{
    ClassPosition, Classifier, ConfigJson, Input, Labels, Linear, NormOrder, Patches, Spec, TensorNames, gelu,
};
use crate::trainer::TrainerError;
use crate::trainer::kernel::{AttentionPattern, Heads, NormKind, RopeParameters};

/// The use of the keys of its configuration class.
pub(super) const KEYS: &[(&str, KeyUse)] = &[
    ("attention_probs_dropout_prob", KeyUse::Dropout),
    // Of a decoder for masked image modelling.
    ("encoder_stride", KeyUse::Idle),
    ("head_dim", KeyUse::Read),
    ("hidden_act", KeyUse::Read),
    ("hidden_dropout_prob", KeyUse::Dropout),
    ("hidden_size", KeyUse::Read),
    ("image_size", KeyUse::Read),
    ("initializer_range", KeyUse::Idle),
    ("intermediate_size", KeyUse::Read),
    ("layer_norm_eps", KeyUse::Read),
    ("num_attention_heads", KeyUse::Read),
    ("num_channels", KeyUse::Read),
    ("num_hidden_layers", KeyUse::Read),
    ("patch_size", KeyUse::Read),
    // A classifier has no pooler.
    ("pooler_act", KeyUse::Idle),
    ("pooler_output_size", KeyUse::Idle),
    ("qkv_bias", KeyUse::Read),
];

/// The largest side of an image, in pixels.
const LARGEST_SIDE: u64 = 1 << 16;

/// Reads a ViT.
pub(super) fn read(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let (hidden, query) = (settings.size("hidden_size", 768)?, settings.size("num_attention_heads", 12)?);
    let inner = settings.size("intermediate_size", 3072)?;
    let layers = settings.size_to("num_hidden_layers", 12, MOST_BLOCKS)?;
    let head_size = settings.optional_size("head_dim")?.unwrap_or(hidden / query);
    let even = head_size > 0 && head_size.is_multiple_of(2);
    settings.check(
        even,
        "head_dim",
        head_size,
        &format!("an even number (hidden_size by {query} num_attention_heads)"),
    )?;
    let heads = Heads { query, key_value: query, size: head_size };
    let size = sides(settings, "image_size", 224)?;
    let patch = sides(settings, "patch_size", 16)?;
    let whole = size[0].is_multiple_of(patch[0]) && size[1].is_multiple_of(patch[1]);
    settings.check(whole, "image_size", format!("{size:?}"), &format!("a multiple of the patch_size {patch:?}"))?;
    let linear = |path, outputs, inputs, bias| Linear { path, outputs, inputs, bias, transposed: false };
    let (wide, bias) = (query * head_size, settings.flag("qkv_bias", true)?);
    Ok(Spec {
        family: "ViT",
        hidden,
        vocabulary: 0,
        positions: 1 + (size[0] / patch[0]) * (size[1] / patch[1]),
        heads,
        patterns: vec![AttentionPattern::Full; layers],
        scales: vec![heads.score_scale(); layers],
        turns: RopeParameters::none(head_size),
        norm: NormKind::Layer,
        norm_order: NormOrder::Pre,
        epsilon: settings.number("layer_norm_eps", 1e-12)? as f32,
        activation: gelu(settings, "hidden_act", "gelu")?,
        tied: false,
        classifier: Classifier::linear("classifier", true),
        labels: Labels::read(settings),
        class_position: ClassPosition::First,
        left_out: Vec::new(),
        input: Input::Patches(Patches { channels: settings.size("num_channels", 3)?, size, patch }),
        names: NAMES,
        linears: [
            vec![
                linear("attention.attention.query", wide, hidden, bias),
                linear("attention.attention.key", wide, hidden, bias),
                linear("attention.attention.value", wide, hidden, bias),
            ],
            vec![linear("attention.output.dense", hidden, wide, true)],
            vec![linear("intermediate.dense", inner, hidden, true)],
            vec![linear("output.dense", hidden, inner, true)],
        ],
    })
}

const NAMES: TensorNames = TensorNames {
    base: "vit",
    blocks: "encoder.layer",
    norms: ["layernorm_before", "layernorm_after"],
    head_norms: None,
    last_norm: Some("layernorm"),
};

/// Height and width, one number or two in config.json.
fn sides(settings: &ConfigJson, key: &str, default: usize) -> Result<[usize; 2], TrainerError> {
    let Some(value) = settings.get(key) else { return Ok([default; 2]) };
    let number =
        |value: &Value| value.as_u64().filter(|side| (1..=LARGEST_SIDE).contains(side)).map(|side| side as usize);
    let sides = match value.as_array().map(Vec::as_slice) {
        Some([height, width]) => number(height).zip(number(width)),
        _ => number(value).map(|side| (side, side)),
    };
    let supported = format!("a number from 1 to {LARGEST_SIDE}, or two of them,");
    let (height, width) = sides.ok_or_else(|| settings.unsupported(key, value, &supported))?;
    Ok([height, width])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"model_type": "vit", "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 20, "image_size": 32, "patch_size": 8}"#;

    fn read(from: &str, to: &str) -> Result<Spec, String> {
        Spec::read(CONFIG.replace(from, to).as_bytes(), "config.json").map_err(|error| error.to_string())
    }

    #[test]
    fn a_position_a_patch_and_one_more() {
        assert_eq!(read("", "").unwrap().positions, 17);
        assert_eq!(read("\"patch_size\": 8", "\"patch_size\": [8, 16]").unwrap().positions, 9);
        assert_eq!(read("", "").unwrap().targets(), ["query", "key", "value", "dense"]);
    }

    #[test]
    fn what_the_engine_lacks_is_refused_with_both_values() {
        let error = read("\"patch_size\": 8", "\"patch_size\": 5").unwrap_err();
        assert!(error.contains("image_size is [32, 32], but only a multiple of the patch_size [5, 5]"), "{error}");
        let error = read("\"image_size\": 32", "\"image_size\": \"big\"").unwrap_err();
        assert!(error.contains("image_size is \"big\", but only a number from 1 to"), "{error}");
    }
}
