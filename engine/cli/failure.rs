//! A command that failed: its exit code and the error with its causes, as one message.

use std::error::Error;

use crate::adapter::peft::PeftError;
use crate::config::ConfigError;
use crate::data::DataError;
use crate::experiment::ExperimentError;
use crate::federation::FederationError;
use crate::journal::JournalError;
use crate::plugin::PluginError;
use crate::policy::PolicyError;
use crate::report::ReportError;
use crate::roster::EnrolmentError;
use crate::trainer::TrainerError;

/// A failed command: its exit code and its error.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub code: u8,
    /// The error; its sources are its causes.
    pub error: anyhow::Error,
}

impl Failure {
    /// A wrong command line or config.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, error: anyhow::Error::msg(message.into()) }
    }

    /// A failed file system operation on `path`; `action` says what was tried, such as `read`.
    pub fn file(action: &str, path: &std::path::Path, error: std::io::Error) -> Self {
        Self { code: 1, error: anyhow::Error::new(error).context(format!("cannot {action} {}", path.display())) }
    }
}

/// An error with its causes on one line; a cause that its effect already quotes is not said twice.
pub fn message(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { code: 2, error: error.into() }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self { code: 3, error: error.into() }
    }
}

impl From<TrainerError> for Failure {
    fn from(error: TrainerError) -> Self {
        Self { code: 3, error: error.into() }
    }
}

impl From<PeftError> for Failure {
    fn from(error: PeftError) -> Self {
        Self { code: 3, error: error.into() }
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        Self { code: 4, error: error.into() }
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let code = match error {
            PluginError::Name { .. }
            | PluginError::NotEmpty { .. }
            | PluginError::NoProject { .. }
            | PluginError::NotAFolder { .. } => 2,
            PluginError::File { .. } => 1,
            _ => 4,
        };
        Self { code, error: error.into() }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self { code: 1, error: error.into() }
    }
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        let code = if matches!(error, ReportError::Read { .. } | ReportError::NoRuns | ReportError::Baseline { .. }) {
            2
        } else {
            1
        };
        Self { code, error: error.into() }
    }
}

impl From<EnrolmentError> for Failure {
    fn from(error: EnrolmentError) -> Self {
        Self { code: 2, error: error.into() }
    }
}

impl From<ExperimentError> for Failure {
    fn from(error: ExperimentError) -> Self {
        Self { code: error.exit_code(), error: error.into() }
    }
}

impl From<FederationError> for Failure {
    fn from(error: FederationError) -> Self {
        Self { code: error.exit_code(), error: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_once() {
        let inner = std::io::Error::other("disk on fire");
        let quoted = ConfigError::Read { path: "x.toml".into(), source: inner };
        assert_eq!(message(&quoted), "cannot read config file x.toml: disk on fire");
        let failure = Failure::file("make", "runs".as_ref(), std::io::Error::other("no space"));
        assert_eq!(message(failure.error.as_ref()), "cannot make runs: no space");
        assert_eq!(Failure::from(quoted).code, 2);
    }
}
