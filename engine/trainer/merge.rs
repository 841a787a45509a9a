//! The merged model: a base model and adapter values in, a Hugging Face folder with the weights `W + R + scale B A`
//! out, in the base's types and shards. Tensors are made one at a time, as they are written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::View;
use serde_json::{Value, json};

use super::gguf::{self, GgufModel};
use super::model_path::{ModelFolder, locate};
use super::weights::{Checkpoint, INDEX, TensorEntry};
use super::{ModelConfig, Trainer, TrainerError, family, model, model_path};
use crate::adapter::{AdapterLayout, AdapterWeights, Role, TensorInfo, float_bytes};

/// The file that is rewritten for a classifier head.
const CONFIG: &str = "config.json";

/// Modules of a checkpoint that do not belong to its base model.
const HEADS: [&str; 9] = [
    "classifier.",
    "cls.",
    "lm_head.",
    "pre_classifier.",
    "qa_outputs.",
    "score.",
    "vocab_layer_norm.",
    "vocab_projector.",
    "vocab_transform.",
];

/// Files of a model's folder that are copied unchanged, where it has them.
const COPIED: [&str; 11] = [
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

impl Trainer {
    /// Writes the folder `to` with the merged model of `weights`, `P` values, and with the tokenizer's files. `base` is
    /// the config that the trainer's model was loaded with, `labels` are the classes of its head in their order. Holds
    /// one tensor at a time in memory, beside the mapped files of the base.
    ///
    /// # Errors
    /// [`TrainerError`] naming the file or tensor at fault, also where `to` is the base's own folder.
    pub fn write_merged(
        &self,
        base: &ModelConfig,
        weights: &AdapterWeights,
        labels: &[String],
        to: &Path,
    ) -> Result<(), TrainerError> {
        let transposed = self.model().transposed();
        let base_prefix = self.model().transformer.spec.names.base;
        let merger =
            |checkpoint| Merger { checkpoint, layout: self.layout(), values: &weights.0, transposed, base_prefix };
        std::fs::create_dir_all(to).map_err(|source| TrainerError::Write { path: to.into(), source })?;
        match &base.path {
            None => {
                let checkpoint = Checkpoint::read(model::BUNDLED_FILES[1], "model.safetensors")?;
                merger(&checkpoint).write(to)?;
                write(&to.join(CONFIG), &self.config_json(model::BUNDLED_FILES[0], labels)?)?;
                write(&to.join("tokenizer.json"), model::BUNDLED_FILES[2])?;
                write(&to.join("tokenizer_config.json"), model::BUNDLED_TOKENIZER_CONFIG)
            }
            Some(path) if gguf::is_gguf(path) => {
                let model = GgufModel::open(path)?;
                merger(&model.weights).write(to)?;
                write(&to.join(CONFIG), &self.config_json(&model.settings, labels)?)?;
                write(&to.join("tokenizer.json"), &model.tokenizer.json)?;
                write(&to.join("tokenizer_config.json"), &model.tokenizer.config)
            }
            Some(path) => {
                let ModelFolder { folder, .. } = locate(path, &mut |_| ())?;
                if std::fs::canonicalize(&folder).ok() == std::fs::canonicalize(to).ok() {
                    return Err(TrainerError::OntoBase { folder });
                }
                merger(&Checkpoint::open(&folder)?).write(to)?;
                write(&to.join(CONFIG), &self.config_json(&model_path::read(&folder.join(CONFIG))?, labels)?)?;
                for file in COPIED.iter().filter(|file| folder.join(file).exists()) {
                    write(&to.join(file), &model_path::read(&folder.join(file))?)?;
                }
                Ok(())
            }
        }
    }

    /// config.json: the base's own, or that of a classifier where the adapter has a head.
    fn config_json(&self, base: &[u8], labels: &[String]) -> Result<Vec<u8>, TrainerError> {
        let classes = self.classes();
        if classes == 0 {
            return Ok(base.into());
        }
        let failed = |error: serde_json::Error| TrainerError::Config { file: CONFIG.into(), reason: error.to_string() };
        let mut config: Value = serde_json::from_slice(base).map_err(failed)?;
        let label = |class: usize| labels.get(class).cloned().unwrap_or_else(|| format!("LABEL_{class}"));
        config["id2label"] = (0..classes).map(|class| (class.to_string(), json!(label(class)))).collect();
        config["label2id"] = (0..classes).map(|class| (label(class), json!(class))).collect();
        if let Some(class) = config["model_type"].as_str().and_then(family::class_name) {
            let of = if self.model().transformer.spec.reads_pictures() { "Image" } else { "Sequence" };
            config["architectures"] = json!([format!("{class}For{of}Classification")]);
        }
        // The base's class settings belong to another task and would contradict the labels.
        for key in ["num_labels", "_num_labels", "problem_type"] {
            config.as_object_mut().map(|config| config.remove(key));
        }
        Ok(format!("{config:#}\n").into())
    }
}

/// A base's tensors and the adapter's changes of them.
struct Merger<'a> {
    checkpoint: &'a Checkpoint<'a>,
    layout: &'a AdapterLayout,
    values: &'a [f32],
    /// True where the base holds the trained weights as `[inputs, outputs]`.
    transposed: bool,
    /// The prefix of the base model's tensors in a checkpoint with a head.
    base_prefix: &'static str,
}

