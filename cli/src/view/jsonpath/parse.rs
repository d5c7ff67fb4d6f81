//! Pure. Parses JSONPath templates.

use serde_json::{Value, json};

use crate::view::jsonpath::path::{Comparison, Filter, Operand, Path, Piece, Slice, Step, Template};

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPathError {
    /// A `{`, `[`, `(` or quote is not closed.
    #[error("unclosed {0}")]
    Unclosed(&'static str),
    /// `end` without `range`.
    #[error("not in range, nothing to end")]
    NotInRange,
    /// `range` without `end`.
    #[error("unexpected end of template: a range has no {{end}}")]
    OpenRange,
    /// A character is not allowed at its position.
    #[error("unrecognized character in action: {0:?}")]
    Unexpected(char),
    /// The text in brackets is not an index, a slice, a name or a filter.
    #[error("invalid array index {0}")]
    Index(String),
    /// The text after `?` is not a condition.
    #[error("unrecognized filter {0}")]
    Filter(String),
}

/// Parses a complete template, as `-o jsonpath=` accepts it.
pub fn template(text: &str) -> Result<Template, JsonPathError> {
    let mut frames: Vec<(Path, Vec<Piece>)> = vec![(Path::new(), Vec::new())];
    let mut rest = text;
    while !rest.is_empty() {
        let Some(open) = rest.find('{') else {
            push(&mut frames, Piece::Text(rest.into()));
            break;
        };
        if open > 0 {
            push(&mut frames, Piece::Text(rest[..open].into()));
        }
        let length = closing(&rest[open + 1..], '}').ok_or(JsonPathError::Unclosed("action"))?;
        action(&rest[open + 1..open + 1 + length], &mut frames)?;
        rest = &rest[open + length + 2..];
    }
    match (frames.pop(), frames.is_empty()) {
        (Some((_, pieces)), true) => Ok(Template(pieces)),
        _ => Err(JsonPathError::OpenRange),
    }
}

/// Parses a single path, as `--sort-by` and custom columns accept it: the braces and the first dot are optional.
pub fn relaxed(text: &str) -> Result<Path, JsonPathError> {
    let text = text.trim();
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text).trim();
    if inner.contains(['{', '}']) {
        return Err(JsonPathError::Unclosed("action"));
    }
    if inner.starts_with(['.', '[', '$', '@']) || inner.is_empty() {
        path(inner)
    } else {
        path(&format!(".{inner}"))
    }
}

fn push(frames: &mut [(Path, Vec<Piece>)], piece: Piece) {
    if let Some((_, pieces)) = frames.last_mut() {
        pieces.push(piece);
    }
}

/// Parses the text in braces: paths, quoted texts, `range` and `end`.
fn action(text: &str, frames: &mut Vec<(Path, Vec<Piece>)>) -> Result<(), JsonPathError> {
    let mut rest = text.trim();
    if rest == "end" {
        let (over, pieces) = frames.pop().filter(|_| !frames.is_empty()).ok_or(JsonPathError::NotInRange)?;
        push(frames, Piece::Range(over, pieces));
        return Ok(());
    }
    if let Some(over) = rest.strip_prefix("range ") {
        frames.push((path(over.trim())?, Vec::new()));
        return Ok(());
    }
    while let Some(first) = rest.chars().next() {
        if first == '"' || first == '\'' {
            let length = closing(&rest[1..], first).ok_or(JsonPathError::Unclosed("quote"))?;
            push(frames, Piece::Text(unquoted(&rest[1..=length])));
            rest = rest[length + 2..].trim_start();
        } else {
            let end = path_end(rest);
            push(frames, Piece::Path(path(&rest[..end])?));
            rest = rest[end..].trim_start();
        }
    }
    Ok(())
}

/// The index of a path's end: a space or a quote outside of brackets.
fn path_end(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            ' ' | '"' | '\'' if depth == 0 => return at.max(1),
            _ => {}
        }
    }
    text.len()
}

