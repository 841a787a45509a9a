//! Tensors of a layout as one safetensors file: a part of the flat vector goes in or comes out.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::error::Named;
use super::layer_names::{in_checkpoints, in_memory};
use super::{PairRules, PeftError, load, replace};
use crate::adapter::layout::PREFIX;
use crate::adapter::{Role, TensorInfo, float_bytes};

/// Writes these tensors of the flat vector `values`.
///
/// # Errors
/// [`PeftError`] naming the file.
pub(super) fn write(path: &Path, tensors: &[&TensorInfo], values: &[f32]) -> Result<(), PeftError> {
    let failed =
        |error: safetensors::SafeTensorError| PeftError::Weights { path: path.into(), reason: error.to_string() };
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| {
            let values = &values[tensor.offset..tensor.offset + tensor.len];
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        })
        .collect();
    let mut views = Vec::with_capacity(tensors.len());
    for (tensor, bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, tensor.spec.shape.clone(), bytes).map_err(failed)?;
        let name = &tensor.spec.name;
        views.push((in_memory(name).unwrap_or_else(|| name.clone()), view));
    }
    let metadata = HashMap::from([("format".into(), "pt".into())]);
    replace(path, &safetensors::serialize(views, Some(metadata)).map_err(failed)?)
}

/// Tensors with their values.
pub(super) type Whole = Vec<(Named, Vec<f32>)>;

/// Tensors of a file that a layout does not have.
pub(super) struct Surplus(Whole);

/// Reads these tensors into their places of the flat vector `values`, and gives those that are there beside them. Where
/// `heads` is false, the file need not have the heads; what it lacks of them keeps its value.
///
/// # Errors
/// [`PeftError`] naming the file and the tensors, with both values where two disagree.
pub(super) fn read(
    path: &Path,
    tensors: &[&TensorInfo],
    heads: bool,
    values: &mut [f32],
) -> Result<Surplus, PeftError> {
    let bytes = load(path)?;
    let mut views = views(path, &bytes)?;
    let mut missing = Vec::new();
    for tensor in tensors {
        let (name, expected) = (&tensor.spec.name, &tensor.spec.shape);
        let Some(view) = views.remove(name) else {
            if heads || tensor.spec.role != Role::Head {
                missing.push(Named { tensor: name.clone(), shape: expected.clone() });
            }
            continue;
        };
        let found = view.shape().to_vec();
        if found != *expected {
            let (tensor, expected) = (name.clone(), expected.clone());
            return Err(PeftError::Shape { path: path.into(), tensor, expected, found });
        }
        let Some(read) = float_bytes::floats(view.dtype(), view.data()) else {
            let found = format!("{:?}", view.dtype());
            return Err(PeftError::Type { path: path.into(), tensor: name.clone(), found });
        };
        if let Some(at) = read.iter().position(|value| !value.is_finite()) {
            return Err(PeftError::NotFinite { path: path.into(), tensor: name.clone(), at, value: read[at] });
        }
        values[tensor.offset..tensor.offset + tensor.len].copy_from_slice(&read);
    }
    let surplus = views.into_iter().map(|(tensor, view)| {
        let whole = (!tensor.contains(LORA)).then(|| float_bytes::floats(view.dtype(), view.data())).flatten();
        (Named { tensor, shape: view.shape().to_vec() }, whole.unwrap_or_default())
    });
    let mut surplus: Vec<_> = surplus.collect();
    surplus.sort_by(|left, right| left.0.tensor.cmp(&right.0.tensor));
    match missing.is_empty() {
        true => Ok(Surplus(surplus)),
        false => {
            let surplus = surplus.into_iter().map(|(named, _)| named).collect();
            Err(PeftError::Tensors { path: path.into(), missing, surplus })
        }
    }
}

/// The part that the names of all tensors of a pair have.
const LORA: &str = ".lora_";

