//! Tensors of a layout as one safetensors file: a part of the flat vector goes in or comes out.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::error::Named;
use super::renamed::{in_checkpoints, in_memory};
use super::{PeftError, load, replace};
use crate::adapter::{Role, TensorInfo, stored};

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

/// Reads exactly these tensors into their places of the flat vector `values`. Where `heads` is false, the file need not have
/// the heads; what it lacks of them keeps its value.
///
/// # Errors
/// [`PeftError`] naming the file and the tensors, with both values where two disagree.
pub(super) fn read(path: &Path, tensors: &[&TensorInfo], heads: bool, values: &mut [f32]) -> Result<(), PeftError> {
    let bytes = load(path)?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| PeftError::Weights { path: path.into(), reason: error.to_string() })?;
    let mut views: HashMap<String, TensorView> =
        file.tensors().into_iter().map(|(name, view)| (present(name), view)).collect();
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
        let Some(read) = stored::floats(view.dtype(), view.data()) else {
            let found = format!("{:?}", view.dtype());
            return Err(PeftError::Type { path: path.into(), tensor: name.clone(), found });
        };
        values[tensor.offset..tensor.offset + tensor.len].copy_from_slice(&read);
    }
    let mut surplus: Vec<Named> =
        views.into_iter().map(|(tensor, view)| Named { tensor, shape: view.shape().to_vec() }).collect();
    surplus.sort_by(|left, right| left.tensor.cmp(&right.tensor));
    match missing.is_empty() && surplus.is_empty() {
        true => Ok(()),
        false => Err(PeftError::Tensors { path: path.into(), missing, surplus }),
    }
}

/// The name that a layout has for a tensor of a file: of a head that which PEFT gives it today, where older versions kept the
/// wrapper's name in it; of a layer that of checkpoints.
fn present(name: String) -> String {
    match name.split_once(".modules_to_save.") {
        Some((module, parameter)) => format!("{module}.{}", parameter.strip_prefix("default.").unwrap_or(parameter)),
        None => in_checkpoints(&name).unwrap_or(name),
    }
}
