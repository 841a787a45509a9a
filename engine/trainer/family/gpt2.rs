//! GPT-2: learned positions, norms and linear layers with biases, weights stored `[inputs, outputs]`, one layer for queries,
//! keys and values together.

use serde::Deserialize;

use super::{Input, Linear, Names, SCORE, Settings, Spec};
use crate::trainer::TrainerError;
use crate::trainer::kernel::{Activation, Heads, NormKind, Sight};

#[derive(Deserialize)]
struct Config {
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    #[serde(default = "gelu_new")]
    activation_function: String,
    #[serde(default = "epsilon")]
    layer_norm_epsilon: f32,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
}

fn gelu_new() -> String {
    "gelu_new".into()
}

fn epsilon() -> f32 {
    1e-5
}

fn yes() -> bool {
    true
}

/// Reads a GPT-2.
pub(super) fn read(settings: &Settings) -> Result<Spec, TrainerError> {
    let config: Config = settings.parse()?;
    let (hidden, inner) = (config.n_embd, config.n_inner.unwrap_or(4 * config.n_embd));
    let sizes = [hidden, inner, config.n_layer, config.n_head, config.vocab_size, config.n_positions];
    settings.check(sizes.iter().all(|size| *size > 0), "a size", 0, "a positive number")?;
    let even = hidden.is_multiple_of(2 * config.n_head);
    settings.check(even, "n_embd", hidden, &format!("an even number times the {} n_head", config.n_head))?;
    settings.check(config.scale_attn_weights, "scale_attn_weights", false, "true")?;
    let by_layer = config.scale_attn_by_inverse_layer_idx;
    settings.check(!by_layer, "scale_attn_by_inverse_layer_idx", by_layer, "false")?;
    let activation = match config.activation_function.as_str() {
        "gelu" => Activation::Gelu,
        name => {
            let known = ["gelu_new", "gelu_pytorch_tanh"].contains(&name);
            settings.check(known, "activation_function", name, "gelu_new, gelu_pytorch_tanh or gelu")?;
            Activation::GeluTanh
        }
    };
    let size = hidden / config.n_head;
    let linear = |path, outputs, inputs| Linear { path, outputs, inputs, bias: true, transposed: true };
    Ok(Spec {
        family: "GPT-2",
        hidden,
        vocabulary: config.vocab_size,
        positions: config.n_positions,
        heads: Heads { query: config.n_head, key_value: config.n_head, size },
        sights: vec![Sight::Before; config.n_layer],
        frequencies: vec![0.0; size / 2],
        norm: NormKind::Layer,
        epsilon: config.layer_norm_epsilon,
        activation,
        tied: config.tie_word_embeddings,
        classifier: SCORE,
        input: Input::Tokens { tokens: "wte", positions: Some("wpe") },
        names: NAMES,
        linears: [
            vec![linear("attn.c_attn", 3 * hidden, hidden)],
            vec![linear("attn.c_proj", hidden, hidden)],
            vec![linear("mlp.c_fc", inner, hidden)],
            vec![linear("mlp.c_proj", hidden, inner)],
        ],
    })
}

const NAMES: Names =
    Names { base: "transformer", blocks: "h", norms: ["ln_1", "ln_2"], head_norms: None, last_norm: "ln_f" };

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
}
