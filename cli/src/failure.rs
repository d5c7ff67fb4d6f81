//! Pure. Failures of commands as the user reads them: the reason, the file or object, and the next step. All verbs
//! share one type, so that all errors look alike and have the right exit code.

use std::fmt::Display;

use api::resource::document::Problem;

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Something prevents the command, and the user can change it.
    #[error("error: {reason}\n  next: {next}")]
    Blocked {
        /// What prevents the command.
        reason: String,
        /// What the user can do.
        next: String,
    },
    /// The user lacks a permission in the cluster.
    #[error("error: {reason}\n  next: {next}")]
    Denied {
        /// What is not permitted.
        reason: String,
        /// What the user can do.
        next: String,
    },
    /// Objects or files were rejected. Nothing was changed.
    #[error("{}\nnothing was changed", lines(.0))]
    Refused(Vec<Problem>),
    /// Objects were changed but are not in force in every proxy.
    #[error("{}\nthe objects are stored, but not in force everywhere", lines(.0))]
    NotInForce(Vec<Problem>),
    /// Some objects were rejected after others had been changed.
    #[error("{}\nonly the objects listed before were changed", lines(.0))]
    Partial(Vec<Problem>),
    /// The files contain no objects.
    #[error("error: no objects passed to {0}")]
    Nothing(&'static str),
    /// These objects do not exist. The command did everything else.
    #[error("{}", lines(.0))]
    Absent(Vec<Problem>),
    /// Two configurations that should be equal differ. The command printed the differences.
    #[error("error: {reason}\n  next: {next}")]
    Differs {
        /// What differs.
        reason: String,
        /// What the user can do.
        next: String,
    },
    /// Configurations could not be compared.
    #[error("{0}")]
    Incomparable(Box<Self>),
    /// The object does not exist.
    #[error("Error from ostria (NotFound): {reason}\n  next: {next}")]
    Missing {
        /// What does not exist.
        reason: String,
        /// What the user can do.
        next: String,
    },
    /// A command in a pod ended with this exit code, which becomes the exit code of `ostria`.
    #[error("command terminated with exit code {0}")]
    Exit(u8),
}

impl Failure {
    /// Builds [`Failure::Blocked`] from the reason and the next step.
    pub fn blocked(reason: impl Display, next: impl Display) -> Self {
        Self::Blocked { reason: reason.to_string(), next: next.to_string() }
    }

    /// Builds [`Failure::Missing`] from the reason and the next step.
    pub fn missing(reason: impl Display, next: impl Display) -> Self {
        Self::Missing { reason: reason.to_string(), next: next.to_string() }
    }

    /// The reason alone, without the next step.
    pub fn reason(&self) -> String {
        match self {
            Self::Blocked { reason, .. }
            | Self::Denied { reason, .. }
            | Self::Missing { reason, .. }
            | Self::Differs { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }

    /// The exit code of the process: 1 as with kubectl, unless a command in a pod ended with its own code. Comparisons
    /// have the codes of `diff` and `kubectl diff`: 1 for a difference, 2 for a failure.
    pub fn code(&self) -> u8 {
        match self {
            Self::Exit(code) => *code,
            Self::Incomparable(_) => 2,
            _ => 1,
        }
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("error: {problem}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_and_a_failed_comparison_have_the_exit_codes_of_diff() {
        let differs = Failure::Differs { reason: "a differs".into(), next: "look".into() };
        let failed = Failure::Incomparable(Box::new(Failure::missing("no pod a", "name another")));
        assert_eq!((differs.code(), failed.code(), Failure::Exit(7).code()), (1, 2, 7));
        assert_eq!(differs.to_string(), "error: a differs\n  next: look");
        assert_eq!(failed.to_string(), "Error from ostria (NotFound): no pod a\n  next: name another");
    }

    #[test]
    fn a_refusal_names_file_object_path_reason_and_next_step() {
        let problem = Problem {
            file: "a.yaml:3".into(),
            object: "Pod default/web".into(),
            path: "spec.containers[0].command".into(),
            reason: "is required".into(),
            next: "name a program".into(),
        };
        let text = Failure::Refused(vec![problem]).to_string();
        assert_eq!(
            text,
            "error: a.yaml:3: Pod default/web: spec.containers[0].command: is required\n  next: name a program\n\
             nothing was changed"
        );
    }
}
