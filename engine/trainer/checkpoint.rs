//! A Hugging Face checkpoint: the bytes of config.json and model.safetensors in, checked settings and f32 values out.

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::TrainerError;

/// The keys of config.json that shape a Llama.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct LlamaConfig {
    model_type: String,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    #[serde(rename = "num_hidden_layers")]
    pub layers: usize,
    #[serde(rename = "num_attention_heads")]
    pub heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    pub vocab_size: usize,
    #[serde(rename = "max_position_embeddings")]
    pub positions: usize,
    pub rms_norm_eps: f32,
    rope_theta: Option<f64>,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<serde_json::Value>,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "silu")]
    hidden_act: String,
}

/// Where newer versions of `transformers` write the rotary settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct RopeParameters {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

fn silu() -> String {
    "silu".into()
}

impl LlamaConfig {
    /// Reads and checks config.json; `file` is what errors call it.
    pub fn read(json: &[u8], file: &str) -> Result<Self, TrainerError> {
        let config: Self = serde_json::from_slice(json)
            .map_err(|error| TrainerError::Config { file: file.into(), reason: error.to_string() })?;
        let check = |fine: bool, key, found: String, supported: &str| match fine {
            true => Ok(()),
            false => Err(TrainerError::Unsupported { file: file.into(), key, found, supported: supported.into() }),
        };
        let rope_type = config.rope_parameters.as_ref().and_then(|rope| rope.rope_type.as_deref()).unwrap_or("default");
        let scaling = config.rope_scaling.as_ref().filter(|scaling| !scaling.is_null());
        let sizes = [config.hidden_size, config.intermediate_size, config.layers, config.heads, config.kv_heads()];
        check(config.model_type == "llama", "model_type", config.model_type.clone(), "llama")?;
        check(config.hidden_act == "silu", "hidden_act", config.hidden_act.clone(), "silu")?;
        check(!config.attention_bias, "attention_bias", "true".into(), "false")?;
        check(!config.mlp_bias, "mlp_bias", "true".into(), "false")?;
        check(rope_type == "default", "rope_type", rope_type.into(), "default")?;
        check(scaling.is_none(), "rope_scaling", scaling.map(ToString::to_string).unwrap_or_default(), "null")?;
        check(sizes.iter().all(|size| *size > 0), "a size", "0".into(), "a positive number")?;
        check(config.vocab_size > 0 && config.positions > 0, "vocab_size or positions", "0".into(), "more than 0")?;
        let (heads, kv_heads) = (config.heads, config.kv_heads());
        check(
            heads % kv_heads == 0,
            "num_key_value_heads",
            kv_heads.to_string(),
            &format!("a divisor of {heads} num_attention_heads"),
        )?;
        let head_size = config.head_size();
        check(head_size > 0 && head_size.is_multiple_of(2), "head_dim", head_size.to_string(), "an even number")?;
        Ok(config)
    }

    /// Heads of keys and values.
    pub fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.heads)
    }

    /// Values a head.
    pub fn head_size(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.heads)
    }

    /// Base of the rotary frequencies.
    pub fn rope_theta(&self) -> f64 {
        self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(10_000.0)
    }
}

/// The tensors of a model.safetensors.
pub(super) struct Checkpoint<'a> {
    file: String,
    tensors: SafeTensors<'a>,
}

impl<'a> Checkpoint<'a> {
    /// Reads the header and checks that the file is whole; `file` is what errors call it.
    pub fn read(bytes: &'a [u8], file: &str) -> Result<Self, TrainerError> {
        let tensors = SafeTensors::deserialize(bytes)
            .map_err(|error| TrainerError::Weights { file: file.into(), reason: error.to_string() })?;
        Ok(Self { file: file.into(), tensors })
    }

