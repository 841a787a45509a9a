//! Adapters as PEFT folders, the form that `peft` 0.21 writes and reads: adapter_config.json and
//! adapter_model.safetensors. Values and a layout go in or come out. Residuals, which PEFT does not know, lie beside them
//! in residual.safetensors, with a README.md that says what to do with them.

mod error;
mod tensors;

use std::io::Write;
use std::path::Path;

use serde::Deserialize;

use super::{AdapterLayout, AdapterWeights};

pub use error::PeftError;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const RESIDUAL: &str = "residual.safetensors";
const README: &str = "README.md";

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
    /// Whether residuals lie beside it. PEFT warns that it does not know the key, and gives other numbers without them.
    #[serde(rename = "cellm_residual", default)]
    pub residual: bool,
}

/// Writes `dir/adapter_config.json` and `dir/adapter_model.safetensors`, making `dir` where needed; where the layout has
/// residuals, `residual.safetensors` and a `README.md` too. Each file is whole or not there: it is written beside its
/// place, synced and renamed.
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
    let (residuals, pairs): (Vec<_>, Vec<_>) = layout.tensors().iter().partition(|tensor| tensor.spec.is_residual());
    if !residuals.is_empty() {
        tensors::write(&dir.join(RESIDUAL), &residuals, &weights.0)?;
        replace(&dir.join(README), include_str!("peft/residual_readme.md").as_bytes())?;
    }
    tensors::write(&dir.join(WEIGHTS), &pairs, &weights.0)?;
    replace(&dir.join(CONFIG), config.json(!residuals.is_empty()).as_bytes())
}

/// Reads what [`write`], or `peft` itself, wrote: every tensor of the layout by its name, and nothing else. Residuals of the
/// layout are zero where the folder never had any.
///
/// # Errors
/// [`PeftError`] naming the file, the tensor or key, and both values where two disagree.
pub fn read(dir: &Path, layout: &AdapterLayout) -> Result<AdapterWeights, PeftError> {
    let config = read_config(dir)?;
    config.check(&dir.join(CONFIG), layout)?;
    let (residuals, pairs): (Vec<_>, Vec<_>) = layout.tensors().iter().partition(|tensor| tensor.spec.is_residual());
    if config.residual && residuals.is_empty() {
        let reason = "it has residuals, but the run has none: set lora.residual = true";
        return Err(PeftError::Residual { folder: dir.into(), reason });
    }
    let mut values = vec![0.0; layout.values()];
    tensors::read(&dir.join(WEIGHTS), &pairs, &mut values)?;
    if config.residual {
        tensors::read(&dir.join(RESIDUAL), &residuals, &mut values)?;
    }
    Ok(AdapterWeights(values))
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
    let config = PeftConfig::deserialize(json).map_err(|error| failed(error.to_string()))?;
    if !config.residual && dir.join(RESIDUAL).exists() {
        return Err(failed(format!("cellm_residual is not true, but {RESIDUAL} lies beside it")));
    }
    Ok(config)
}

impl PeftConfig {
    /// The names of the folder's files; all of them together are the adapter.
    pub fn files(&self) -> &'static [&'static str] {
        if self.residual { &[CONFIG, WEIGHTS, RESIDUAL, README] } else { &[CONFIG, WEIGHTS] }
    }

    /// The file's text, with every key that `peft` needs to load it for inference.
    fn json(&self, residual: bool) -> String {
        let mut json = serde_json::json!({
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
        if residual {
            json["cellm_residual"] = true.into();
        }
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
        let targets = vec!["q_proj".into()];
        PeftConfig { base_model, rank, alpha: 2.0 * rank as f32, dropout: 0.5, targets, residual: false }
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
