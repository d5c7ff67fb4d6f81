//! Pure. A finding of `ostria check`: what was looked at, what was seen, and what to do about it.

use serde::Serialize;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is as it should be.
    Ok,
    /// It works, but not as the user may expect, or not for long.
    Warning,
    /// It does not work.
    Error,
}

impl Level {
    /// The word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its severity.
    pub level: Level,
    /// What was checked.
    pub check: &'static str,
    /// What was seen.
    pub message: String,
    /// What to do, unless it is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Finding {
    /// A finding that needs no action.
    pub fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Ok, check, message: message.into(), next: None }
    }

    /// A finding that the user should know.
    pub fn warning(check: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Warning, check, message: message.into(), next: Some(next.into()) }
    }

    /// A finding that keeps the mesh from working.
    pub fn error(check: &'static str, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Error, check, message: message.into(), next: Some(next.into()) }
    }
}

/// All findings of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The number of errors.
    pub errors: usize,
    /// The number of warnings.
    pub warnings: usize,
    /// The findings, in the order of the checks.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Counts findings.
    pub fn of(findings: Vec<Finding>) -> Self {
        let count = |level| findings.iter().filter(|finding| finding.level == level).count();
        Self { errors: count(Level::Error), warnings: count(Level::Warning), findings }
    }
}

/// The first names of a list, and how many more there are.
pub fn some(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let shown: Vec<&str> = names.iter().take(MOST).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(MOST);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// `1 pod`, `2 pods`.
pub fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Names in a list, so that a line stays readable.
const MOST: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_counted_and_long_lists_are_cut() {
        let findings = vec![
            Finding::ok("a", "fine"),
            Finding::warning("b", "odd", "look"),
            Finding::error("c", "bad", "mend"),
            Finding::error("d", "bad", "mend"),
        ];
        let report = Report::of(findings);
        assert_eq!((report.errors, report.warnings), (2, 1));
        assert_eq!(some(["a", "b"]), "a, b");
        assert_eq!(some(["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
        assert_eq!((count(1, "pod"), count(0, "pod")), ("1 pod".into(), "0 pods".into()));
    }

    #[test]
    fn the_json_form_has_a_next_step_only_where_there_is_one() {
        let report = Report::of(vec![Finding::ok("a", "fine"), Finding::warning("b", "odd", "look")]);
        let json = serde_json::to_value(report).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"errors": 0, "warnings": 1, "findings": [
                {"level": "ok", "check": "a", "message": "fine"},
                {"level": "warning", "check": "b", "message": "odd", "next": "look"},
            ]})
        );
    }
}
