//! Adapters as PEFT folders, the form that `peft` 0.21 writes and reads: adapter_config.json and
//! adapter_model.safetensors. Values and a layout go in or come out. Residuals, which PEFT does not know, lie beside them
//! in residual.safetensors, with a README.md that says what to do with them.

mod config;
mod config_match;
mod error;
mod layer_names;
mod rules;
mod targets;
mod tensors;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::layout::PREFIX;
use super::{AdapterLayout, AdapterWeights, Role};

pub use config::{PeftConfig, read_config};
pub use error::{Named, PeftError};
pub use rules::{PairRule, PairRules, PatternError};
pub use targets::{Patterns, Targets};

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

/// The contents of a folder for a layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The values of the layout.
    pub weights: AdapterWeights,
    /// Tensors that PEFT puts in the place of the base model's own: name, shape and values. Where these are the base's, as
    /// tools write them along, nothing changes.
    pub whole: Vec<(Named, Vec<f32>)>,
    /// Keys and tensors that are passed over, as PEFT does, in words.
    pub left_out: Vec<String>,
}

/// Reads what [`write()`], or `peft` itself, wrote: every tensor of the layout by its name. What a folder never had keeps its
/// value of `start`: the heads where `modules_to_save` names none, and all of them without `heads`; the residuals.
///
/// # Errors
/// [`PeftError`] naming the file, the tensors or key, and both values where two disagree.
pub fn read(dir: &Path, layout: &AdapterLayout, start: AdapterWeights, heads: bool) -> Result<Read, PeftError> {
    let config = read_config(dir)?;
    let rules = config.check(&dir.join(CONFIG), layout)?;
    let (residuals, pairs): (Vec<_>, Vec<_>) = layout
        .tensors()
        .iter()
        .filter(|tensor| heads || tensor.spec.role != Role::Head)
        .partition(|tensor| tensor.spec.is_residual());
    if config.residual && residuals.is_empty() {
        let reason = "it has residuals, but the run has none: set lora.residual = true";
        return Err(PeftError::Residual { folder: dir.into(), reason });
    }
    let mut values = Arc::unwrap_or_clone(start.0);
    let path = dir.join(WEIGHTS);
    let surplus = tensors::read(&path, &pairs, !config.heads.is_empty(), &mut values)?;
    if config.residual {
        let surplus = tensors::read(&dir.join(RESIDUAL), &residuals, true, &mut values)?;
        surplus.refuse_any(&dir.join(RESIDUAL))?;
    }
    let (whole, mut left_out) = surplus.sort(&path, &rules)?;
    let unknown = config::unknown_keys(dir);
    if !unknown.is_empty() {
        let keys = unknown.join(", ");
        left_out.push(format!("{}: {keys} is not known and read over, as by PEFT", dir.join(CONFIG).display()));
    }
    Ok(Read { weights: AdapterWeights(values.into()), whole, left_out })
}

/// The rows of a head that a folder has, `score` for example; `None` where it has none.
///
/// # Errors
/// [`PeftError`] naming the file that cannot be read.
pub fn head_rows(dir: &Path, head: &str) -> Result<Option<usize>, PeftError> {
    tensors::rows(&dir.join(WEIGHTS), &format!("{PREFIX}{head}.weight"))
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