/// The length of the text before the closing character. Closing characters in quotes and, for brackets, in nested
/// brackets are skipped.
fn closing(text: &str, close: char) -> Option<usize> {
    let open = match close {
        ']' => '[',
        ')' => '(',
        _ => '\0',
    };
    let quotes = close != '"' && close != '\'';
    let (mut depth, mut quote) = (0_usize, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (_, '\\') => drop(chars.next()),
            (Some(open), c) => quote = Some(open).filter(|open| *open != c),
            (None, c) if c == close && depth == 0 => return Some(at),
            (None, c) if c == close => depth -= 1,
            (None, c) if c == open => depth += 1,
            (None, '"' | '\'') if quotes => quote = Some(c),
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> String {
    let mut result = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match if c == '\\' { chars.next() } else { None } {
            Some('n') => result.push('\n'),
            Some('t') => result.push('\t'),
            Some('r') => result.push('\r'),
            Some(other) => result.push(other),
            None => result.push(c),
        }
    }
    result
}

/// Parses a path.
pub fn path(text: &str) -> Result<Path, JsonPathError> {
    let mut steps = Path::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        match first {
            // The current value, where every path starts.
            '$' | '@' | ' ' => rest = &rest[1..],
            '.' if rest.starts_with("..") => {
                steps.push(Step::Recursive);
                // The second dot starts the name that is searched for, unless brackets follow.
                rest = &rest[if rest[2..].starts_with('[') { 2 } else { 1 }..];
            }
            '.' => {
                let (name, length) = name(&rest[1..]);
                match name.as_str() {
                    "" => {}
                    "*" => steps.push(Step::Wildcard),
                    _ => steps.push(Step::Field(name)),
                }
                rest = &rest[1 + length..];
            }
            '[' => {
                let length = closing(&rest[1..], ']').ok_or(JsonPathError::Unclosed("array"))?;
                brackets(rest[1..=length].trim(), &mut steps)?;
                rest = &rest[length + 2..];
            }
            other => return Err(JsonPathError::Unexpected(other)),
        }
    }
    Ok(steps)
}

/// Parses the name of a field, in which a backslash escapes a dot. Returns the name and its length in the text.
fn name(text: &str) -> (String, usize) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, escaped)| escaped)),
            '.' | '[' | ' ' | '$' | '@' => return (name, at),
            c => name.push(c),
        }
    }
    (name, text.len())
}

fn brackets(text: &str, steps: &mut Path) -> Result<(), JsonPathError> {
    if text == "*" {
        steps.push(Step::Wildcard);
    } else if let Some(condition) = text.strip_prefix('?') {
        let inner = condition.trim().strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
        steps.push(Step::Filter(filter(inner.ok_or_else(|| JsonPathError::Filter(text.into()))?)?));
    } else {
        let parts = parts(text);
        if let [single] = &parts[..] {
            steps.extend(element(single)?);
        } else {
            steps.push(Step::Union(parts.iter().map(|part| element(part)).collect::<Result<_, _>>()?));
        }
    }
    Ok(())
}

/// Splits at commas outside of quotes.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (None, ',') => {
                parts.push(String::new());
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

/// Parses one element of brackets: an index, a slice or a quoted name. Dots in the name separate steps, as they do
/// outside.
fn element(text: &str) -> Result<Path, JsonPathError> {
    let text = text.trim();
    for quote in ['\'', '"'] {
        if let Some(name) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return path(&format!(".{name}"));
        }
    }
    let wrong = || JsonPathError::Index(text.into());
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse::<i64>().map(Some).map_err(|_| wrong()),
    };
    let bounds: Vec<Option<i64>> = text.split(':').map(number).collect::<Result<_, _>>()?;
    let slice = match bounds[..] {
        [Some(index)] => Slice { start: Some(index), end: None, step: 1, single: true },
        [start, end] => Slice { start, end, step: 1, single: false },
        [start, end, step] if step != Some(0) => Slice { start, end, step: step.unwrap_or(1), single: false },
        _ => return Err(wrong()),
    };
    Ok(vec![Step::Slice(slice)])
}

fn filter(text: &str) -> Result<Filter, JsonPathError> {
    let found = OPERATORS.into_iter().filter_map(|(operator, comparison)| {
        let at = outside_quotes(text, operator)?;
        Some((at, operator, comparison))
    });
    let first = found.min_by_key(|(at, operator, _)| (*at, std::cmp::Reverse(operator.len())));
    let Some((at, operator, comparison)) = first else {
        return Ok(Filter { left: operand(text)?, comparison: None });
    };
    let right = operand(&text[at + operator.len()..])?;
    Ok(Filter { left: operand(&text[..at])?, comparison: Some((comparison, right)) })
}

fn outside_quotes(text: &str, wanted: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) => quote = Some(open).filter(|open| *open != c),
            (None, '"' | '\'') => quote = Some(c),
            (None, _) if text[at..].starts_with(wanted) => return Some(at),
            _ => {}
        }
    }
    None
}

fn operand(text: &str) -> Result<Operand, JsonPathError> {
    let text = text.trim();
    for quote in ['\'', '"'] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return Ok(Operand::Literal(Value::String(unquoted(inner))));
        }
    }
    if text.starts_with(['@', '.', '$', '[']) {
        return Ok(Operand::Path(path(text)?));
    }
    let literal = match text {
        "true" => json!(true),
        "false" => json!(false),
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => json!(number),
            (_, Ok(number)) => json!(number),
            _ => return Err(JsonPathError::Filter(text.into())),
        },
    };
    Ok(Operand::Literal(literal))
}

const OPERATORS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];
