//! Pure. Evaluates a template on a value.

use std::cmp::Ordering;

use serde_json::Value;

use crate::view::jsonpath::path::{Comparison, Filter, Operand, Path, Piece, Slice, Step, Template};

/// Why a template cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// An index is beyond the end of the array.
    #[error("array index out of bounds: index {index}, length {length}")]
    OutOfBounds {
        /// The index.
        index: i64,
        /// The array's length.
        length: usize,
    },
    /// Brackets follow a value that is not an array.
    #[error("{0} is not array or slice")]
    NotAnArray(String),
    /// Two values cannot be ordered.
    #[error("{0} and {1} cannot be compared")]
    Incomparable(String, String),
}

/// Renders a template. Fields that do not exist render as nothing.
pub fn render(template: &Template, value: &Value) -> Result<String, EvalError> {
    pieces(&template.0, value)
}

fn pieces(pieces_of: &[Piece], value: &Value) -> Result<String, EvalError> {
    let mut text = String::new();
    for piece in pieces_of {
        match piece {
            Piece::Text(words) => text.push_str(words),
            Piece::Path(path) => {
                let printed: Vec<String> = find(path, value)?.into_iter().map(print).collect();
                text.push_str(&printed.join(" "));
            }
            Piece::Range(path, body) => {
                for item in find(path, value)? {
                    text.push_str(&pieces(body, item)?);
                }
            }
        }
    }
    Ok(text)
}

/// The values that a path selects.
pub fn find<'a>(path: &Path, value: &'a Value) -> Result<Vec<&'a Value>, EvalError> {
    let mut found = vec![value];
    for step in path {
        found = walk(step, &found)?;
    }
    Ok(found)
}

/// Renders one value: strings unquoted, everything else as JSON.
pub fn print(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn walk<'a>(step: &Step, values: &[&'a Value]) -> Result<Vec<&'a Value>, EvalError> {
    let mut found = Vec::new();
    match step {
        Step::Field(name) => found.extend(values.iter().filter_map(|value| value.get(name))),
        Step::Wildcard => values.iter().for_each(|value| found.extend(children(value))),
        Step::Recursive => values.iter().for_each(|value| everything(value, &mut found)),
        Step::Slice(bounds) => {
            for value in values {
                found.extend(slice(bounds, value)?);
            }
        }
        Step::Union(paths) => {
            for path in paths {
                for value in values {
                    found.extend(find(path, value)?);
                }
            }
        }
        Step::Filter(filter) => {
            for item in values.iter().flat_map(|value| children(value)) {
                if holds(filter, item)? {
                    found.push(item);
                }
            }
        }
    }
    Ok(found)
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

fn everything<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    found.push(value);
    for child in children(value) {
        everything(child, found);
    }
}

fn slice<'a>(bounds: &Slice, value: &'a Value) -> Result<Vec<&'a Value>, EvalError> {
    let items = match value {
        Value::Array(items) => items,
        // A null field has no elements, like a missing field.
        Value::Null => return Ok(Vec::new()),
        other => return Err(EvalError::NotAnArray(print(other))),
    };
    let length = items.len() as i64;
    let place = |index: i64| if index < 0 { index + length } else { index };
    if bounds.single {
        let index = bounds.start.unwrap_or(0);
        let item = usize::try_from(place(index)).ok().and_then(|at| items.get(at));
        return item.map(|item| vec![item]).ok_or(EvalError::OutOfBounds { index, length: items.len() });
    }
    let clamp = |index: Option<i64>, default: i64| index.map_or(default, place).clamp(0, length);
    let (start, end) = (clamp(bounds.start, 0), clamp(bounds.end, length));
    let every = usize::try_from(bounds.step.unsigned_abs()).unwrap_or(usize::MAX);
    let chosen = usize::try_from(start).unwrap_or(0)..usize::try_from(end.max(start)).unwrap_or(0);
    let mut chosen: Vec<&Value> = items[chosen].iter().collect();
    if bounds.step < 0 {
        chosen.reverse();
    }
    Ok(chosen.into_iter().step_by(every).collect())
}

fn holds(filter: &Filter, item: &Value) -> Result<bool, EvalError> {
    let left = operand(&filter.left, item)?;
    let Some((comparison, right)) = &filter.comparison else {
        return Ok(!left.is_empty());
    };
    let right = operand(right, item)?;
    let (Some(left), Some(right)) = (left.first(), right.first()) else { return Ok(false) };
    Ok(match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => !equal(left, right),
        Comparison::Less => order(left, right)?.is_lt(),
        Comparison::LessOrEqual => order(left, right)?.is_le(),
        Comparison::Greater => order(left, right)?.is_gt(),
        Comparison::GreaterOrEqual => order(left, right)?.is_ge(),
    })
}

fn operand(operand: &Operand, item: &Value) -> Result<Vec<Value>, EvalError> {
    match operand {
        Operand::Literal(value) => Ok(vec![value.clone()]),
        Operand::Path(path) => Ok(find(path, item)?.into_iter().cloned().collect()),
    }
}

/// A number and a string with the same text are equal, because quotes are hard to pass through a shell.
fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right).is_eq(),
        _ => left == right || print(left) == print(right),
    }
}

fn order(left: &Value, right: &Value) -> Result<Ordering, EvalError> {
    compare(left, right).ok_or_else(|| EvalError::Incomparable(print(left), print(right)))
}

/// Compares two values of one type; `None` if they have no order.
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(_), Value::Number(_)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(natural(left, right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}

/// Compares strings so that `web-2` comes before `web-10`.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut left, mut right) = (left, right);
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    loop {
        let (one, other) = (digits(left), digits(right));
        if one > 0 && other > 0 {
            let number = |text: &str, length: usize| {
                let plain = text[..length].trim_start_matches('0').to_string();
                (plain.len(), plain)
            };
            let order = number(left, one).cmp(&number(right, other));
            if order.is_ne() {
                return order;
            }
            (left, right) = (&left[one..], &right[other..]);
            continue;
        }
        match (left.chars().next(), right.chars().next()) {
            (Some(a), Some(b)) if a == b => {
                (left, right) = (&left[a.len_utf8()..], &right[b.len_utf8()..]);
            }
            (a, b) => return a.cmp(&b),
        }
    }
}
