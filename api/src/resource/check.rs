//! Pure. The question `POST /debug/validate` takes and the answer it gives: would these objects be accepted?
//! Exists so that tools refuse what pilot would refuse, before anything changes.

use super::document::{Problem, Refusal};
use serde::{Deserialize, Serialize};

/// One object to check.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The file it comes from, with the line where known; only repeated in answers.
    #[serde(default)]
    pub file: String,
    /// The object.
    pub object: serde_json::Value,
}

impl std::fmt::Debug for Given {
    /// Without the content: it may be a secret's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Given({})", self.file)
    }
}

/// Objects that would be applied together; they may refer to each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The objects.
    pub objects: Vec<Given>,
}

/// What would become of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Why they would be refused; empty: they would be accepted.
    pub errors: Vec<Problem>,
    /// What is odd but accepted.
    pub warnings: Vec<Problem>,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Reasons to refuse.
    pub errors: Vec<Refusal>,
    /// Odd, but accepted.
    pub warnings: Vec<Refusal>,
}

impl From<&Report> for Answer {
    fn from(report: &Report) -> Self {
        Self {
            errors: report.errors.iter().map(Problem::from).collect(),
            warnings: report.warnings.iter().map(Problem::from).collect(),
        }
    }
}
