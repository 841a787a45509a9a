//! Errors of an experiment. A cell that fails is no error of the experiment: it is reported with its reason.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::federation::FederationError;
use crate::report::ReportError;

/// A failure to read, expand, run or estimate an experiment.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// The file, or a config that it describes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A config that is wrong in one cell.
    #[error("cell {cell}: {source}")]
    Cell {
        /// The cell.
        cell: String,
        /// The config's error.
        source: Box<ConfigError>,
    },
    /// A key of the experiment itself.
    #[error("{path}: {key} is {found}, it must be {allowed}")]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// Accepted values, in words.
        allowed: String,
    },
    /// A key of the experiment that is not what it must be, as the parser says it.
    #[error("{path}: {reason}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        reason: String,
    },
    /// A config where an experiment was expected.
    #[error("{path} describes no experiment, as it has no [methods]: run it with `cellm run --config {path}`")]
    NoMethods {
        /// The file.
        path: PathBuf,
    },
    /// More cells than an experiment may have.
    #[error("{path} has {found} cells, an experiment may have {limit}")]
    Cells {
        /// The file.
        path: PathBuf,
        /// Number of cells that the file describes.
        found: u64,
        /// Largest number of cells.
        limit: u64,
    },
    /// Two cells would lie in one directory.
    #[error("two cells are called {name}: name the methods, partitions and values so that they differ")]
    SameName {
        /// The name.
        name: String,
    },
    /// A cell lies there with another config.
    #[error("cell {cell} was run with another config: {differences}; remove {dir}, or choose another --out")]
    Differs {
        /// The cell.
        cell: String,
        /// The keys that differ, with both values.
        differences: String,
        /// Its directory.
        dir: PathBuf,
    },
    /// A file or directory of the experiment.
    #[error("{path}: {source}")]
    File {
        /// The path of that file or directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// Data or model that an estimate needs could not be loaded.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// The report.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl ExperimentError {
    /// 2 usage or config, 3 data or model, 4 policy, 1 other.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::File { .. } | Self::Report(_) => 1,
            Self::Federation(error) => error.exit_code(),
            _ => 2,
        }
    }
}