    /// The values of one tensor as f32, row-major, after a check of its shape.
    pub fn values(&self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, TrainerError> {
        let (file, name) = (&self.file, tensor);
        let missing = |_| TrainerError::MissingTensor { file: file.clone(), tensor: name.into() };
        let view = self.tensors.tensor(tensor).map_err(missing)?;
        if view.shape() != shape {
            let (expected, found) = (shape.to_vec(), view.shape().to_vec());
            return Err(TrainerError::TensorShape { file: file.clone(), tensor: name.into(), expected, found });
        }
        let pairs = || view.data().as_chunks::<2>().0.iter();
        match view.dtype() {
            Dtype::F32 => Ok(view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
            Dtype::F16 => Ok(pairs().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()),
            Dtype::BF16 => Ok(pairs().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()),
            other => {
                let found = format!("{other:?}");
                Err(TrainerError::TensorType { file: file.clone(), tensor: name.into(), found })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = include_str!("bundled/stories260k/config.json");

    fn read(from: &str, to: &str) -> Result<LlamaConfig, String> {
        assert!(CONFIG.contains(from));
        LlamaConfig::read(CONFIG.replace(from, to).as_bytes(), "config.json").map_err(|error| error.to_string())
    }

    #[test]
    fn the_bundled_config_is_read() {
        let config = read("silu", "silu").unwrap();
        assert_eq!((config.heads, config.kv_heads(), config.head_size(), config.rope_theta()), (8, 4, 8, 10_000.0));
    }

    #[test]
    fn what_the_engine_lacks_is_refused_with_both_values() {
        let refused = |from, to| read(from, to).unwrap_err();
        assert_eq!(
            refused("\"model_type\": \"llama\"", "\"model_type\": \"gpt2\""),
            "model config config.json: model_type is gpt2, but only llama is supported"
        );
        assert!(
            refused("\"num_key_value_heads\": 4", "\"num_key_value_heads\": 3")
                .contains("is 3, but only a divisor of 8")
        );
        assert!(refused("\"mlp_bias\": false", "\"mlp_bias\": true").contains("mlp_bias is true"));
        assert!(refused("\"hidden_size\": 64,", "").contains("missing field `hidden_size`"));
    }

    #[test]
    fn newer_rotary_settings_are_read() {
        let config =
            read("\"rope_theta\": 10000.0", "\"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"default\"}");
        assert_eq!(config.unwrap().rope_theta(), 5e5);
        assert!(
            read("\"rope_theta\": 10000.0", "\"rope_scaling\": {\"factor\": 2}").unwrap_err().contains("rope_scaling")
        );
    }

    #[test]
    fn half_precision_files_are_read_and_other_types_refused() {
        let values = [1.0f32, -2.5, 0.15625];
        let halves: Vec<u8> = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
        let upper: Vec<u8> = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        let view = |dtype, data| safetensors::tensor::TensorView::new(dtype, vec![3], data).unwrap();
        let bytes = safetensors::serialize(
            [
                ("f16", view(Dtype::F16, &halves)),
                ("bf16", view(Dtype::BF16, &upper)),
                ("u8", view(Dtype::U8, &[1, 2, 3])),
            ],
            None,
        )
        .unwrap();
        let checkpoint = Checkpoint::read(&bytes, "m").unwrap();
        assert_eq!(checkpoint.values("f16", &[3]).unwrap(), values);
        assert_eq!(checkpoint.values("bf16", &[3]).unwrap(), values);
        let error = |tensor: &str, shape: &[usize]| checkpoint.values(tensor, shape).unwrap_err().to_string();
        assert_eq!(error("u8", &[3]), "model weights m: tensor u8 has type U8, but only F32, F16 and BF16 are read");
        assert_eq!(error("f16", &[1, 3]), "model weights m: tensor f16 has shape [3], but config.json makes it [1, 3]");
        assert_eq!(error("lm_head.weight", &[3]), "model weights m: tensor lm_head.weight is missing");
        assert!(Checkpoint::read(&bytes[..bytes.len() - 1], "m").is_err());
    }
}
