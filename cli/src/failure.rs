//! Pure. What a user is told when a command cannot do its job: the reason, where it lies and the next step.
//! One type for all verbs, so that every refusal reads the same and has the right exit code.

use std::fmt::Display;

use api::resource::document::Problem;

/// Why a command ends without having done its job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Something in the way, with what to do about it.
    #[error("error: {reason}\n  next: {next}")]
    Blocked {
        /// What is in the way.
        reason: String,
        /// What to do about it.
        next: String,
    },
    /// Objects or files that are refused; nothing was changed.
    #[error("{}\nnothing was changed", lines(.0))]
    Refused(Vec<Problem>),
    /// Objects were changed, and are not in force everywhere.
    #[error("{}\nthe objects are stored, and not in force everywhere", lines(.0))]
    NotInForce(Vec<Problem>),
    /// The files hold no object.
    #[error("error: no objects passed to {0}")]
    Nothing(&'static str),
    /// Objects that are not there; everything else was done.
    #[error("{}", lines(.0))]
    Absent(Vec<Problem>),
    /// The supervisor says that there is no such thing.
    #[error("Error from ostria (NotFound): {0}")]
    Missing(String),
    /// A command in a pod ended with this exit code, which becomes ours.
    #[error("command terminated with exit code {0}")]
    Exit(u8),
}

impl Failure {
    /// A blocked command: the reason and the next step.
    pub fn blocked(reason: impl Display, next: impl Display) -> Self {
        Self::Blocked { reason: reason.to_string(), next: next.to_string() }
    }

    /// The exit code of the process, kubectl's 1 unless a command in a pod chose its own.
    pub fn code(&self) -> u8 {
        match self {
            Self::Exit(code) => *code,
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
