//! Tensors of a layout as one safetensors file: a part of the flat vector goes in or comes out.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{PeftError, load, replace};
use crate::adapter::TensorInfo;

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
        views.push((tensor.spec.name.as_str(), view));
    }
    let metadata = HashMap::from([("format".into(), "pt".into())]);
    replace(path, &safetensors::serialize(views, Some(metadata)).map_err(failed)?)
}

/// Reads exactly these tensors into their places of the flat vector `values`.
///
/// # Errors
/// [`PeftError`] naming the file and the tensor, with both values where two disagree.
pub(super) fn read(path: &Path, tensors: &[&TensorInfo], values: &mut [f32]) -> Result<(), PeftError> {
    let bytes = load(path)?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| PeftError::Weights { path: path.into(), reason: error.to_string() })?;
    let mut views: HashMap<String, TensorView> = file.tensors().into_iter().collect();
    for tensor in tensors {
        let (name, expected) = (&tensor.spec.name, &tensor.spec.shape);
        let Some(view) = views.remove(name) else {
            return Err(PeftError::Missing { path: path.into(), tensor: name.clone(), expected: expected.clone() });
        };
        let found = view.shape().to_vec();
        if found != *expected {
            let (tensor, expected) = (name.clone(), expected.clone());
            return Err(PeftError::Shape { path: path.into(), tensor, expected, found });
        }
        if view.dtype() != Dtype::F32 {
            let found = format!("{:?}", view.dtype());
            return Err(PeftError::Type { path: path.into(), tensor: name.clone(), found });
        }
        let places = &mut values[tensor.offset..tensor.offset + tensor.len];
        for (place, bytes) in places.iter_mut().zip(view.data().as_chunks::<4>().0) {
            *place = f32::from_le_bytes(*bytes);
        }
    }
    match views.into_iter().min_by(|left, right| left.0.cmp(&right.0)) {
        Some((tensor, view)) => Err(PeftError::Extra { path: path.into(), tensor, found: view.shape().to_vec() }),
        None => Ok(()),
    }
}
