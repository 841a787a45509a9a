//! ViT (Dosovitskiy et al. 2021): pictures cut into patches, one position more in front that stands for the whole, blocks
//! whose positions see everything. The names are those of checkpoints; newer versions of `transformers` have others in
//! memory, and write these. PEFT goes by the others: `adapter::peft` renames.

use serde::Deserialize;
use serde_json::Value;

use super::{Classifier, Input, Linear, Names, Patches, Settings, Spec};
use crate::trainer::TrainerError;
use crate::trainer::kernel::{Activation, Heads, NormKind, Sight};

#[derive(Deserialize)]
struct Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "epsilon")]
    layer_norm_eps: f32,
    image_size: Value,
    patch_size: Value,
    #[serde(default = "colours")]
    num_channels: usize,
    #[serde(default = "yes")]
    qkv_bias: bool,
}

fn gelu() -> String {
    "gelu".into()
}

fn epsilon() -> f32 {
    1e-12
}

fn colours() -> usize {
    3
}

fn yes() -> bool {
    true
}

/// Reads a ViT.
pub(super) fn read(settings: &Settings) -> Result<Spec, TrainerError> {
    let config: Config = settings.parse()?;
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    let sizes = [hidden, config.intermediate_size, config.num_hidden_layers, heads, config.num_channels];
    settings.check(sizes.iter().all(|size| *size > 0), "a size", 0, "a positive number")?;
    let even = hidden.is_multiple_of(2 * heads);
    settings.check(even, "hidden_size", hidden, &format!("an even number times the {heads} num_attention_heads"))?;
    settings.check(config.hidden_act == "gelu", "hidden_act", &config.hidden_act, "gelu")?;
    let size = sides(settings, "image_size", &config.image_size)?;
    let patch = sides(settings, "patch_size", &config.patch_size)?;
    let whole = size[0].is_multiple_of(patch[0]) && size[1].is_multiple_of(patch[1]);
    settings.check(whole, "image_size", format!("{size:?}"), &format!("a multiple of the patch_size {patch:?}"))?;
    let linear = |path, outputs, inputs, bias| Linear { path, outputs, inputs, bias, transposed: false };
    let (inner, bias) = (config.intermediate_size, config.qkv_bias);
    Ok(Spec {
        family: "ViT",
        hidden,
        vocabulary: 0,
        positions: 1 + (size[0] / patch[0]) * (size[1] / patch[1]),
        heads: Heads { query: heads, key_value: heads, size: hidden / heads },
        sights: vec![Sight::Whole; config.num_hidden_layers],
        frequencies: vec![0.0; hidden / heads / 2],
        norm: NormKind::Layer,
        epsilon: config.layer_norm_eps,
        activation: Activation::Gelu,
        tied: false,
        classifier: Classifier { name: "classifier", bias: true },
        input: Input::Patches(Patches { channels: config.num_channels, size, patch }),
        names: NAMES,
        linears: [
            vec![
                linear("attention.attention.query", hidden, hidden, bias),
                linear("attention.attention.key", hidden, hidden, bias),
                linear("attention.attention.value", hidden, hidden, bias),
            ],
            vec![linear("attention.output.dense", hidden, hidden, true)],
            vec![linear("intermediate.dense", inner, hidden, true)],
            vec![linear("output.dense", hidden, inner, true)],
        ],
    })
}

const NAMES: Names = Names {
    base: "vit",
    blocks: "encoder.layer",
    norms: ["layernorm_before", "layernorm_after"],
    head_norms: None,
    last_norm: "layernorm",
};

/// Height and width, which config.json writes as one number or as two.
fn sides(settings: &Settings, key: &'static str, value: &Value) -> Result<[usize; 2], TrainerError> {
    let number = |value: &Value| value.as_u64().filter(|side| *side > 0).map(|side| side as usize);
    let sides = match value.as_array().map(Vec::as_slice) {
        Some([height, width]) => number(height).zip(number(width)),
        _ => number(value).map(|side| (side, side)),
    };
    settings.check(sides.is_some(), key, value, "a number above 0, or two of them,")?;
    Ok(sides.map_or([1, 1], |(height, width)| [height, width]))
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
        assert!(error.contains("image_size is \"big\", but only a number above 0"), "{error}");
    }
}
