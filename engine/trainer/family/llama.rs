//! Llama 1 to 3, and models of its architecture (SmolLM, TinyLlama). Mistral and Qwen are variants of it.

use super::config_json::{MOST_BLOCKS, MOST_POSITIONS};
use super::keys::KeyUse;
use super::rope;
use super::{ClassPosition, ConfigJson, Input, Labels, Linear, NormOrder, SCORE, Spec, TensorNames, TokenTables};
use crate::trainer::TrainerError;
use crate::trainer::kernel::{Activation, AttentionPattern, Heads, NormKind};

/// The use of the keys that Llama and its variants share.
pub(super) const SHARED_KEYS: &[(&str, KeyUse)] = &[
    ("attention_dropout", KeyUse::Dropout),
    ("bos_token_id", KeyUse::Idle),
    ("eos_token_id", KeyUse::Idle),
    ("head_dim", KeyUse::Read),
    ("hidden_act", KeyUse::Read),
    ("hidden_size", KeyUse::Read),
    ("initializer_range", KeyUse::Idle),
    ("intermediate_size", KeyUse::Read),
    ("max_position_embeddings", KeyUse::Read),
    ("num_attention_heads", KeyUse::Read),
    ("num_hidden_layers", KeyUse::Read),
    ("num_key_value_heads", KeyUse::Read),
    ("original_max_position_embeddings", KeyUse::Read),
    ("pad_token_id", KeyUse::Read),
    ("partial_rotary_factor", KeyUse::Read),
    ("rms_norm_eps", KeyUse::Read),
    ("rope_parameters", KeyUse::Read),
    ("rope_scaling", KeyUse::Read),
    ("rope_theta", KeyUse::Read),
    ("tie_word_embeddings", KeyUse::Read),
    ("use_cache", KeyUse::Idle),
    ("vocab_size", KeyUse::Read),
];

/// The use of the keys of Llama alone.
pub(super) const KEYS: &[(&str, KeyUse)] =
    &[("attention_bias", KeyUse::Read), ("mlp_bias", KeyUse::Read), ("pretraining_tp", KeyUse::Idle)];

/// A variant of Llama: its name, and the defaults of its configuration class.
#[derive(Debug, Clone, Copy)]
pub(super) struct LlamaVariant {
    pub family: &'static str,
    pub vocabulary: usize,
    pub inner: usize,
    pub positions: usize,
    /// None where the default is the number of query heads.
    pub key_value_heads: Option<usize>,
    /// None where the default is the hidden size over the number of heads.
    pub head_size: Option<usize>,
}

const LLAMA: LlamaVariant = LlamaVariant {
    family: "Llama",
    vocabulary: 32_000,
    inner: 11_008,
    positions: 2048,
    key_value_heads: None,
    head_size: None,
};

/// The linear layers that have a bias.
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
pub(super) fn read(settings: &ConfigJson) -> Result<Spec, TrainerError> {
    let attention = settings.flag("attention_bias", false)?;
    LLAMA.spec(settings, Biases { qkv: attention, out: attention, mlp: settings.flag("mlp_bias", false)? })
}

impl LlamaVariant {
    /// The spec of a model of Llama's architecture with causal attention.
    pub fn spec(self, settings: &ConfigJson, biases: Biases) -> Result<Spec, TrainerError> {
        let hidden = settings.size("hidden_size", 4096)?;
        let inner = settings.size("intermediate_size", self.inner)?;
        let layers = settings.size_to("num_hidden_layers", 32, MOST_BLOCKS)?;
        let positions = settings.size_to("max_position_embeddings", self.positions, MOST_POSITIONS)?;
        let heads = self.heads(settings, hidden)?;
        let activation = settings.word("hidden_act", "silu")?;
        settings.check(
            ["silu", "swish"].contains(&activation),
            "hidden_act",
            activation,
            "silu, which is swish too,",
        )?;
        Ok(Spec {
            family: self.family,
            hidden,
            vocabulary: settings.size("vocab_size", self.vocabulary)?,
            positions,
            heads,
            patterns: vec![AttentionPattern::Causal; layers],
            scales: vec![heads.score_scale(); layers],
            turns: rope::turns(settings, heads.size, positions)?,
            norm_order: NormOrder::Pre,
            norm: NormKind::Rms,
            epsilon: settings.number("rms_norm_eps", 1e-6)? as f32,
            activation: Activation::SwiGlu,
            tied: settings.flag("tie_word_embeddings", false)?,
            classifier: SCORE,
            labels: Labels::read(settings),
            class_position: ClassPosition::LastBut(settings.padding()?),
            left_out: Vec::new(),
            input: Input::Tokens(TokenTables::plain("embed_tokens", None)),
            names: NAMES,
            linears: linears(hidden, inner, heads, biases),
        })
    }

