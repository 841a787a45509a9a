//! Errors of a journal. Every message names the file.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to open, read or write a journal. After a failed write the file still holds the last committed state;
/// open it again to go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is no journal to open.
    #[error("{path} does not exist: nothing to resume")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There is a journal where a new one was to be made.
    #[error("{path} exists already: resume that run or choose another directory")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Written by another version of this program.
    #[error("{path} has journal format {found}, this build reads format {expected}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u32,
        /// The format of this build.
        expected: u32,
    },
    /// Not what a journal wrote.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault of the file.
        reason: String,
    },
    /// The disk, a quota or a file size limit is exhausted.
    #[error("no space left for {path} ({source}): free some and resume, nothing committed is lost")]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// As [`DiskFull`](Self::DiskFull), before there is a journal.
    #[error("no space left for {path} ({source}): free some and begin the run again")]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("cannot access {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The database failed in another way, for example because a write failed earlier.
    #[error("database {path} failed: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// The database's error.
        source: Box<redb::Error>,
    },
    /// A write to a round that is already closed.
    #[error("round {found} cannot be written to {path}: round {closed} is closed")]
    RoundClosed {
        /// The file.
        path: PathBuf,
        /// The round of the write.
        found: u32,
        /// The newest closed round.
        closed: u32,
    },
}

impl JournalError {
    /// The same error in the making of a journal: nothing is there yet to be resumed.
    pub(super) fn before_the_run(self) -> Self {
        match self {
            Self::DiskFull { path, source } => Self::NoRoom { path, source },
            other => other,
        }
    }

    pub(super) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), reason: reason.into() }
    }

    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.into();
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { path, source }
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Self::Damaged { path, reason: source.to_string() }
            }
            _ => Self::Io { path, source },
        }
    }

    pub(super) fn database(path: &Path, error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(source) => Self::io(path, source),
            redb::Error::Corrupted(reason) => Self::damaged(path, reason),
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => Self::Locked { path: path.into() },
            source => Self::Database { path: path.into(), source: Box::new(source) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_running_out_of_space_is_a_full_disk() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge] {
            let error = JournalError::database(Path::new("j"), redb::StorageError::Io(kind.into()));
            assert!(matches!(error, JournalError::DiskFull { .. }), "{error}");
        }
    }
}
