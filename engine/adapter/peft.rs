//! Adapters as PEFT folders, the form that `peft` 0.21 writes and reads: adapter_config.json and
//! adapter_model.safetensors. Values and a layout go in or come out. Residuals, which PEFT does not know, lie beside them
//! in residual.safetensors, with a README.md that says what to do with them.

mod config;
mod error;
mod renamed;
mod rules;
mod tensors;

use std::io::Write;
use std::path::Path;

use super::{AdapterLayout, AdapterWeights};

pub use config::{PeftConfig, read_config};
pub use error::{Named, PeftError};
pub use rules::{PairRule, PairRules, PatternError, Targets};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const RESIDUAL: &str = "residual.safetensors";
const README: &str = "README.md";

/// Writes `dir/adapter_config.json` and `dir/adapter_model.safetensors`, making `dir` where needed; where the layout has
/// residuals, `residual.safetensors` and a `README.md` too. Each file is whole or not there: it is written beside its
/// place, synced and renamed.
///
/// # Errors
/// [`PeftError::Io`] naming the file, [`PeftError::Values`] where the values do not fit the layout, [`PeftError::Config`] where
/// the config has a regular expression that is none.
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
    let path = dir.join(CONFIG);
    let json = config.json(layout);
    let json = json.map_err(|error| PeftError::Config { path: path.clone(), reason: error.to_string() })?;
    replace(&path, json.as_bytes())
}

/// Reads what [`write`], or `peft` itself, wrote: every tensor of the layout by its name, and nothing else. What a folder
/// never had keeps its value of `start`: the heads where `modules_to_save` names none, the residuals.
///
/// # Errors
/// [`PeftError`] naming the file, the tensors or key, and both values where two disagree.
pub fn read(dir: &Path, layout: &AdapterLayout, start: AdapterWeights) -> Result<AdapterWeights, PeftError> {
    let config = read_config(dir)?;
    config.check(&dir.join(CONFIG), layout)?;
    let (residuals, pairs): (Vec<_>, Vec<_>) = layout.tensors().iter().partition(|tensor| tensor.spec.is_residual());
    if config.residual && residuals.is_empty() {
        let reason = "it has residuals, but the run has none: set lora.residual = true";
        return Err(PeftError::Residual { folder: dir.into(), reason });
    }
    let mut values = start.0;
    tensors::read(&dir.join(WEIGHTS), &pairs, !config.heads.is_empty(), &mut values)?;
    if config.residual {
        tensors::read(&dir.join(RESIDUAL), &residuals, true, &mut values)?;
    }
    Ok(AdapterWeights(values))
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
mod tests;