    fn heads(self, settings: &ConfigJson, hidden: usize) -> Result<Heads, TrainerError> {
        let query = settings.size("num_attention_heads", 32)?;
        // `null` key_use the number of query heads, where the class allows it.
        let key_value = match settings.optional_size("num_key_value_heads")? {
            Some(heads) => heads,
            None => self.key_value_heads.filter(|_| !settings.is_null("num_key_value_heads")).unwrap_or(query),
        };
        let divisor = format!("a divisor of {query} num_attention_heads");
        settings.check(query.is_multiple_of(key_value), "num_key_value_heads", key_value, &divisor)?;
        let size = match self.head_size {
            Some(size) => settings.size("head_dim", size)?,
            None => settings.optional_size("head_dim")?.unwrap_or(hidden / query),
        };
        settings.check(size > 0 && size.is_multiple_of(2), "head_dim", size, "an even number above 0")?;
        Ok(Heads { query, key_value, size })
    }
}

const NAMES: TensorNames = TensorNames {
    base: "model",
    blocks: "layers",
    norms: ["input_layernorm", "post_attention_layernorm"],
    head_norms: None,
    last_norm: Some("norm"),
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
        assert_eq!((spec.turns.frequencies[0], spec.turns.frequencies[2], spec.turns.factor), (1.0, 0.01, 1.0));
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
        assert!(refused("\"silu\"", "\"gelu\"").contains("hidden_act is gelu, but only silu, which is swish too, is"));
        let quantized = "\"quantization_config\": {\"quant_method\": \"gptq\"}, \"hidden_size\": 64,";
        assert!(refused("\"hidden_size\": 64,", quantized).contains("the weights are quantized (gptq)"));
        let error = refused("\"hidden_size\": 64,", "\"hidden_size\": 64, \"is_causal\": false,");
        assert!(error.ends_with("is_causal is false, but only true is supported"), "{error}");
    }

    #[test]
    fn absurd_sizes_are_refused_before_anything_is_made() {
        for (from, to, says) in [
            (
                "\"hidden_size\": 64",
                "\"hidden_size\": 9223372036854775808",
                "hidden_size is 9223372036854775808, but only",
            ),
            ("\"num_hidden_layers\": 5", "\"num_hidden_layers\": 1000000000", "a whole number from 1 to 16384 is"),
            ("\"num_attention_heads\": 8", "\"num_attention_heads\": 0", "num_attention_heads is 0, but only"),
            ("\"vocab_size\": 512", "\"vocab_size\": -1", "vocab_size is -1, but only"),
            ("\"intermediate_size\": 172", "\"intermediate_size\": null", "intermediate_size is null, but only"),
        ] {
            let error = read(from, to).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        let long = read("\"max_position_embeddings\": 512", "\"max_position_embeddings\": 1000000000").unwrap();
        assert_eq!(long.positions, 1_000_000_000);
    }

    #[test]
    fn biases_are_where_the_config_has_them() {
        let biased = |spec: &Spec| spec.linears.iter().flatten().filter(|linear| linear.bias).count();
        assert_eq!(biased(&read("silu", "silu").unwrap()), 0);
        assert_eq!(biased(&read("\"attention_bias\": false", "\"attention_bias\": true").unwrap()), 4);
        assert_eq!(biased(&read("\"mlp_bias\": false", "\"mlp_bias\": true").unwrap()), 3);
    }
}
