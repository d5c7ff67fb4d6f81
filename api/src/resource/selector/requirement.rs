//! Pure. Label selectors as requirements on an object's labels, all of which must hold. Selectors on the command line
//! and `matchLabels` with `matchExpressions` in objects become the same requirements.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use crate::resource::selector::label;

/// A label selector: all of its requirements must hold. One without requirements selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector(pub(super) Vec<Requirement>);

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// How a requirement relates a label to its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or does not exist.
    NotIn,
    /// The label has the value.
    Equals,
    /// The label has another value, or does not exist.
    NotEquals,
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
    /// The label is an integer above the value.
    GreaterThan,
    /// The label is an integer below the value.
    LessThan,
}

/// An entry of `matchExpressions`, as it is written.
#[derive(Debug, Clone, Copy)]
pub struct Expression<'a> {
    /// The label.
    pub key: &'a str,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: &'a str,
    /// The values.
    pub values: &'a [String],
}

/// Why a requirement is invalid, with the API server's messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequirementError {
    /// The key is not a valid label key.
    #[error("{path}: Invalid value: {key:?}: {problems}")]
    Key {
        /// The field: `key`, in expressions `matchExpressions[0].key`.
        path: String,
        /// The text as written.
        key: String,
        /// All its errors.
        problems: String,
    },
    /// A value is not a valid label value.
    #[error("{path}: Invalid value: {value:?}: {problems}")]
    Value {
        /// The field, as in `values[0][app]`.
        path: String,
        /// The text as written.
        value: String,
        /// All its errors.
        problems: String,
    },
    /// The operator does not accept this number of values.
    #[error("{path}: {reason}")]
    Values {
        /// The field.
        path: String,
        /// The values that the operator requires.
        reason: &'static str,
    },
    /// There is no such operator.
    #[error(
        "{path}: Unsupported value: {operator:?}: supported values: \"In\", \"NotIn\", \"Exists\", \"DoesNotExist\""
    )]
    Operator {
        /// The field.
        path: String,
        /// The text as written.
        operator: String,
    },
}

impl RequirementError {
    /// The invalid field.
    pub fn path(&self) -> &str {
        match self {
            Self::Key { path, .. }
            | Self::Value { path, .. }
            | Self::Values { path, .. }
            | Self::Operator { path, .. } => path,
        }
    }

    /// Why it is invalid.
    pub fn reason(&self) -> String {
        let text = self.to_string();
        text.strip_prefix(self.path())
            .map_or_else(|| text.clone(), |rest| rest.trim_start_matches(": ").into())
    }
}

