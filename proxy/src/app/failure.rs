//! Why the process ends with an error, and its exit code.

use std::process::ExitCode;

/// Why the process ends with an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The settings are invalid: each mistake on a line of its own.
    #[error("{}", .0.join("\n"))]
    Settings(Vec<String>),
    /// The settings are valid, but the machine does not permit them.
    #[error("{0}")]
    Start(String),
}

impl Failure {
    /// The exit code; 64 is the convention for a usage error.
    pub(super) fn code(&self) -> ExitCode {
        match self {
            Self::Settings(_) => ExitCode::from(64),
            Self::Start(_) => ExitCode::FAILURE,
        }
    }
}
