//! Errors of making, building, checking and measuring policies.

use std::io;
use std::path::{Path, PathBuf};

use crate::policy::PolicyError;

/// A failure of `plugin new` or `plugin build`.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The folder's name cannot be a policy's.
    #[error("a policy cannot be named {name:?}: {reason}")]
    Name {
        /// The last part of the path given.
        name: String,
        /// The fault of the name.
        reason: String,
    },
    /// The folder holds something.
    #[error("{} is not empty", dir.display())]
    NotEmpty {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder is not a policy's.
    #[error("{} holds no policy: expected Cargo.toml, policy.c or policy.py (`cellm plugin new` makes one)", dir.display())]
    NoProject {
        /// The folder.
        dir: PathBuf,
    },
    /// A file of a project was named in place of the project.
    #[error("{} is a file, expected the folder that it lies in", file.display())]
    NotAFolder {
        /// The file.
        file: PathBuf,
    },
    /// Something in a project is not as it should be.
    #[error("{}: {reason}", file.display())]
    Project {
        /// The file.
        file: PathBuf,
        /// The fault of the project.
        reason: String,
    },
    /// The language's compiler is missing.
    #[error("no compiler for {language} policies: {advice}")]
    NoCompiler {
        /// The language.
        language: &'static str,
        /// The programs that were looked for, and how to install one.
        advice: String,
    },
    /// The compiler ran and failed; what it said went to stderr.
    #[error("{command} failed with {status}")]
    Compiler {
        /// The command.
        command: String,
        /// Its exit status.
        status: String,
    },
    /// A script cannot be imported.
    #[error("{}/{reason}", dir.display())]
    Script {
        /// The project.
        dir: PathBuf,
        /// The file in it, the line, and what is wrong there.
        reason: String,
    },
    /// The source does not say what a policy is asked.
    #[error("{} defines no {missing}; the interface asks for {asked}", file.display())]
    Hooks {
        /// The source.
        file: PathBuf,
        /// Functions that are missing.
        missing: String,
        /// All that are asked for.
        asked: String,
    },
    /// The compiler's output is not a policy's module.
    #[error("{} does not make a component: {reason}", module.display())]
    Component {
        /// The module.
        module: PathBuf,
        /// The component tools' message.
        reason: String,
    },
    /// The policy loads and does not work.
    #[error("policy {policy} cannot be measured: {reason}")]
    Broken {
        /// The policy.
        policy: String,
        /// The failure.
        reason: String,
    },
    /// It makes no messages.
    #[error("policy {policy} cannot be measured: it is an aggregator, only compressors are")]
    NoCompressor {
        /// The policy.
        policy: String,
    },
    /// The policy does not load.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A file system operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The operation, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl PluginError {
    /// Puts what was tried to an I/O error.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}
