//! Llama 1 to 3, and what has its layout (SmolLM, TinyLlama). Mistral and Qwen are made from the same parts.

use serde::Deserialize;

use super::rope::Rope;
use super::{Input, Linear, Names, SCORE, Settings, Spec};
use crate::trainer::TrainerError;
use crate::trainer::kernel::{Activation, Heads, NormKind, Sight};

/// The keys of config.json that the relatives of Llama share.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    hidden_size: usize,
    intermediate_size: usize,
    #[serde(rename = "num_hidden_layers")]
    pub layers: usize,
    #[serde(rename = "num_attention_heads")]
    heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    #[serde(rename = "max_position_embeddings")]
    positions: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f64>,
    rope_parameters: Option<Rope>,
    rope_scaling: Option<Rope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "silu")]
    hidden_act: String,
}

fn silu() -> String {
    "silu".into()
}

/// Which linear layers have a bias.
#[derive(Debug, Clone, Copy)]
pub(super) struct Biases {
    /// Those of queries, keys and values.
    pub qkv: bool,
    /// That of the attention's output.
    pub out: bool,
    /// Those of the feed-forward part.
    pub mlp: bool,
}

/// Reads a Llama.
pub(super) fn read(settings: &Settings) -> Result<Spec, TrainerError> {
    let config: Config = settings.parse()?;
    let biases = Biases { qkv: config.attention_bias, out: config.attention_bias, mlp: config.mlp_bias };
    config.spec(settings, "Llama", biases)
}

impl Config {
    /// A model of Llama's layout whose positions see all before them.
    pub fn spec(self, settings: &Settings, family: &'static str, biases: Biases) -> Result<Spec, TrainerError> {
        let kv_heads = self.num_key_value_heads.unwrap_or(self.heads);
        let sizes = [self.hidden_size, self.intermediate_size, self.layers, self.heads, kv_heads];
        settings.check(self.hidden_act == "silu", "hidden_act", &self.hidden_act, "silu")?;
        settings.check(sizes.iter().all(|size| *size > 0), "a size", 0, "a positive number")?;
        settings.check(self.vocab_size > 0 && self.positions > 0, "vocab_size or positions", 0, "more than 0")?;
        let divisor = format!("a divisor of {} num_attention_heads", self.heads);
        settings.check(self.heads.is_multiple_of(kv_heads), "num_key_value_heads", kv_heads, &divisor)?;
        let size = self.head_dim.unwrap_or(self.hidden_size / self.heads);
        settings.check(size > 0 && size.is_multiple_of(2), "head_dim", size, "an even number")?;
        let rope = self.rope_parameters.or(self.rope_scaling).unwrap_or_default();
        let heads = Heads { query: self.heads, key_value: kv_heads, size };
        Ok(Spec {
            family,
            hidden: self.hidden_size,
            vocabulary: self.vocab_size,
            positions: self.positions,
            heads,
            sights: vec![Sight::Before; self.layers],
            frequencies: rope.frequencies(settings, self.rope_theta, size)?,
            norm: NormKind::Rms,
            epsilon: self.rms_norm_eps,
            activation: Activation::SwiGlu,
            tied: self.tie_word_embeddings,
            classifier: SCORE,
            input: Input::Tokens { tokens: "embed_tokens", positions: None },
            names: NAMES,
            linears: linears(self.hidden_size, self.intermediate_size, heads, biases),
        })
    }
}

const NAMES: Names = Names {
    base: "model",
    blocks: "layers",
    norms: ["input_layernorm", "post_attention_layernorm"],
    head_norms: None,
    last_norm: "norm",
};

fn linears(hidden: usize, inner: usize, heads: Heads, biases: Biases) -> [Vec<Linear>; 4] {
    let (wide, narrow) = (heads.query * heads.size, heads.key_value * heads.size);
    let linear = |path, outputs, inputs, bias| Linear { path, outputs, inputs, bias, transposed: false };
    [
        vec![
            linear("self_attn.q_proj", wide, hidden, biases.qkv),
            linear("self_attn.k_proj", narrow, hidden, biases.qkv),
            linear("self_attn.v_proj", narrow, hidden, biases.qkv),
        ],
        vec![linear("self_attn.o_proj", hidden, wide, biases.out)],
        vec![linear("mlp.gate_proj", inner, hidden, biases.mlp), linear("mlp.up_proj", inner, hidden, biases.mlp)],
        vec![linear("mlp.down_proj", hidden, inner, biases.mlp)],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = include_str!("../bundled/stories260k/config.json");

    fn read(from: &str, to: &str) -> Result<Spec, String> {
        assert!(CONFIG.contains(from));
        Spec::read(CONFIG.replace(from, to).as_bytes(), "config.json").map_err(|error| error.to_string())
    }

    #[test]
    fn the_bundled_config_is_read() {
        let spec = read("silu", "silu").unwrap();
        assert_eq!(spec.heads, Heads { query: 8, key_value: 4, size: 8 });
        assert_eq!((spec.frequencies[0], spec.frequencies[2]), (1.0, 0.01));
        assert_eq!(spec.targets().join(" "), "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj");
        assert_eq!(spec.path(4, spec.linears[3][0].path), "model.layers.4.mlp.down_proj");
    }

    #[test]
    fn what_the_engine_lacks_is_refused_with_both_values() {
        let refused = |from, to| read(from, to).unwrap_err();
        assert!(
            refused("\"num_key_value_heads\": 4", "\"num_key_value_heads\": 3")
                .contains("is 3, but only a divisor of 8")
        );
        assert!(refused("\"silu\"", "\"gelu\"").contains("hidden_act is gelu, but only silu is supported"));
        assert!(refused("\"hidden_size\": 64,", "").contains("missing field `hidden_size`"));
        assert!(refused("\"rope_theta\": 10000.0", "\"rope_scaling\": {\"factor\": 2}").contains("rope_type"));
    }

    #[test]
    fn newer_rotary_settings_are_read() {
        let spec =
            read("\"rope_theta\": 10000.0", "\"rope_parameters\": {\"rope_theta\": 16e4, \"rope_type\": \"default\"}");
        assert_eq!(spec.unwrap().frequencies[1], 0.05);
    }

    #[test]
    fn biases_are_where_the_config_has_them() {
        let biased = |spec: &Spec| spec.linears.iter().flatten().filter(|linear| linear.bias).count();
        assert_eq!(biased(&read("silu", "silu").unwrap()), 0);
        assert_eq!(biased(&read("\"attention_bias\": false", "\"attention_bias\": true").unwrap()), 4);
        assert_eq!(biased(&read("\"mlp_bias\": false", "\"mlp_bias\": true").unwrap()), 3);
    }
}
