//! Pure. The text of a file as documents of plain values, within bounds that a hostile text cannot pass.

use serde_json::Value;

/// Why a document is no YAML.
pub(in crate::resource) struct Malformed {
    pub(in crate::resource) line: u32,
    pub(in crate::resource) reason: String,
}

impl Malformed {
    /// The line in the file of a line in a chunk that begins on `first`.
    pub(in crate::resource) fn start(&self, chunk: &str, first: u32) -> u32 {
        let skipped = chunk.lines().take_while(|l| is_bare(l)).count() as u32;
        (first + self.line).saturating_sub(1 + skipped)
    }
}

pub(in crate::resource) fn values(text: &str) -> Result<Vec<Value>, Malformed> {
    // YAML is a superset of JSON but for tabs as indentation.
    if text.trim_start().starts_with('{') && text.contains('\t') {
        let read = serde_json::from_str(text);
        return read
            .map(|value| vec![value])
            .map_err(|e| Malformed { line: e.line() as u32, reason: e.to_string() });
    }
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| Malformed {
        line: error.location().map_or(0, |l| l.line() as u32),
        reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
    })
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

/// A line without content of a document.
fn is_bare(line: &str) -> bool {
    let content = if is_separator(line) { &line[3..] } else { line };
    let content = content.trim();
    content.is_empty() || content.starts_with('#')
}

const MAX_DEPTH: usize = 100;
const MAX_ALIASES: usize = 1000;
const MAX_NODES: usize = 400_000;
