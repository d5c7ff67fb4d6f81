//! Pure. Parses the text of a file into documents of plain values, with limits against hostile input.

use serde_json::Value;

/// Why a document is not YAML.
pub(in crate::resource) struct Malformed {
    /// The line in the text, from 1; 0 when unknown.
    pub(in crate::resource) line: u32,
    pub(in crate::resource) reason: String,
    /// What to do about it.
    pub(in crate::resource) next: &'static str,
}

/// Converts a line of a chunk, whose content begins at line `first` of the file, to a line of the file.
pub(in crate::resource) fn file_line(chunk: &str, first: u32, line: u32) -> u32 {
    let skipped = chunk.lines().take_while(|l| is_bare(l)).count() as u32;
    (first + line).saturating_sub(1 + skipped)
}

/// Whether a text looks like a Helm template that was not rendered.
pub(in crate::resource) fn is_template(text: &str) -> bool {
    let content = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    content.into_iter().any(|line| {
        let mut rest = line;
        while let Some(at) = rest.find("{{") {
            rest = &rest[at + 2..];
            let action = rest.trim_start_matches('-').trim_start();
            // Other templates, such as those of dashboards and alerts, are data in a ConfigMap and begin with `$` or a word.
            if ACTIONS.iter().any(|known| action.starts_with(known)) {
                return true;
            }
        }
        false
    })
}

pub(in crate::resource) fn values(text: &str) -> Result<Vec<Value>, Malformed> {
    // YAML is a superset of JSON except for tabs as indentation.
    if text.trim_start().starts_with('{') && text.contains('\t') {
        let read = serde_json::from_str(text);
        return read.map(|value| vec![value]).map_err(|e| Malformed {
            line: e.line() as u32,
            reason: e.to_string(),
            next: CORRECT,
        });
    }
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| malformed(text, &error))
}

/// Rewords the parser's error so that it does not mention the parser's options.
fn malformed(text: &str, error: &serde_saphyr::Error) -> Malformed {
    let line = error.location().map_or(0, |l| l.line() as u32);
    let written = text.lines().nth((line as usize).saturating_sub(1)).unwrap_or_default();
    let is_tab = written.trim_start_matches(' ').starts_with('\t');
    let (reason, next) = match error.without_snippet() {
        _ if is_template(text) => ("it is a template of Helm's that was not rendered".to_owned(), RENDER),
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            (format!("`{key}` is written twice in one object"), "keep one of the two")
        }
        _ if is_tab => ("the line is indented with a tab".to_owned(), "indent with spaces"),
        other => (without_position(&other.to_string()), CORRECT),
    };
    Malformed { line, reason, next }
}

/// The parser's message without its leading position.
fn without_position(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.rsplit_once(" at line ").map_or(line, |(reason, _)| reason).to_owned()
}

fn options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.max_aliases = MAX_ALIASES;
    budget.max_nodes = MAX_NODES;
    options.budget = Some(budget);
    options.with_snippet = false;
    options.legacy_octal_numbers = true;
    options
}

/// The documents of a text, each from its `---` on, with the line of its first content. A line that begins with
/// `---` always begins a document: YAML allows it nowhere else.
pub(in crate::resource) fn chunks(text: &str) -> Vec<(u32, &str)> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if at > 0 && is_separator(line) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let mut line = 1;
    let mut chunks = vec![];
    for (start, end) in starts.iter().copied().zip(ends) {
        let chunk = &text[start..end];
        let skipped = chunk.lines().take_while(|l| is_bare(l)).count();
        if skipped < chunk.lines().count() {
            chunks.push((line + skipped as u32, chunk));
        }
        line += chunk.lines().count() as u32;
    }
    chunks
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line has no content of a document.
fn is_bare(line: &str) -> bool {
    let content = if is_separator(line) { &line[3..] } else { line };
    let content = content.trim();
    content.is_empty() || content.starts_with('#')
}

/// The advice for a template.
pub(in crate::resource) const RENDER: &str =
    "render it first: `helm template RELEASE CHART | ostria apply -f -`";
const CORRECT: &str = "correct the document; its objects stay as they were";
/// The first words of actions in Helm templates.
const ACTIONS: [&str; 12] =
    [".", "include ", "template ", "if ", "else", "end", "range ", "with ", "toYaml ", "define ", "$.", "/*"];
const MAX_DEPTH: usize = 100;
const MAX_ALIASES: usize = 1000;
const MAX_NODES: usize = 400_000;