/// The adapter's change of one weight.
#[derive(Debug, Clone, Copy, Default)]
struct WeightChange<'a> {
    a: Option<&'a TensorInfo>,
    b: Option<&'a TensorInfo>,
    residual: Option<&'a TensorInfo>,
}

impl<'a> Merger<'a> {
    /// Writes every shard of the base and, where there are several, the index.
    fn write(&self, to: &Path) -> Result<(), TrainerError> {
        let changes = self.changes()?;
        let heads: Vec<&TensorInfo> =
            self.layout.tensors().iter().filter(|tensor| tensor.spec.role == Role::Head).collect();
        let named = |head: &'a TensorInfo| head.spec.bare_name();
        let missing = self.missing_prefix(!heads.is_empty());
        let whole = |name: &str| match missing.filter(|_| !HEADS.iter().any(|head| name.starts_with(head))) {
            Some(base) => format!("{base}.{name}"),
            None => name.to_owned(),
        };
        let mut index = serde_json::Map::new();
        for (number, shard) in self.checkpoint.shards().iter().enumerate() {
            let mut tensors = Vec::new();
            for (name, stored) in self.checkpoint.tensors().filter(|(_, stored)| stored.shard == number) {
                // A head of the base belongs to another task.
                if heads.iter().any(|head| named(head) == name) {
                    continue;
                }
                let change = changes.get(name).copied();
                tensors.push((
                    whole(name),
                    MergedTensor { merger: self, dtype: stored.dtype, stored: Some(stored), change },
                ));
            }
            for head in heads.iter().filter(|_| number == 0) {
                let change = Some(WeightChange { residual: Some(head), ..WeightChange::default() });
                tensors.push((
                    named(head).to_owned(),
                    MergedTensor { merger: self, dtype: Dtype::F32, stored: None, change },
                ));
            }
            index.extend(tensors.iter().map(|(name, _)| (name.clone(), json!(shard.name))));
            let path = to.join(&shard.name);
            let partial = path.with_extension("partial");
            let metadata = HashMap::from([("format".into(), "pt".into())]);
            safetensors::serialize_to_file(tensors, Some(metadata), &partial)
                .map_err(|error| std::io::Error::other(error.to_string()))
                .and_then(|()| std::fs::rename(&partial, &path))
                .map_err(|source| TrainerError::Write { path, source })?;
        }
        match self.checkpoint.shards().len() {
            1 => Ok(()),
            _ => write(&to.join(INDEX), format!("{:#}\n", json!({ "metadata": {}, "weight_map": index })).as_bytes()),
        }
    }

