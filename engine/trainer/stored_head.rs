//! The checkpoint's own head for classes: its tensors in, the start of a trained head out.

use super::TrainerError;
use super::family::Spec;
use super::head::ClassPlan;
use super::weights::Checkpoint;

/// The values of the layers that a checkpoint has of the trained head.
#[derive(Debug, Default)]
pub(super) struct StoredHead {
    /// Rows of the last layer; 0 where there is none.
    rows: usize,
    /// Weight and bias of the last layer, one after the other.
    last: Vec<f32>,
    /// Weight and bias of the trained layer before it.
    pooler: Vec<f32>,
}

impl StoredHead {
    /// Reads the head, as far as the file has it. One without the layer before the last is of another task.
    pub fn read(file: &Checkpoint, spec: &Spec) -> Result<Self, TrainerError> {
        let layer = |path: &str, rows: usize, bias: bool| {
            let [weight, offset] = ["weight", "bias"].map(|part| format!("{path}.{part}"));
            let mut values = file.values(&weight, &[rows, spec.hidden])?;
            if bias {
                values.extend(file.values(&offset, &[rows])?);
            }
            Ok::<_, TrainerError>(values)
        };
        let rows = |path: &str| file.shape(&format!("{path}.weight")).and_then(|shape| shape.first()).copied();
        let mut stored = Self::default();
        if let Some(classes) = rows(spec.classifier.name) {
            stored =
                Self { rows: classes, last: layer(spec.classifier.name, classes, spec.classifier.bias)?, ..stored };
        }
        if let Some(pooler) = spec.classifier.pooler.filter(|pooler| pooler.trained)
            && (stored.rows > 0 || rows(pooler.path).is_some())
        {
            stored.pooler = layer(pooler.path, spec.hidden, true)?;
        }
        Ok(stored)
    }

    /// The rows of the last layer; `None` where the checkpoint has no head.
    pub fn rows(&self) -> Option<usize> {
        (self.rows > 0).then_some(self.rows)
    }

    /// Copies the layers to their place in a flat vector: the last one where it has as many classes.
    pub fn start(&self, plan: &ClassPlan, flat: &mut [f32]) {
        let (weight, bias) = (plan.weight.clone(), plan.bias.clone().unwrap_or_default());
        if self.last.len() == weight.len() + bias.len() {
            let (of_weight, of_bias) = self.last.split_at(weight.len());
            flat[weight].copy_from_slice(of_weight);
            flat[bias].copy_from_slice(of_bias);
        }
        if let Some(plan) = plan.pooler.as_ref().filter(|_| !self.pooler.is_empty()) {
            let (of_weight, of_bias) = self.pooler.split_at(plan.weight.len());
            flat[plan.weight.clone()].copy_from_slice(of_weight);
            flat[plan.bias.clone()].copy_from_slice(of_bias);
        }
    }
}
