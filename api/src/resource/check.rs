//! Pure. The request and response of `POST /debug/validate`, which checks whether objects would be accepted.
//! Exists so that tools refuse the objects that pilot would refuse, before anything changes.

use super::document::{Problem, Refusal};
use super::weight;
use serde::{Deserialize, Serialize};

/// One object as a user wrote it.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The file that it comes from, with the line if known; messages about the object repeat it.
    #[serde(default)]
    pub file: String,
    /// The object.
    pub object: serde_json::Value,
}

impl std::fmt::Debug for Given {
    /// Omits the content, which may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Given({})", self.file)
    }
}

/// Objects that would be applied together; they may refer to each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// The objects.
    pub objects: Vec<Given>,
}

/// The result of a check, as the response.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckResponse {
    /// Why they would be refused; empty: they would be accepted.
    pub errors: Vec<Problem>,
    /// Warnings about accepted objects.
    pub warnings: Vec<Problem>,
}

/// The findings of a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Reasons to refuse.
    pub errors: Vec<Refusal>,
    /// Warnings about accepted objects.
    pub warnings: Vec<Refusal>,
}

impl CheckRequest {
    /// Parses a request, unless its values would take much more memory than its text: `{"":{"":{…` and `[[],[],…` take
    /// a hundred times as much once parsed.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        if text.len() > MAX_CHECK_REQUEST {
            return Err(format!(
                "the request has {} bytes; at most {MAX_CHECK_REQUEST} are read",
                text.len()
            ));
        }
        if weight::is_heavy(text) {
            return Err("the request has too many values; check fewer objects at a time".to_owned());
        }
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }
}

/// Bytes of a request: the objects of one `apply`.
pub const MAX_CHECK_REQUEST: usize = 8 << 20;
impl From<&Report> for CheckResponse {
    fn from(report: &Report) -> Self {
        Self {
            errors: report.errors.iter().map(Problem::from).collect(),
            warnings: report.warnings.iter().map(Problem::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_thousands_of_objects_is_parsed() {
        let object = serde_json::json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "b", "labels": {"app": "a"}},
            "spec": {"selector": {"app": "a"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        });
        let objects = vec![Given { file: "services.yaml:10".into(), object }; 5000];
        let request = CheckRequest { objects };
        let text = serde_json::to_vec(&request).unwrap();
        assert_eq!(CheckRequest::read(&text).unwrap(), request);
    }

    #[test]
    fn the_debug_form_of_a_question_omits_the_objects() {
        let object = serde_json::json!({"kind": "Secret", "stringData": {"key": "s3cret-word"}});
        let request = CheckRequest { objects: vec![Given { file: "a.yaml:3".into(), object }] };
        for text in [format!("{request:?}"), format!("{request:#?}")] {
            assert!(text.contains("a.yaml:3") && !text.contains("s3cret-word"), "{text}");
        }
    }

    #[test]
    fn a_text_whose_values_would_take_too_much_memory_is_refused() {
        let inner = |part: &str| {
            format!("{{\"objects\":[{{\"object\":[{}0]}}]}}", part.repeat(1_000_000 / part.len() * 8))
        };
        for part in ["{},", "[],", "{\"\":0},", "0,", "[[[[[]]]]],"] {
            let reason = CheckRequest::read(inner(part).as_bytes()).unwrap_err();
            assert!(reason.contains("too many values"), "{part}: {reason}");
        }
        let deep = format!("{{\"objects\":[{{\"object\":{}", "[".repeat(10_000));
        assert!(CheckRequest::read(deep.as_bytes()).is_err());
        assert!(CheckRequest::read(&vec![b' '; MAX_CHECK_REQUEST + 1]).is_err());
    }

    #[test]
    fn brackets_in_strings_do_not_count() {
        let text = format!("{{\"objects\":[{{\"object\":{{\"a\":\"{}\\\"\"}}}}]}}", "{[,".repeat(1_000_000));
        assert_eq!(CheckRequest::read(text.as_bytes()).unwrap().objects.len(), 1);
    }
}
