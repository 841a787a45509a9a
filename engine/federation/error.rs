//! Errors that end a run without a result, and their exit codes.

use std::path::PathBuf;
use std::sync::Arc;

use crate::adapter::peft::PeftError;
use crate::client::MemberError;
use crate::compressor::CompressorError;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::journal::JournalError;
use crate::link::LinkError;
use crate::policy::PolicyError;
use crate::pool::Crash;
use crate::roster::EnrolmentError;
use crate::server::ServerError;
use crate::trainer::TrainerError;

use super::journal_dir::is_run;

/// The reason why a run ends without a result. Closed rounds stay in the journal.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// A setting that only shows to be wrong once everything is loaded.
    #[error("{0}")]
    Config(String),
    /// Reading or splitting the data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Loading the model.
    #[error(transparent)]
    Trainer(#[from] TrainerError),
    /// Reading or writing an adapter.
    #[error(transparent)]
    Peft(#[from] PeftError),
    /// Loading a policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Policies that do not go together, or not with the settings.
    #[error("{0}")]
    Pairs(String),
    /// Trying a policy.
    #[error(transparent)]
    Compressor(#[from] CompressorError),
    /// Opening or reading the journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// `--resume` with settings that give another result.
    #[error("{run_dir} cannot be resumed: {differences}")]
    Differs {
        /// The run.
        run_dir: PathBuf,
        /// The keys that differ, with both values.
        differences: String,
    },
    /// A file of the run directory.
    #[error("{path}: {source}")]
    RunDir {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The run directory is not where it was, so that what is written is lost.
    #[error(
        "the run directory {run_dir} was moved or removed while the run went on ({file} is not the file that was opened): \
         what was closed lies in its journal, wherever that is now"
    )]
    Moved {
        /// The run.
        run_dir: PathBuf,
        /// The file that shows it.
        file: PathBuf,
    },
    /// A fresh run in a directory with a config that no run wrote.
    #[error("{file} was not written by a run, and a run would write over it: give another --out than {run_dir}")]
    Foreign {
        /// The directory.
        run_dir: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// `--resume` of a directory that never became a run.
    #[error(
        "{0} holds no run to resume: it ended before it had a journal; give the same command without --resume to begin it"
    )]
    NoRun(PathBuf),
    /// A stored row that this build cannot read.
    #[error("a row of the journal cannot be read: {0}")]
    Row(serde_json::Error),
    /// A part of the engine crashed.
    #[error(transparent)]
    Crash(#[from] Crash),
    /// A fresh run in a directory that has one.
    #[error("{0} holds a run already: give --resume to go on with it, or another --out")]
    Exists(PathBuf),
    /// The metrics endpoint.
    #[error("{0}")]
    Metrics(String),
    /// An actor could not be started.
    #[error("actor {actor} could not be started: {source}")]
    Spawn {
        /// The actor's name.
        actor: &'static str,
        /// Ractor's error.
        source: Arc<ractor::SpawnErr>,
    },
    /// The run failed.
    #[error(transparent)]
    Server(ServerError),
    /// Actors crash faster than they may.
    #[error(
        "{restarts} actor restarts within {window_s} s, at most {limit} allowed; the last to crash was {actor}: {reason}"
    )]
    Restarts {
        /// Restarts in the window.
        restarts: usize,
        /// Seconds of the window.
        window_s: u64,
        /// Allowed in a window.
        limit: usize,
        /// Last one.
        actor: String,
        /// Its reason.
        reason: String,
    },
    /// The link between server and clients.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The enrolment's folder, or credentials.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// A config that a server's values do not go with.
    #[error(transparent)]
    Settings(Box<ConfigError>),
    /// A client that does not take part.
    #[error("this client does not take part: {0}")]
    Refused(String),
    /// A client's own part.
    #[error(transparent)]
    Member(Box<MemberError>),
    /// The root supervisor itself ended.
    #[error("the federation's root supervisor ended without a result")]
    Root,
}

impl From<ConfigError> for FederationError {
    fn from(error: ConfigError) -> Self {
        Self::Settings(Box::new(error))
    }
}

impl From<MemberError> for FederationError {
    fn from(error: MemberError) -> Self {
        Self::Member(Box::new(error))
    }
}

impl FederationError {
    /// 2 usage or config, 3 data or model, 4 policy, 5 a full disk where the run can be resumed, 6 link, 1 other.
    pub fn exit_code(&self) -> u8 {
        if self.is_resumable() {
            return 5;
        }
        match self {
            Self::Config(_) | Self::Differs { .. } | Self::Exists(_) | Self::Metrics(_) => 2,
            Self::Foreign { .. } | Self::NoRun(_) | Self::Settings(_) => 2,
            Self::Link(_) | Self::Enrolment(_) | Self::Refused(_) | Self::Member(_) => 6,
            Self::Data(_) | Self::Trainer(_) | Self::Peft(_) => 3,
            Self::Policy(_) | Self::Pairs(_) | Self::Compressor(_) => 4,
            Self::Server(ServerError::Download { .. } | ServerError::Aggregate { .. }) => 4,
            Self::Server(ServerError::Evaluate { .. }) => 3,
            Self::Server(_) | Self::Journal(_) | Self::RunDir { .. } | Self::Spawn { .. } | Self::Restarts { .. } => 1,
            Self::Moved { .. } | Self::Row(_) | Self::Crash(_) | Self::Root => 1,
        }
    }

    /// True where the disk had no room for what a run had to write, and it is a run already.
    fn is_resumable(&self) -> bool {
        let full = |source: &std::io::Error| {
            use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        };
        match self {
            Self::Journal(JournalError::DiskFull { .. }) => true,
            Self::Server(ServerError::Journal { source, .. }) => matches!(**source, JournalError::DiskFull { .. }),
            Self::RunDir { path, source } => full(source) && path.parent().is_some_and(is_run),
            // An adapter is written when its rounds are closed.
            Self::Peft(PeftError::Io { source, .. }) => full(source),
            _ => false,
        }
    }
}
