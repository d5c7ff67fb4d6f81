//! Writing results: JSON and YAML of any value, and answers to changes as kubectl words them.

use std::io::Write;

use api::resource::document::Problem;
use serde::Serialize;

use crate::arguments::Output;
use crate::failure::Failure;
use crate::wire::Answer;

/// The value as JSON or YAML; nothing for other forms.
pub fn document(value: &impl Serialize, output: Output) -> Option<String> {
    match output {
        Output::Json => serde_json::to_string_pretty(value).ok().map(|text| format!("{text}\n")),
        Output::Yaml => serde_saphyr::to_string(value).ok(),
        Output::Table | Output::Wide | Output::Name => None,
    }
}

/// Writes text; a reader that goes away early is no error.
pub fn out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Tells what became of each object, or fails with what is wrong.
pub fn answer(answer: &Answer, suffix: &str) -> Result<(), Failure> {
    for warning in &answer.warnings {
        eprintln!("Warning: {}", warning.line());
    }
    if !answer.problems.is_empty() {
        return Err(Failure::Refused(answer.problems.clone()));
    }
    for outcome in &answer.outcomes {
        out(&format!("{} {}{suffix}\n", outcome.object, outcome.verdict));
    }
    match &answer.trouble {
        None => Ok(()),
        Some(trouble) => Err(Failure::NotInForce(vec![Problem {
            reason: format!("the change is not in force: {trouble}"),
            next: "free some space; it is tried again each second".into(),
            ..Problem::default()
        }])),
    }
}
