//! Adapters as PEFT folders, the form that `peft` 0.21 writes and reads: adapter_config.json and
//! adapter_model.safetensors. Values and a layout go in or come out.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::{AdapterLayout, AdapterWeights};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What adapter_config.json says beside what never changes here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PeftConfig {
    /// Folder or hub name of the base model.
    #[serde(rename = "base_model_name_or_path", default)]
    pub base_model: Option<String>,
    /// Rank of every pair.
    #[serde(rename = "r")]
    pub rank: usize,
    /// The scale is `alpha / rank`.
    #[serde(rename = "lora_alpha")]
    pub alpha: f32,
    /// Dropout in training.
    #[serde(rename = "lora_dropout", default)]
    pub dropout: f32,
    /// The trained linear layers.
    #[serde(rename = "target_modules")]
    pub targets: Vec<String>,
}

/// A PEFT folder that cannot be written, read or used.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    /// The file system refused.
    #[error("cannot {action} adapter file {}: {source}", path.display())]
    Io {
        /// read or write.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// adapter_config.json is no LoRA config.
    #[error("adapter config {}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// adapter_config.json asks for another adapter than the run's.
    #[error("adapter config {}: {key} is {found}, but the run has {expected}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What the run has.
        expected: String,
    },
    /// adapter_model.safetensors is broken.
    #[error("adapter weights {}: not a readable safetensors file: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A tensor of the layout that the file lacks.
    #[error("adapter weights {}: tensor {tensor} of shape {expected:?} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        expected: Vec<usize>,
    },
    /// A tensor of the file that the layout lacks.
    #[error("adapter weights {}: tensor {tensor} of shape {found:?} is not part of the run's adapter", path.display())]
    Extra {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor of another shape.
    #[error("adapter weights {}: tensor {tensor} has shape {found:?}, but the run's has {expected:?}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The layout's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// A tensor that does not hold f32.
    #[error("adapter weights {}: tensor {tensor} has type {found}, but only F32 is read", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// Values of another length than the layout says.
    #[error("the adapter has {found} values, but its layout has {expected}")]
    Values {
        /// What the layout says.
        expected: usize,
        /// What came.
        found: usize,
    },
}

/// Writes `dir/adapter_config.json` and `dir/adapter_model.safetensors`, making `dir` where needed. Each file is whole or
/// not there: it is written beside its place, synced and renamed.
///
/// # Errors
/// [`PeftError::Io`] naming the file, [`PeftError::Values`] where the values do not fit the layout.
pub fn write(
    dir: &Path,
    layout: &AdapterLayout,
    weights: &AdapterWeights,
    config: &PeftConfig,
) -> Result<(), PeftError> {
    if weights.0.len() != layout.values() {
        return Err(PeftError::Values { expected: layout.values(), found: weights.0.len() });
    }
    std::fs::create_dir_all(dir).map_err(|source| PeftError::Io { action: "write", path: dir.into(), source })?;
    let bytes: Vec<u8> = weights.0.iter().flat_map(|value| value.to_le_bytes()).collect();
    let path = dir.join(WEIGHTS);
    let failed =
        |error: safetensors::SafeTensorError| PeftError::Weights { path: path.clone(), reason: error.to_string() };
    let mut views = Vec::with_capacity(layout.tensors().len());
    for tensor in layout.tensors() {
        let data = &bytes[4 * tensor.offset..4 * (tensor.offset + tensor.len)];
        let view = TensorView::new(Dtype::F32, tensor.spec.shape.clone(), data).map_err(failed)?;
        views.push((tensor.spec.name.as_str(), view));
    }
    let metadata = HashMap::from([("format".into(), "pt".into())]);
    replace(&path, &safetensors::serialize(views, Some(metadata)).map_err(failed)?)?;
    replace(&dir.join(CONFIG), config.json().as_bytes())
}

