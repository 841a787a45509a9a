//! What can go wrong with a PEFT folder; every message names the file, the tensor or key, and both values.

use std::path::PathBuf;

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
    /// The folder says that it has residuals, but the file is not there, or the other way round.
    #[error("adapter folder {}: {reason}", folder.display())]
    Residual {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        reason: &'static str,
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
