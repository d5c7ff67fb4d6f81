//! Prints results: any value as JSON or YAML, tables, failures, and results of changes in kubectl's words.

use std::io::{IsTerminal, Write};

use api::resource::document::Problem;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::Output;
use crate::failure::Failure;
use crate::manifest::read;
use crate::view::form::{self, Form};
use crate::view::jsonpath::eval;
use crate::view::{colour, get};
use crate::wire::{ChangeResponse, Outcome};

/// The value as JSON or YAML; `None` for other formats.
pub fn document(value: &impl Serialize, output: Output) -> Option<String> {
    match output {
        Output::Json => Some(json(value)),
        Output::Yaml => Some(yaml(value)),
        Output::Table | Output::Wide | Output::Name => None,
    }
}

/// The value as JSON.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("results are plain data") + "\n"
}

/// The value as YAML.
pub fn yaml(value: &impl Serialize) -> String {
    serde_saphyr::to_string(value).expect("results are plain data")
}

/// Objects in a format other than a table: several as a `List`, a `single` one as itself.
pub fn formed(form: &Form, objects: &[Value], single: bool, heads: bool) -> Result<String, Failure> {
    let document = || get::document(objects, single);
    Ok(match form {
        Form::Json => json(&document()),
        Form::Yaml => yaml(&document()),
        Form::Name => get::names(objects),
        Form::JsonPath(template) => eval::render(template, &document()).map_err(|error| {
            Failure::blocked(format!("error executing jsonpath: {error}"), "correct the template")
        })?,
        Form::Columns(columns) => form::own_columns(columns, objects, heads),
        Form::Table | Form::Wide => String::new(),
    })
}

/// Writes an object that a verb has changed or read, or `words` if the user chose no format.
pub fn object(form: &Form, object: &Value, words: &str) -> Result<(), Failure> {
    match form {
        Form::Table | Form::Wide => out(words),
        form => out(&formed(form, std::slice::from_ref(object), true, true)?),
    }
    Ok(())
}

/// Writes text to standard output. A closed output, such as a pipe to `head`, is not an error.
pub fn out(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Writes a table to standard output, in colour on a terminal.
pub fn table(text: &str) {
    let coloured = has_colours(std::io::stdout().is_terminal()).then(|| colour::table(text));
    out(coloured.as_deref().unwrap_or(text));
}

/// Writes a failure to standard error, in colour on a terminal.
pub fn failure(failure: &Failure) {
    let text = failure.to_string();
    let coloured = has_colours(std::io::stderr().is_terminal()).then(|| colour::message(&text));
    eprintln!("{}", coloured.as_deref().unwrap_or(&text));
}

/// Prints what is about to happen, and asks whether to go on. Fails if the user does not say yes, or cannot be asked.
pub fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    out(&format!("{what}\n"));
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::blocked(
            "this needs a confirmation, and standard input is not a terminal",
            "add --yes if you mean it",
        ));
    }
    out("Proceed? (y/N) ");
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::blocked("cancelled; nothing was changed", "run the command again, and answer y"))
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "ages are computed from the clock")]
pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs()).cast_signed()
}

fn has_colours(terminal: bool) -> bool {
    let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    colour::is_wanted(terminal, variable("NO_COLOR").as_deref(), variable("TERM").as_deref())
}

/// Prints the result for each object as a line; fails if there are problems.
pub fn response(response: &ChangeResponse, line: impl Fn(&Outcome) -> String) -> Result<(), Failure> {
    for warning in read::located(response.warnings.clone()) {
        eprintln!("Warning: {}", warning.line());
    }
    let problems = read::located(response.problems.clone());
    if !problems.is_empty() && response.outcomes.is_empty() {
        return Err(Failure::Refused(problems));
    }
    response.outcomes.iter().for_each(|outcome| out(&line(outcome)));
    if !problems.is_empty() {
        return Err(Failure::Partial(problems));
    }
    match &response.trouble {
        None => Ok(()),
        Some(trouble) => Err(Failure::NotInForce(vec![Problem {
            reason: format!("the change is not in force: {trouble}"),
            next: "free some disk space; ostria retries every second".into(),
            ..Problem::default()
        }])),
    }
}