/// Reads what [`write`], or `peft` itself, wrote: every tensor of the layout by its name, and nothing else.
///
/// # Errors
/// [`PeftError`] naming the file, the tensor or key, and both values where two disagree.
pub fn read(dir: &Path, layout: &AdapterLayout) -> Result<AdapterWeights, PeftError> {
    read_config(dir)?.check(&dir.join(CONFIG), layout)?;
    let path = dir.join(WEIGHTS);
    let bytes = load(&path)?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| PeftError::Weights { path: path.clone(), reason: error.to_string() })?;
    let mut views: HashMap<String, TensorView> = file.tensors().into_iter().collect();
    let mut values = Vec::with_capacity(layout.values());
    for tensor in layout.tensors() {
        let (name, expected) = (&tensor.spec.name, &tensor.spec.shape);
        let Some(view) = views.remove(name) else {
            return Err(PeftError::Missing { path, tensor: name.clone(), expected: expected.clone() });
        };
        let found = view.shape().to_vec();
        if found != *expected {
            return Err(PeftError::Shape { path, tensor: name.clone(), expected: expected.clone(), found });
        }
        if view.dtype() != Dtype::F32 {
            return Err(PeftError::Type { path, tensor: name.clone(), found: format!("{:?}", view.dtype()) });
        }
        values.extend(view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    match views.into_iter().min_by(|left, right| left.0.cmp(&right.0)) {
        Some((tensor, view)) => Err(PeftError::Extra { path, tensor, found: view.shape().to_vec() }),
        None => Ok(AdapterWeights(values)),
    }
}

/// Reads adapter_config.json alone, for example to lay an adapter out as a folder has it.
///
/// # Errors
/// [`PeftError::Io`] and [`PeftError::Config`].
pub fn read_config(dir: &Path) -> Result<PeftConfig, PeftError> {
    let path = dir.join(CONFIG);
    let bytes = load(&path)?;
    let failed = |reason: String| PeftError::Config { path: path.clone(), reason };
    let json: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    // Variants that change what the tensors mean.
    for (key, supported) in
        [("peft_type", "\"LORA\""), ("bias", "\"none\""), ("use_rslora", "false"), ("use_dora", "false")]
    {
        let found = json.get(key).map(ToString::to_string);
        if let Some(found) = found.filter(|found| found != supported) {
            return Err(failed(format!("{key} is {found}, but only {supported} is supported")));
        }
    }
    PeftConfig::deserialize(json).map_err(|error| failed(error.to_string()))
}

impl PeftConfig {
    /// The file's text, with every key that `peft` needs to load it for inference.
    fn json(&self) -> String {
        let json = serde_json::json!({
            "base_model_name_or_path": self.base_model,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.rank,
            "target_modules": self.targets,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": false,
        });
        format!("{json:#}\n")
    }

    fn check(&self, path: &Path, layout: &AdapterLayout) -> Result<(), PeftError> {
        let Some(first) = layout.tensors().first() else { return Ok(()) };
        let mismatch =
            |key, found: String, expected: String| Err(PeftError::Mismatch { path: path.into(), key, found, expected });
        if self.rank != first.spec.rank {
            return mismatch("r", self.rank.to_string(), first.spec.rank.to_string());
        }
        let scale = self.alpha / self.rank as f32;
        if scale != first.spec.scale {
            return mismatch("lora_alpha / r", scale.to_string(), first.spec.scale.to_string());
        }
        Ok(())
    }
}

fn load(path: &Path) -> Result<Vec<u8>, PeftError> {
    std::fs::read(path).map_err(|source| PeftError::Io { action: "read", path: path.into(), source })
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), PeftError> {
    let beside = path.with_extension("partial");
    let written = std::fs::File::create(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&beside, path)).map_err(|source| PeftError::Io {
        action: "write",
        path: path.into(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{Role, TensorSpec};

    fn layout(rank: usize, names: &[&str]) -> AdapterLayout {
        let spec = |name: &&str| TensorSpec {
            name: name.to_string(),
            role: Role::LoraA,
            shape: vec![rank, 3],
            rank,
            scale: 2.0,
            seed: 7,
        };
        AdapterLayout::new(names.iter().map(spec).collect())
    }

    fn config(rank: usize) -> PeftConfig {
        let base_model = Some("base".into());
        PeftConfig { base_model, rank, alpha: 2.0 * rank as f32, dropout: 0.5, targets: vec!["q_proj".into()] }
    }

    /// What reading gives that was written for rank 2 and tensors `a`, `b`.
    fn read_as(layout_read: &AdapterLayout) -> Result<AdapterWeights, String> {
        let dir = tempfile::tempdir().unwrap();
        let written = layout(2, &["b", "a"]);
        write(dir.path(), &written, &written.start(), &config(2)).unwrap();
        assert_eq!(read_config(dir.path()).unwrap(), config(2));
        let place = format!("{}/", dir.path().display());
        read(dir.path(), layout_read).map_err(|error| error.to_string().replace(&place, ""))
    }

    #[test]
    fn what_was_written_is_read_back_to_the_bit_in_layout_order() {
        let layout = layout(2, &["b", "a"]);
        assert_eq!(read_as(&layout).unwrap(), layout.start());
    }

    #[test]
    fn a_folder_of_another_adapter_is_refused_with_both_values() {
        let error = |rank, names: &[&str]| read_as(&layout(rank, names)).unwrap_err();
        assert_eq!(
            error(2, &["a", "c"]),
            "adapter weights adapter_model.safetensors: tensor c of shape [2, 3] is missing"
        );
        assert_eq!(
            error(2, &["a"]),
            "adapter weights adapter_model.safetensors: tensor b of shape [2, 3] is not part of the run's adapter"
        );
        assert_eq!(error(4, &["a", "b"]), "adapter config adapter_config.json: r is 2, but the run has 4");
        let mut specs: Vec<_> = layout(2, &["a", "b"]).tensors().iter().map(|tensor| tensor.spec.clone()).collect();
        specs[1].shape = vec![3, 2];
        assert_eq!(
            read_as(&AdapterLayout::new(specs)).unwrap_err(),
            "adapter weights adapter_model.safetensors: tensor b has shape [2, 3], but the run's has [3, 2]"
        );
    }

    #[test]
    fn broken_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(2, &["a"]);
        let error = || read(dir.path(), &layout).unwrap_err().to_string();
        assert!(error().starts_with("cannot read adapter file ") && error().contains(CONFIG));
        write(dir.path(), &layout, &layout.start(), &config(2)).unwrap();
        let bytes = std::fs::read(dir.path().join(WEIGHTS)).unwrap();
        std::fs::write(dir.path().join(WEIGHTS), &bytes[..bytes.len() - 1]).unwrap();
        assert!(error().contains("adapter_model.safetensors: not a readable safetensors file: "), "{}", error());
        std::fs::write(dir.path().join(CONFIG), r#"{"peft_type": "LOHA"}"#).unwrap();
        assert!(error().ends_with("peft_type is \"LOHA\", but only \"LORA\" is supported"), "{}", error());
    }
}
