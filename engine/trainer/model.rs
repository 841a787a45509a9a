//! The frozen base model and its tokenizer: a Hugging Face folder, a model of the hub or the bundled stories260k in,
//! one shared [`Model`] out.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::DType;
use half::bf16;

use super::device::{arithmetic, place};
use super::family::{Input, Spec};
use super::gguf::{self, GgufModel};
use super::hub_name::Download;
use super::image_processor::ImageProcessor;
use super::kernel::Place;
use super::model_path::{ModelFolder, locate, read, read_tokenizer};
use super::transformer::Transformer;
use super::weights::Checkpoint;
use super::{LoraConfig, ModelConfig, Quantize, TrainerError, adapter_targets, fingerprint, lora};
use crate::adapter::peft::PeftConfig;
use crate::adapter::{AdapterLayout, Role};
use crate::data::Tokenizer;

/// The name of the bundled model in errors and adapters.
const BUNDLED: &str = "stories260k (bundled)";
/// Its config.json, model.safetensors and tokenizer.json.
pub(super) const BUNDLED_FILES: [&[u8]; 3] = [
    include_bytes!("bundled/stories260k/config.json"),
    include_bytes!("bundled/stories260k/model.safetensors"),
    include_bytes!("bundled/stories260k/tokenizer.json"),
];
/// Its tokenizer_config.json, which the engine does not need but other tools do.
pub(super) const BUNDLED_TOKENIZER_CONFIG: &[u8] = include_bytes!("bundled/stories260k/tokenizer_config.json");

/// A tokenizer without a token: it refuses every text.
const NO_TOKENS: &[u8] =
    br#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {}, "unk_token": "?"}}"#;

/// The tokenizer of a model, without its weights; one that refuses every text, where the model reads pictures.
///
/// # Errors
/// [`TrainerError`] naming the file at fault.
pub fn tokenizer(config: &ModelConfig) -> Result<Tokenizer, TrainerError> {
    let Some(path) = &config.path else {
        return Ok(Tokenizer::from_bytes(BUNDLED_FILES[2], format!("{BUNDLED}/tokenizer.json"))?);
    };
    if gguf::is_gguf(path) {
        return gguf_tokenizer(&GgufModel::open(path)?, path);
    }
    let ModelFolder { folder, name } = locate(path, &mut |_| ())?;
    let file = folder.join("config.json");
    match Spec::read(&read(&file)?, &file.display().to_string())?.reads_pictures() {
        true => no_tokenizer(&name),
        false => {
            read_tokenizer(&folder.join("tokenizer.json"))?;
            Ok(Tokenizer::from_folder(&folder)?)
        }
    }
}

/// The longest sequence of the model that the config names, in tokens, without loading its weights.
///
/// # Errors
/// As [`tokenizer`].
pub fn positions(config: &ModelConfig) -> Result<usize, TrainerError> {
    let Some(path) = &config.path else {
        return Ok(Spec::read(BUNDLED_FILES[0], BUNDLED)?.positions);
    };
    if gguf::is_gguf(path) {
        return Ok(GgufModel::open(path)?.spec.positions);
    }
    let file = locate(path, &mut |_| ())?.folder.join("config.json");
    Ok(Spec::read(&read(&file)?, &file.display().to_string())?.positions)
}

fn gguf_tokenizer(model: &GgufModel, path: &Path) -> Result<Tokenizer, TrainerError> {
    let tokenizer = Tokenizer::from_bytes(&model.tokenizer.json, path.display().to_string())?;
    Ok(tokenizer.with_config(&model.tokenizer.config)?)
}

fn no_tokenizer(model: &str) -> Result<Tokenizer, TrainerError> {
    Ok(Tokenizer::from_bytes(NO_TOKENS, format!("{model}, which reads pictures"))?)
}

/// Frozen weights on a device, and the tokenizer. Immutable; all clients and threads share one.
#[derive(Debug)]
pub struct Model {
    pub(super) transformer: Transformer,
    tokenizer: Tokenizer,
    /// The image processor of a model that reads images.
    preprocessor: Option<ImageProcessor>,
    name: String,
    fingerprint: blake3::Hash,
    tokenizer_fingerprint: blake3::Hash,
}

/// The files of a model's folder beside the weights, as bytes.
#[derive(Clone, Copy)]
struct FolderFiles<'a> {
    settings: &'a [u8],
    tokenizer: Option<&'a [u8]>,
    preprocessor: Option<&'a [u8]>,
}

impl Model {
    /// Loads the model that the config names, from the hub where it is no folder. Each weight is in memory once, as f32
    /// or as `model.quantize` says; the files are mapped, not read.
    ///
    /// # Errors
    /// [`TrainerError`] naming the file, tensor, model or device at fault.
    pub fn load(config: &ModelConfig) -> Result<Arc<Self>, TrainerError> {
        Self::load_on(config, place(config)?)
    }

