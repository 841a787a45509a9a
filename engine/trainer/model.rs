//! The frozen base model and its tokenizer: a Hugging Face folder or the bundled stories260k in, one shared [`Model`] out.

use std::path::Path;
use std::sync::Arc;

use super::checkpoint::{Checkpoint, LlamaConfig};
use super::kernel::Place;
use super::llama::Llama;
use super::{ModelConfig, TrainerError};
use crate::data::Tokenizer;

/// What errors and adapters call the model that the binary carries.
const BUNDLED: &str = "stories260k (bundled)";

/// Frozen weights on a device, and the tokenizer. All clients and threads share one; nothing in it ever changes.
#[derive(Debug)]
pub struct Model {
    pub(super) llama: Llama,
    tokenizer: Tokenizer,
    name: String,
}

impl Model {
    /// Loads what the config names. Reads and keeps every weight once, as f32.
    ///
    /// # Errors
    /// [`TrainerError`] naming the file, tensor or device at fault.
    pub fn load(config: &ModelConfig) -> Result<Arc<Self>, TrainerError> {
        let place = place(&config.device)?;
        let model = match &config.path {
            None => Self::from_parts(
                [
                    include_bytes!("bundled/stories260k/config.json").as_slice(),
                    include_bytes!("bundled/stories260k/model.safetensors"),
                    include_bytes!("bundled/stories260k/tokenizer.json"),
                ],
                ["config.json", "model.safetensors", "tokenizer.json"].map(|file| format!("{BUNDLED}/{file}")),
                "stories260k".into(),
                place,
            )?,
            Some(folder) => {
                let files = ["config.json", "model.safetensors", "tokenizer.json"].map(|file| folder.join(file));
                let [settings, weights, tokenizer] = [read(&files[0])?, read(&files[1])?, read(&files[2])?];
                let names = files.map(|file| file.display().to_string());
                Self::from_parts([&settings, &weights, &tokenizer], names, folder.display().to_string(), place)?
            }
        };
        Ok(Arc::new(model))
    }

    /// Puts a model together from the bytes of config.json, model.safetensors and tokenizer.json, and the files' names.
    fn from_parts(
        [settings, weights, tokenizer]: [&[u8]; 3],
        names: [String; 3],
        name: String,
        place: Place,
    ) -> Result<Self, TrainerError> {
        let config = LlamaConfig::read(settings, &names[0])?;
        let tokenizer = Tokenizer::from_bytes(tokenizer, names[2].clone())?;
        let (tokens, embeddings) = (tokenizer.vocab_size(), config.vocab_size);
        if tokens > embeddings {
            let tokenizer = names[2].clone();
            return Err(TrainerError::Vocabulary { tokenizer, tokens, model: name, embeddings });
        }
        let llama = Llama::read(&Checkpoint::read(weights, &names[1])?, config, place)?;
        Ok(Self { llama, tokenizer, name })
    }

    /// The tokenizer that belongs to the model.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The longest sequence, in tokens.
    pub fn max_positions(&self) -> usize {
        self.llama.config.positions
    }

    /// The folder that it came from, or the bundled model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One line for people: name, size, device.
    pub fn describe(&self) -> String {
        let config = &self.llama.config;
        let (count, device) = (self.parameters(), if self.llama.place.host { "the CPU" } else { "a GPU" });
        format!("{}: Llama, {count} parameters, {} blocks, on {device}", self.name, config.layers)
    }

    /// How many weights it has.
    pub fn parameters(&self) -> usize {
        self.llama.parameters()
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TrainerError> {
    std::fs::read(path).map_err(|source| TrainerError::Read { path: path.into(), source })
}

/// The device that `model.device` names.
fn place(device: &str) -> Result<Place, TrainerError> {
    let failed = |reason: String| TrainerError::Device { device: device.into(), reason };
    match device {
        "cpu" => Ok(Place::cpu()),
        "auto" => Ok(cuda(0).unwrap_or_else(|_| Place::cpu())),
        other => {
            let number = other.strip_prefix("cuda:").and_then(|number| number.parse().ok());
            let number = number.ok_or_else(|| failed("unknown; auto, cpu and cuda:N are known".into()))?;
            cuda(number).map_err(failed)
        }
    }
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Place, String> {
    use burn::tensor::Device;
    let found = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec();
    match number < found.len() {
        true => Ok(Place { device: Device::cuda(number), host: false }),
        false => Err(format!("there are {} CUDA devices", found.len())),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_number: usize) -> Result<Place, String> {
    Err("this binary was built without the cargo feature cuda".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [&[u8]; 3] = [
        include_bytes!("bundled/stories260k/config.json"),
        include_bytes!("bundled/stories260k/model.safetensors"),
        include_bytes!("bundled/stories260k/tokenizer.json"),
    ];

    fn load(parts: [&[u8]; 3]) -> Result<Model, String> {
        let names = ["config.json", "model.safetensors", "tokenizer.json"].map(String::from);
        Model::from_parts(parts, names, "m".into(), Place::cpu()).map_err(|error| error.to_string())
    }

    fn with_config(from: &str, to: &str) -> String {
        let config = String::from_utf8_lossy(PARTS[0]).replace(from, to);
        load([config.as_bytes(), PARTS[1], PARTS[2]]).unwrap_err()
    }

    #[test]
    fn the_bundled_model_loads_and_describes_itself() {
        let model = Model::load(&ModelConfig { device: "cpu".into(), ..ModelConfig::default() }).unwrap();
        assert_eq!(model.describe(), "stories260k: Llama, 260032 parameters, 5 blocks, on the CPU");
        assert_eq!((model.max_positions(), model.tokenizer().vocab_size()), (512, 512));
    }

    #[test]
    fn a_checkpoint_that_disagrees_with_its_config_is_refused_with_both_values() {
        assert_eq!(
            with_config("\"intermediate_size\": 172", "\"intermediate_size\": 170"),
            "model weights model.safetensors: tensor model.layers.0.mlp.gate_proj.weight has shape [172, 64], but config.json \
             makes it [170, 64]"
        );
        assert_eq!(
            with_config("\"num_hidden_layers\": 5", "\"num_hidden_layers\": 6"),
            "model weights model.safetensors: tensor model.layers.5.input_layernorm.weight is missing"
        );
        assert_eq!(
            with_config("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false"),
            "model weights model.safetensors: tensor lm_head.weight is missing"
        );
        assert_eq!(
            with_config("\"vocab_size\": 512", "\"vocab_size\": 300"),
            "tokenizer tokenizer.json has 512 tokens, but the model m has 300 embeddings"
        );
    }

    #[test]
    fn corrupt_and_missing_files_are_named() {
        let error = load([PARTS[0], &PARTS[1][..1000], PARTS[2]]).unwrap_err();
        assert!(error.starts_with("model weights model.safetensors: not a readable safetensors file: "), "{error}");
        let error = load([b"{", PARTS[1], PARTS[2]]).unwrap_err();
        assert!(error.starts_with("model config config.json: "), "{error}");
        let config = ModelConfig { path: Some("/nowhere".into()), ..ModelConfig::default() };
        let error = Model::load(&config).unwrap_err().to_string();
        assert!(error.starts_with("cannot read model file /nowhere/config.json: "), "{error}");
    }

    #[test]
    fn an_unknown_device_is_refused() {
        let error = place("tpu").unwrap_err().to_string();
        assert_eq!(error, "model.device tpu: unknown; auto, cpu and cuda:N are known");
        assert!(place("cuda:99").is_err());
    }
}