impl Surplus {
    /// Splits what is there beside a layout, as PEFT takes it: those that take the place of a weight of the base model,
    /// and words on those that it reads over.
    ///
    /// # Errors
    /// [`PeftError::Tensors`] with what the file's own rules make a part of its adapter.
    pub fn sort(self, path: &Path, rules: &PairRules) -> Result<(Whole, Vec<String>), PeftError> {
        let (mut refused, mut whole, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for (named, values) in self.0 {
            let bare = named.tensor.strip_prefix(PREFIX);
            match bare.map(|bare| bare.split_once(LORA)) {
                Some(Some((layer, _))) => {
                    let failed = |reason: String| PeftError::Config { path: path.into(), reason };
                    let chosen = rules.chooses(layer).map_err(|error| failed(error.to_string()))?;
                    if chosen { refused.push(named) } else { idle.push(named.tensor) }
                }
                Some(None) => whole.push((named, values)),
                None => idle.push(named.tensor),
            }
        }
        if !refused.is_empty() {
            return Err(PeftError::Tensors { path: path.into(), missing: Vec::new(), surplus: refused });
        }
        let left_out = idle.first().map(|first| {
            let count = idle.len();
            format!(
                "{}: {count} tensors are read over, as by PEFT, for no rule of the adapter names them ({first})",
                path.display()
            )
        });
        Ok((whole, left_out.into_iter().collect()))
    }

    /// An error where there is anything.
    pub fn refuse_any(self, path: &Path) -> Result<(), PeftError> {
        let surplus: Vec<Named> = self.0.into_iter().map(|(named, _)| named).collect();
        match surplus.is_empty() {
            true => Ok(()),
            false => Err(PeftError::Tensors { path: path.into(), missing: Vec::new(), surplus }),
        }
    }
}

/// The rows of a tensor; `None` where the file does not have it.
pub(super) fn rows(path: &Path, name: &str) -> Result<Option<usize>, PeftError> {
    let bytes = load(path)?;
    Ok(views(path, &bytes)?.get(name).and_then(|view| view.shape().first().copied()))
}

/// The tensors of a file by the names that a layout has for them.
fn views<'a>(path: &Path, bytes: &'a [u8]) -> Result<HashMap<String, TensorView<'a>>, PeftError> {
    let failed = |reason: String| PeftError::Weights { path: path.into(), reason };
    let file = float_bytes::parsed(bytes, SafeTensors::deserialize).map_err(failed)?;
    let mut views = HashMap::new();
    for (name, view) in file.tensors() {
        let present = present(&name);
        if views.insert(present.clone(), view).is_some() {
            return Err(failed(format!("{name} is there twice, under the name of an adapter too ({present})")));
        }
    }
    Ok(views)
}

/// The layers of a head that PEFT saves as one module, RoBERTa's.
const HEAD_LAYERS: [&str; 2] = ["dense", "out_proj"];

/// The name that a layout has for a tensor of a file: of a head that which PEFT gives it today, where older versions kept the
/// wrapper's name in it; of a pair that without the name of an adapter, which a state in memory has; of a layer that of
/// checkpoints.
fn present(name: &str) -> String {
    if let Some((module, parameter)) = name.split_once(".modules_to_save.") {
        // The name of the adapter, where it is there, comes first; a parameter's own name is the last part, behind that of
        // a layer where the head has several.
        let parts: Vec<&str> = parameter.split('.').collect();
        let layered = parts.len() > 2 || HEAD_LAYERS.contains(&parts[0]);
        let own = parts.len().saturating_sub(if layered { 2 } else { 1 });
        return format!("{module}.{}", parts[own..].join("."));
    }
    let bare = [".lora_A.", ".lora_B."].iter().find_map(|part| {
        let (layer, parameter) = name.split_once(part)?;
        let (_, parameter) = parameter.rsplit_once('.')?;
        Some(format!("{layer}{part}{parameter}"))
    });
    let name = bare.as_deref().unwrap_or(name);
    in_checkpoints(name).unwrap_or_else(|| name.to_owned())
}