    /// [`Self::load`] to a given place, whatever `model.device` says.
    pub(super) fn load_on(config: &ModelConfig, place: Place) -> Result<Arc<Self>, TrainerError> {
        let on = (config.quantize, place);
        let model = match &config.path {
            None => {
                let [settings, weights, tokenizer] = BUNDLED_FILES;
                let names = ["config.json", "tokenizer.json"].map(|file| format!("{BUNDLED}/{file}"));
                let weights = Checkpoint::read(weights, &format!("{BUNDLED}/model.safetensors"))?;
                let parts = FolderFiles { settings, tokenizer: Some(tokenizer), preprocessor: None };
                Self::from_parts(parts, &weights, names, "stories260k".into(), on)?
            }
            Some(path) if gguf::is_gguf(path) => Self::from_gguf(&GgufModel::open(path)?, path, on)?,
            Some(path) => {
                let ModelFolder { folder, name } = locate(path, &mut |_| ())?;
                let files = ["config.json", "tokenizer.json", "preprocessor_config.json"].map(|file| folder.join(file));
                let given = |file: &Path| file.exists().then(|| read(file)).transpose();
                let (settings, preprocessor) = (read(&files[0])?, given(&files[2])?);
                let pictures = Spec::read(&settings, &files[0].display().to_string())?.reads_pictures();
                let tokenizer = if pictures { None } else { Some(read_tokenizer(&files[1])?) };
                let parts = FolderFiles {
                    settings: &settings,
                    tokenizer: tokenizer.as_deref(),
                    preprocessor: preprocessor.as_deref(),
                };
                let [config, of_tokenizer, of_preprocessor] = files.map(|file| file.display().to_string());
                let names = [config, if pictures { of_preprocessor } else { of_tokenizer }];
                let mut model = Self::from_parts(parts, &Checkpoint::open(&folder)?, names, name, on)?;
                model.tokenizer = model.tokenizer.with_folder(&folder)?;
                // Files beside tokenizer.json may add tokens.
                let (tokens, embeddings) = (model.tokenizer.vocab_size(), model.transformer.spec.vocabulary);
                if tokens > embeddings && !pictures {
                    let tokenizer = model.tokenizer.name().to_owned();
                    return Err(TrainerError::Vocabulary { tokenizer, tokens, model: model.name, embeddings });
                }
                let bytes = tokenizer.as_deref().unwrap_or_default();
                model.tokenizer_fingerprint = fingerprint::of_tokenizer(bytes, Some(&folder));
                model
            }
        };
        Ok(Arc::new(model))
    }

    /// Downloads the files of the config's model where they are not on this machine, so that [`Self::load`] need not
    /// wait for the hub; `tell` gets the progress of each file. Does nothing for a folder and for the bundled model.
    ///
    /// # Errors
    /// [`TrainerError::Hub`] where there is neither such a folder nor such a model.
    pub fn fetch(config: &ModelConfig, tell: &mut dyn FnMut(Download)) -> Result<(), TrainerError> {
        match &config.path {
            Some(path) if gguf::is_gguf(path) => Ok(()),
            Some(path) => locate(path, tell).map(|_| ()),
            None => Ok(()),
        }
    }

