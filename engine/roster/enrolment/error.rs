//! The faults of an enrolment folder and of credentials.

use std::path::PathBuf;

/// The reason why an enrolment cannot be made, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// A folder that has a federation.
    #[error("{0} holds a federation already; enrol clients with: cellm enroll add {0} NAME")]
    Exists(PathBuf),
    /// A folder that has none.
    #[error("{0} holds no federation; make one with: cellm enroll init {0}")]
    None(PathBuf),
    /// A name that is enrolled.
    #[error("`{name}` is enrolled in {dir} already")]
    Taken {
        /// The name.
        name: String,
        /// The folder.
        dir: PathBuf,
    },
    /// A name that is not enrolled.
    #[error("`{name}` is not enrolled in {dir}")]
    Unknown {
        /// The name.
        name: String,
        /// The folder.
        dir: PathBuf,
    },
    /// A name that cannot be one.
    #[error(
        "`{name}` cannot be a client's name: at most 64 letters, digits, - and _, the first a letter or digit, and neither \
         `all` nor `server`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// An address without its parts.
    #[error("`{0}` is no address: host and port expected, such as fed.example.org:4222")]
    Address(String),
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that is not as it was written.
    #[error("{path} is not as `cellm enroll` wrote it: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A certificate that cannot be made.
    #[error("a certificate cannot be made: {0}")]
    Certificate(String),
    /// A key that cannot be made.
    #[error("a key cannot be made: {0}")]
    Key(String),
}

impl EnrolmentError {
    pub(super) fn certificate(error: rcgen::Error) -> Self {
        Self::Certificate(error.to_string())
    }
}
