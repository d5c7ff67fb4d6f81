//! Pure. Field selectors, as in `status.phase!=Running,metadata.name=web`.

use std::str::FromStr;

/// A field selector: all of its requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<FieldRequirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    path: String,
    equal: bool,
    value: String,
}

/// Why a text is not a field selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldSelectorError {
    /// A term has no operator, or no path before the operator.
    #[error("invalid selector: '{0}'; can't understand '{1}'")]
    Malformed(String, String),
    /// A value ends within an escape, or escapes a character that needs no escape.
    #[error("invalid field selector: invalid escape sequence in '{0}'")]
    Escape(String),
}

impl FieldSelector {
    /// The fields in the selector.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|requirement| requirement.path.as_str())
    }

    /// Whether the selector matches; `value` returns a field's text, or an empty text if there is no such field.
    pub fn matches(&self, value: impl Fn(&str) -> String) -> bool {
        self.0.iter().all(|requirement| (value(&requirement.path) == requirement.value) == requirement.equal)
    }
}

impl FromStr for FieldSelector {
    type Err = FieldSelectorError;

    fn from_str(text: &str) -> Result<Self, FieldSelectorError> {
        let mut requirements = Vec::new();
        for term in terms(text).into_iter().filter(|term| !term.is_empty()) {
            let split = ["!=", "==", "="]
                .into_iter()
                .filter_map(|operator| Some((term.find(operator)?, operator)))
                .min_by_key(|(at, operator)| (*at, std::cmp::Reverse(operator.len())));
            let Some((at, operator)) = split.filter(|(at, _)| *at > 0) else {
                return Err(FieldSelectorError::Malformed(text.into(), term));
            };
            requirements.push(FieldRequirement {
                path: term[..at].trim().into(),
                equal: operator != "!=",
                value: unescaped(&term[at + operator.len()..])?,
            });
        }
        Ok(Self(requirements))
    }
}

/// The parts between unescaped commas.
fn terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            terms.push(String::new());
        } else if let Some(last) = terms.last_mut() {
            last.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    terms
}

fn unescaped(value: &str) -> Result<String, FieldSelectorError> {
    let mut result = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(next @ ('\\' | ',' | '='))) => result.push(next),
            ('\\' | ',' | '=', _) => return Err(FieldSelectorError::Escape(value.into())),
            (c, _) => result.push(c),
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_compared_as_text() {
        let value = |path: &str| match path {
            "metadata.name" => "web,1".to_string(),
            "status.phase" => "Running".to_string(),
            _ => String::new(),
        };
        let cases = [
            ("", true),
            ("status.phase=Running", true),
            ("status.phase==Running", true),
            ("status.phase!=Running", false),
            ("status.phase!=Failed,metadata.name=web\\,1", true),
            ("metadata.name=web", false),
            ("metadata.namespace=", true),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<FieldSelector>().unwrap().matches(value), expected, "{text}");
        }
    }

    #[test]
    fn a_term_without_operator_or_with_an_invalid_escape_is_refused() {
        for text in ["status.phase", "=a", "a=b,c", "a=b\\", "a=b\\c", "a=b=c"] {
            assert!(text.parse::<FieldSelector>().is_err(), "{text}");
        }
    }
}