impl Selector {
    /// The selector of an object: `matchLabels` and `matchExpressions`. Without either it selects everything.
    pub fn of_object<'a>(
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        expressions: &[Expression<'_>],
    ) -> Result<Self, RequirementError> {
        let mut requirements = Vec::new();
        for (key, value) in labels {
            requirements.push(Requirement::new("matchLabels", key, Operator::Equals, vec![value.into()])?);
        }
        for (index, expression) in expressions.iter().enumerate() {
            let path = format!("matchExpressions[{index}]");
            let operator = match expression.operator {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let path = format!("{path}.operator");
                    return Err(RequirementError::Operator { path, operator: other.into() });
                }
            };
            let values = expression.values.to_vec();
            requirements.push(Requirement::new(&path, expression.key, operator, values)?);
        }
        Ok(Self(requirements))
    }

    /// The selector for labels that must all be present, as in a Service. It is not validated.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Self {
        let equal = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.clone()],
        };
        Self(labels.iter().map(equal).collect())
    }

    /// Whether the selector matches labels; `value` looks up a label.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(value(&requirement.key)))
    }

    /// Whether nothing is required.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Requirement {
    /// Creates a requirement after checking its key, operator and values. `path` is the field's path, or empty on a
    /// command line.
    pub fn new(
        path: &str,
        key: &str,
        operator: Operator,
        values: Vec<String>,
    ) -> Result<Self, RequirementError> {
        use Operator::{DoesNotExist, Equals, Exists, GreaterThan, In, LessThan, NotEquals, NotIn};
        let at = |field: &str| if path.is_empty() { field.to_string() } else { format!("{path}.{field}") };
        check_key(&at("key"), key)?;
        let wrong = |reason| Err(RequirementError::Values { path: at("values"), reason });
        match (operator, values.len()) {
            (In | NotIn, 0) => return wrong("for 'in', 'notin' operators, values set can't be empty"),
            (Equals | NotEquals, count) if count != 1 => {
                return wrong("exact-match compatibility requires one single value");
            }
            (Exists | DoesNotExist, 1..) => {
                return wrong("values set must be empty for exists and does not exist");
            }
            (GreaterThan | LessThan, _) if !matches!(&values[..], [one] if one.parse::<i64>().is_ok()) => {
                return wrong("for 'Gt', 'Lt' operators, the value must be an integer");
            }
            _ => {}
        }
        for (index, value) in values.iter().enumerate() {
            let problems = label::value_problems(value).join("; ");
            if !problems.is_empty() {
                let path = at(&format!("values[{index}][{key}]"));
                return Err(RequirementError::Value { path, value: value.clone(), problems });
            }
        }
        Ok(Self { key: key.into(), operator, values })
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|known| known == value);
        let number = |text: &str| text.parse::<i64>().ok();
        let compared = || {
            let bound = self.values.first().and_then(|bound| number(bound))?;
            Some(value.and_then(number)?.cmp(&bound))
        };
        match self.operator {
            Operator::In | Operator::Equals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => compared().is_some_and(std::cmp::Ordering::is_gt),
            Operator::LessThan => compared().is_some_and(std::cmp::Ordering::is_lt),
        }
    }
}

pub(super) fn check_key(path: &str, key: &str) -> Result<(), RequirementError> {
    let problems = label::key_problems(key).join("; ");
    if problems.is_empty() {
        return Ok(());
    }
    Err(RequirementError::Key { path: path.into(), key: key.into(), problems })
}

impl Display for Selector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            write!(f, "{}{requirement}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Display for Requirement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[(&str, &str)], key: &str, operator: &str, values: &[&str]) -> Result<Selector, String> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_string()).collect();
        let expression = Expression { key, operator, values: &values };
        Selector::of_object(labels.iter().copied(), &[expression]).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_and_expressions_of_an_object_must_all_hold() {
        let labels = BTreeMap::from([("app", "web"), ("tier", "front")]);
        let matches = |selector: Selector| selector.matches(|key| labels.get(key).copied());
        let cases = [
            (of(&[("app", "web")], "tier", "In", &["front", "back"]), true),
            (of(&[("app", "db")], "tier", "In", &["front", "back"]), false),
            (of(&[], "tier", "In", &["back"]), false),
            (of(&[], "none", "NotIn", &["back"]), true),
            (of(&[], "tier", "NotIn", &["front"]), false),
            (of(&[], "tier", "Exists", &[]), true),
            (of(&[], "tier", "DoesNotExist", &[]), false),
        ];
        for (selector, expected) in cases {
            let selector = selector.unwrap();
            assert_eq!(matches(selector.clone()), expected, "{selector}");
        }
        assert!(matches(Selector::default()));
    }

    #[test]
    fn the_error_of_an_invalid_expression_names_its_field() {
        let cases = [
            (of(&[], "a", "In", &[]), "matchExpressions[0].values: for 'in', 'notin' operators"),
            (of(&[], "a", "Exists", &["b"]), "matchExpressions[0].values: values set must be empty"),
            (of(&[], "a", "Like", &["b"]), "matchExpressions[0].operator: Unsupported value: \"Like\""),
            (of(&[], "a b", "Exists", &[]), "matchExpressions[0].key: Invalid value: \"a b\""),
            (of(&[], "a", "In", &["b c"]), "matchExpressions[0].values[0][a]: Invalid value: \"b c\""),
            (of(&[("a", "b/c")], "a", "Exists", &[]), "matchLabels.values[0][a]: Invalid value: \"b/c\""),
        ];
        for (selector, beginning) in cases {
            let error = selector.unwrap_err();
            assert!(error.starts_with(beginning), "{error}");
        }
    }
}