    /// The prefix that a checkpoint of the base model alone leaves out of its names. With a head beside it the result
    /// is a checkpoint of the whole model, whose names have the prefix.
    fn missing_prefix(&self, has_head: bool) -> Option<&'static str> {
        let begins = |name: &str| name.strip_prefix(self.base_prefix).is_some_and(|rest| rest.starts_with('.'));
        (has_head && !self.checkpoint.tensors().any(|(name, _)| begins(name))).then_some(self.base_prefix)
    }

    /// The changes, by the names of the base's tensors.
    fn changes(&self) -> Result<HashMap<String, WeightChange<'a>>, TrainerError> {
        let mut changes: HashMap<String, WeightChange> = HashMap::new();
        for tensor in self.layout.tensors().iter().filter(|tensor| tensor.spec.role != Role::Head) {
            let (layer, role) = (tensor.spec.layer(), tensor.spec.role);
            let name = self.checkpoint.checkpoint_name(&format!("{layer}.weight"));
            let change = changes.entry(name).or_default();
            match role {
                Role::LoraA => change.a = Some(tensor),
                Role::LoraB => change.b = Some(tensor),
                _ => change.residual = Some(tensor),
            }
        }
        for (name, change) in &changes {
            let [outputs, inputs] = change.shape();
            let expected = if self.transposed { [inputs, outputs] } else { [outputs, inputs] };
            self.checkpoint.check(name, &expected)?;
        }
        Ok(changes)
    }

    /// A base weight plus its change, as bytes of its type.
    fn merge(&self, stored: &TensorEntry, change: &WeightChange) -> Vec<u8> {
        let read = self.checkpoint.floats(stored);
        let mut weight = read.unwrap_or_else(|| unreachable!("`changes` checked the types"));
        let [outputs, inputs] = change.shape();
        for (row, delta) in change.delta(self.values).chunks_exact(inputs).enumerate() {
            for (column, delta) in delta.iter().enumerate() {
                let at = if self.transposed { column * outputs + row } else { row * inputs + column };
                weight[at] += delta;
            }
        }
        float_bytes::bytes(stored.dtype, &weight).unwrap_or_else(|| unreachable!("a type that is read is written"))
    }
}

impl WeightChange<'_> {
    /// `[outputs, inputs]`.
    fn shape(&self) -> [usize; 2] {
        let side = |tensor: Option<&TensorInfo>, side: usize| Some(tensor?.spec.shape[side]);
        let of = |pair: Option<usize>, number| pair.or_else(|| side(self.residual, number)).unwrap_or(0);
        [of(side(self.b, 0), 0), of(side(self.a, 1), 1)]
    }

    /// `R + scale B A`, row-major.
    fn delta(&self, values: &[f32]) -> Vec<f32> {
        let [outputs, inputs] = self.shape();
        let of = |tensor: &TensorInfo| &values[tensor.offset..tensor.offset + tensor.len];
        let mut delta = self.residual.map_or_else(|| vec![0.0; outputs * inputs], |residual| of(residual).to_vec());
        let (Some(a), Some(b)) = (self.a, self.b) else { return delta };
        let (rank, scale) = (a.spec.shape[0], a.spec.scale);
        for (row, b) in delta.chunks_exact_mut(inputs).zip(of(b).chunks_exact(rank)) {
            for (b, a) in b.iter().zip(of(a).chunks_exact(inputs)) {
                let factor = b * scale;
                row.iter_mut().zip(a).for_each(|(to, a)| *to += factor * a);
            }
        }
        delta
    }
}

/// A tensor of the merged model: of the base, changed or not, or of the head.
struct MergedTensor<'a> {
    merger: &'a Merger<'a>,
    dtype: Dtype,
    /// Its entry in the base; none for a head, which lies in the adapter alone.
    stored: Option<&'a TensorEntry>,
    change: Option<WeightChange<'a>>,
}

impl View for MergedTensor<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        match (self.stored, &self.change) {
            (Some(stored), _) => &stored.shape,
            (None, Some(WeightChange { residual: Some(head), .. })) => &head.spec.shape,
            (None, _) => &[],
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match (self.stored, &self.change) {
            (Some(stored), Some(change)) => self.merger.merge(stored, change).into(),
            (Some(stored), None) if stored.rows.is_some() => {
                let values = self.merger.checkpoint.floats(stored).unwrap_or_default();
                float_bytes::bytes(Dtype::F32, &values).unwrap_or_default().into()
            }
            (Some(stored), None) => self.merger.checkpoint.bytes(stored).into(),
            (None, change) => {
                let head = change.and_then(|change| change.residual);
                let values = head.map_or(&[][..], |head| &self.merger.values[head.offset..head.offset + head.len]);
                float_bytes::bytes(Dtype::F32, values).unwrap_or_default().into()
            }
        }
    }

    fn data_len(&self) -> usize {
        self.shape().iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainerError> {
    std::fs::write(path, bytes).map_err(|source| TrainerError::Write { path: path.into(), source })
}
