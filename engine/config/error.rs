//! Errors of a config. Each message names where the value comes from.

use std::path::PathBuf;

use crate::data::DataError;

/// The reason that a config was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A config file is missing or unreadable.
    #[error("cannot read config file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A config file is not TOML.
    #[error("{path}, line {line}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// The parser's message.
        reason: String,
    },
    /// A config file beyond a limit.
    #[error("{path} has {found}, a config file may have {limit}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The amount that was found, with its unit.
        found: String,
        /// The limit.
        limit: String,
    },
    /// An experiment where a config was expected.
    #[error("{path} describes an experiment, as it has [methods]: run it with `cellm experiment {path}`")]
    Experiment {
        /// The file.
        path: PathBuf,
    },
    /// A key that does not exist.
    #[error("unknown key `{key}` ({origin}); did you mean `{nearest}`?")]
    UnknownKey {
        /// The key as found.
        key: String,
        /// The origin of the key.
        origin: String,
        /// The known key that looks most like it.
        nearest: String,
    },
    /// A profile that no file defines.
    #[error("unknown profile `{name}`, {}", known_profiles(.known))]
    UnknownProfile {
        /// The profile asked for.
        name: String,
        /// The profiles in the files.
        known: Vec<String>,
    },
    /// `--set` without an equals sign or without a section.
    #[error("--set takes section.key=value, found `{found}`")]
    Set {
        /// The argument.
        found: String,
    },
    /// A variable that looks like a key with one underscore too few.
    #[error("environment variable {name} sets nothing; a key is written {meant}")]
    Variable {
        /// The variable.
        name: String,
        /// The key that was probably meant.
        meant: String,
    },
    /// A value of the wrong type.
    #[error("{key}: {reason} ({origin})")]
    Type {
        /// The key.
        key: String,
        /// Found and expected.
        reason: String,
        /// The origin of the value.
        origin: String,
    },
    /// A value outside its range.
    #[error("{key} is {found}, it must be {allowed}{origin}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        found: String,
        /// The values that would be accepted.
        allowed: String,
        /// The origin of the value, as ` (origin)`; empty where not known.
        origin: String,
    },
    /// A refusal of the data room.
    #[error(transparent)]
    Data(DataError),
}

impl From<DataError> for ConfigError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Value { key, found, allowed } => {
                Self::Value { key: key.into(), found, allowed, origin: String::new() }
            }
            other => Self::Data(other),
        }
    }
}

fn known_profiles(known: &[String]) -> String {
    if known.is_empty() { "the config files define none".into() } else { format!("known: {}", known.join(", ")) }
}
