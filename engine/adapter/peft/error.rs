//! Errors of PEFT folders; every message names the file, the tensor or key, and both values.

use std::path::PathBuf;

/// A tensor that only one side has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub tensor: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Tensors that a message lists one by one.
const LISTED: usize = 8;

fn difference(missing: &[Named], surplus: &[Named]) -> String {
    let list = |tensors: &[Named]| {
        let listed = tensors.iter().take(LISTED).map(|named| format!("{} {:?}", named.tensor, named.shape));
        let listed = listed.collect::<Vec<_>>().join(", ");
        match tensors.len().saturating_sub(LISTED) {
            0 => listed,
            more => format!("{listed} and {more} more"),
        }
    };
    let missing = (!missing.is_empty()).then(|| format!("missing: {}", list(missing)));
    let surplus = (!surplus.is_empty()).then(|| format!("not part of the run's adapter: {}", list(surplus)));
    missing.into_iter().chain(surplus).collect::<Vec<_>>().join("; ")
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
        /// The system's error.
        source: std::io::Error,
    },
    /// adapter_config.json is no LoRA config.
    #[error("adapter config {}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        reason: String,
    },
    /// adapter_config.json asks for another adapter than the run's.
    #[error("adapter config {}: {key} is {found}, but the run has {expected}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// The key and the layer.
        key: String,
        /// Its value.
        found: String,
        /// The run's value.
        expected: String,
    },
    /// adapter_model.safetensors is broken.
    #[error("adapter weights {}: not a readable safetensors file: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// The reason why it cannot be used.
        reason: String,
    },
    /// Tensors that only one of the layout and the file has.
    #[error("adapter weights {}: {}", path.display(), difference(missing, surplus))]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Tensors that the file lacks, in layout order.
        missing: Vec<Named>,
        /// Tensors that the layout lacks, by name.
        surplus: Vec<Named>,
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
    /// A tensor of a type that is not read.
    #[error("adapter weights {}: tensor {tensor} has type {found}, but only F32, F16 and BF16 are read", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tensor with a value that is no number, or infinite.
    #[error("adapter weights {}: tensor {tensor} has {value} at value {at}", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Index of the value, counted from 0.
        at: usize,
        /// The value.
        value: f32,
    },
    /// The folder says that it has residuals, but the file is not there, or the other way round.
    #[error("adapter folder {}: {reason}", folder.display())]
    Residual {
        /// The folder.
        folder: PathBuf,
        /// The contradiction between the folder's config and its files.
        reason: &'static str,
    },
    /// Values of another length than the layout says.
    #[error("the adapter has {found} values, but its layout has {expected}")]
    Values {
        /// The layout's number.
        expected: usize,
        /// The given number.
        found: usize,
    },
}