    /// Makes a model of a GGUF file.
    fn from_gguf(gguf: &GgufModel, path: &Path, (quantize, place): (Quantize, Place)) -> Result<Self, TrainerError> {
        let (weights, spec) = (&gguf.weights, gguf.spec.clone());
        let (transformer, tokenizer, fingerprint) = std::thread::scope(|scope| {
            let hashing = scope.spawn(|| fingerprint::of_model(&[&gguf.settings], weights));
            let reading = scope.spawn(|| gguf_tokenizer(gguf, path));
            let transformer = Transformer::read(weights, spec, quantize, place);
            let tokenizer = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (transformer, tokenizer, hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        weights.give_back_pages();
        let files = [gguf.tokenizer.json.as_slice(), &gguf.tokenizer.config].concat();
        Ok(Self {
            transformer: transformer?,
            tokenizer: tokenizer?,
            preprocessor: None,
            name: path.display().to_string(),
            fingerprint,
            tokenizer_fingerprint: fingerprint::of_tokenizer(&files, None),
        })
    }

    /// Makes a model of its files; `names` are the names in errors of config.json, and of tokenizer.json or
    /// preprocessor_config.json.
    fn from_parts(
        parts: FolderFiles,
        weights: &Checkpoint,
        names: [String; 2],
        name: String,
        (quantize, place): (Quantize, Place),
    ) -> Result<Self, TrainerError> {
        let spec = Spec::read(parts.settings, &names[0])?;
        let (tokenizer, preprocessor) = match (spec.input, parts.tokenizer) {
            (Input::Patches(patches), _) => {
                let preprocessor = ImageProcessor::read(parts.preprocessor, &names[1], patches)?;
                (no_tokenizer(&name)?, Some(preprocessor))
            }
            (Input::Tokens { .. }, bytes) => {
                (Tokenizer::from_bytes(bytes.unwrap_or(NO_TOKENS), names[1].clone())?, None)
            }
        };
        let (tokens, embeddings) = (tokenizer.vocab_size(), spec.vocabulary);
        if tokens > embeddings {
            let tokenizer = names[1].clone();
            return Err(TrainerError::Vocabulary { tokenizer, tokens, model: name, embeddings });
        }
        // In parallel: pages that one of the two has read are in memory for the other.
        let (transformer, fingerprint) = std::thread::scope(|scope| {
            let settings = [parts.settings, parts.preprocessor.unwrap_or_default()];
            let hashing = scope.spawn(move || fingerprint::of_model(&settings, weights));
            let transformer = Transformer::read(weights, spec, quantize, place);
            (transformer, hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let tokenizer_fingerprint = fingerprint::of_tokenizer(parts.tokenizer.unwrap_or_default(), None);
        Ok(Self { transformer: transformer?, tokenizer, preprocessor, name, fingerprint, tokenizer_fingerprint })
    }

    /// BLAKE3 over its weights and settings.
    pub fn fingerprint(&self) -> blake3::Hash {
        self.fingerprint
    }

    /// BLAKE3 over its tokenizer's files.
    pub fn tokenizer_fingerprint(&self) -> blake3::Hash {
        self.tokenizer_fingerprint
    }

    /// Checks that a tensor of an adapter folder that replaces one of the model's own has the same values.
    pub(super) fn check_replaced(&self, folder: &Path, tensor: String, values: &[f32]) -> Result<(), TrainerError> {
        let spec = &self.transformer.spec;
        let name = tensor.strip_prefix("base_model.model.").unwrap_or(&tensor);
        let same = match self.transformer.stored_values(name) {
            Some(own) => {
                let held = |value: &f32| match self.transformer.place.dtype {
                    DType::BF16 => bf16::from_f32(*value).to_f32(),
                    _ => *value,
                };
                own.iter().copied().eq(values.iter().map(held))
            }
            // A tensor of a module that the model does not have is ignored, as by PEFT.
            None => !name.starts_with(&format!("{}.", spec.names.base)),
        };
        if same { Ok(()) } else { Err(TrainerError::Replaces { folder: folder.into(), tensor }) }
    }

    /// The image processor; none for a model that reads tokens.
    pub(super) fn preprocessor(&self) -> Option<&ImageProcessor> {
        self.preprocessor.as_ref()
    }

    /// The model's tokenizer; one that refuses every text, where the model reads images.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// True where it reads images in place of tokens.
    pub fn reads_pictures(&self) -> bool {
        self.transformer.spec.reads_pictures()
    }

    /// The longest sequence, in tokens.
    pub fn max_positions(&self) -> usize {
        self.transformer.spec.positions
    }

    /// Its folder, its name on the hub, or the bundled model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The adapter_config.json of an adapter of this model with these settings and this layout, and with these classes
    /// where it has a head.
    pub fn peft_config(&self, config: &LoraConfig, layout: &AdapterLayout, classes: &[String]) -> PeftConfig {
        let has_head = layout.tensors().iter().any(|tensor| tensor.spec.role == Role::Head);
        // PEFT has no task type for image classification.
        let of_text = if has_head { "SEQ_CLS" } else { "CAUSAL_LM" };
        let task = (!self.transformer.spec.reads_pictures()).then(|| of_text.into());
        PeftConfig {
            base_model: Some(self.name.clone()),
            task,
            fan_in_fan_out: self.transposed(),
            classes: classes.to_vec(),
            ..lora::peft_config(config)
        }
    }

    /// The settings of an adapter folder with the paths of this model's layers as targets, and without patterns that
    /// match none of them: PEFT's interpretation of them.
    ///
    /// # Errors
    /// [`TrainerError`] where it names a module that cannot have a pair, or matches no layer at all.
    pub fn resolve_adapter(&self, adapter: PeftConfig) -> Result<PeftConfig, TrainerError> {
        adapter_targets::resolve_targets(&self.transformer.spec, adapter)
    }

    /// True where checkpoints hold the target weights as `[inputs, outputs]`.
    pub(super) fn transposed(&self) -> bool {
        self.transformer.spec.linears.iter().flatten().any(|linear| linear.transposed)
    }

    /// One line for people: name, size, device.
    pub fn describe(&self) -> String {
        let spec = &self.transformer.spec;
        let device = match (self.transformer.place.host, self.transformer.place.dtype) {
            (true, _) => "the CPU",
            (false, DType::BF16) => "a GPU in bf16",
            (false, _) => "a GPU",
        };
        let count = self.parameters();
        format!("{}: {}, {count} parameters, {} blocks, on {device}", self.name, spec.family, spec.blocks())
    }

    /// The name of the arithmetic that it computes with: vectors of the processor, or a GPU.
    pub fn arithmetic(&self) -> &'static str {
        arithmetic(&self.transformer.place)
    }

    /// True where it computes on a GPU.
    pub fn on_gpu(&self) -> bool {
        !self.transformer.place.host
    }

    /// Number of its weights.
    pub fn parameters(&self) -> usize {
        self.transformer.parameters()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [&[u8]; 3] = BUNDLED_FILES;

    fn load([settings, weights, tokenizer]: [&[u8]; 3]) -> Result<Model, String> {
        let names = ["config.json", "tokenizer.json"].map(String::from);
        Checkpoint::read(weights, "model.safetensors")
            .and_then(|weights| {
                let parts = FolderFiles { settings, tokenizer: Some(tokenizer), preprocessor: None };
                Model::from_parts(parts, &weights, names, "m".into(), (Quantize::None, Place::cpu()))
            })
            .map_err(|error| error.to_string())
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
            with_config("\"vocab_size\": 512", "\"vocab_size\": 300"),
            "tokenizer tokenizer.json has 512 tokens, but the model m has 300 embeddings"
        );
    }

    #[test]
    fn a_checkpoint_without_a_language_head_can_tell_classes_apart_and_nothing_else() {
        let config = String::from_utf8_lossy(PARTS[0]).replace("embeddings\": true", "embeddings\": false");
        let model = Arc::new(load([config.as_bytes(), PARTS[1], PARTS[2]]).unwrap());
        let trainer = |classes| crate::trainer::Trainer::new(model.clone(), &Default::default(), classes, 1);
        assert!(trainer(2).is_ok());
        assert_eq!(trainer(0).unwrap_err().to_string(), "model weights m: tensor lm_head.weight is missing");
    }

    #[test]
    fn corrupt_and_missing_files_are_named() {
        let error = load([PARTS[0], &PARTS[1][..1000], PARTS[2]]).unwrap_err();
        assert!(error.starts_with("model weights model.safetensors: not a readable safetensors file: "), "{error}");
        let error = load([b"{", PARTS[1], PARTS[2]]).unwrap_err();
        assert!(error.starts_with("model config config.json: "), "{error}");
        let config = ModelConfig { path: Some("/nowhere".into()), ..ModelConfig::default() };
        let error = Model::load(&config).unwrap_err().to_string();
        assert_eq!(error, "model.path /nowhere: there is no such folder");
    }

    #[test]
    fn a_folder_of_shards_gives_the_same_model_as_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        write("config.json", PARTS[0]);
        write("tokenizer.json", PARTS[2]);
        let whole = safetensors::SafeTensors::deserialize(PARTS[1]).unwrap();
        let mut map = serde_json::Map::new();
        let (mut odd, mut even) = (Vec::new(), Vec::new());
        for (number, (name, view)) in whole.tensors().into_iter().enumerate() {
            let shard = format!("model-0000{}-of-00002.safetensors", number % 2 + 1);
            map.insert(name.clone(), shard.into());
            if number % 2 == 0 { even.push((name, view)) } else { odd.push((name, view)) }
        }
        write("model-00001-of-00002.safetensors", &safetensors::serialize(even, None).unwrap());
        write("model-00002-of-00002.safetensors", &safetensors::serialize(odd, None).unwrap());
        write("model.safetensors.index.json", serde_json::json!({ "weight_map": map }).to_string().as_bytes());
        let config = ModelConfig { path: Some(dir.path().into()), device: "cpu".into(), ..ModelConfig::default() };
        let (sharded, whole) = (Model::load(&config).unwrap(), load(PARTS).unwrap());
        assert_eq!(sharded.transformer.embedding_values(), whole.transformer.embedding_values());
        assert_eq!((sharded.parameters(), sharded.name()), (260_032, &*dir.path().display().to_string()));
    }

    #[test]
    fn a_model_that_is_neither_a_folder_nor_on_the_hub_is_an_error_that_names_both() {
        let config = ModelConfig { path: Some("hf://a/b@c/../d".into()), ..ModelConfig::default() };
        assert_eq!(
            Model::load(&config).unwrap_err().to_string(),
            "model.path hf://a/b@c/../d: there is no such folder"
        );
        let error = TrainerError::Hub { path: "org/name".into(), reason: "it is silent".into() };
        assert_eq!(
            error.to_string(),
            "model.path org/name: there is no such folder, and it could not be had as a model of the hub: it is silent"
        );
    }
}
