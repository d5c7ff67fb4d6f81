//! Pure. The output formats of objects, as `-o` names them.

use std::str::FromStr;

use serde_json::Value;

use crate::view::jsonpath::eval::{self, EvalError};
use crate::view::jsonpath::parse::{self, JsonPathError};
use crate::view::jsonpath::path::{Path, Template};
use crate::view::table::Widths;

/// An output format.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Form {
    /// A table.
    #[default]
    Table,
    /// A table with more columns.
    Wide,
    /// As JSON.
    Json,
    /// As YAML.
    Yaml,
    /// Kind and name only.
    Name,
    /// The output of a JSONPath template.
    JsonPath(Template),
    /// Columns that the user defines.
    Columns(Vec<Column>),
}

/// A column that the user defines.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    head: String,
    path: Path,
}

/// Why the text of `-o` is not an output format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// No format has this name.
    #[error(
        "unable to match a printer suitable for the output format {0:?}, allowed formats are: custom-columns,json,jsonpath,name,wide,yaml"
    )]
    Unknown(String),
    /// The format needs a template after `=`.
    #[error("template format specified but no template given")]
    NoTemplate,
    /// The template is malformed.
    #[error("error parsing jsonpath {0}, {1}")]
    JsonPath(String, JsonPathError),
    /// A column has no head or no path.
    #[error("unexpected custom-columns spec: {0}, expected <header>:<json-path-expr>")]
    Column(String),
}

impl FromStr for Form {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let (word, rest) = text.split_once('=').map_or((text, None), |(word, rest)| (word, Some(rest)));
        let given = || rest.filter(|rest| !rest.is_empty()).ok_or(FormError::NoTemplate);
        match (word, rest) {
            ("" | "table", None) => Ok(Self::Table),
            ("wide", None) => Ok(Self::Wide),
            ("json", None) => Ok(Self::Json),
            ("yaml", None) => Ok(Self::Yaml),
            ("name", None) => Ok(Self::Name),
            ("jsonpath", _) => {
                let text = given()?;
                let malformed = |error| FormError::JsonPath(text.into(), error);
                Ok(Self::JsonPath(parse::template(text).map_err(malformed)?))
            }
            ("custom-columns", _) => Ok(Self::Columns(columns(given()?)?)),
            _ => Err(FormError::Unknown(text.into())),
        }
    }
}

fn columns(text: &str) -> Result<Vec<Column>, FormError> {
    let column = |spec: &str| {
        let wrong = || FormError::Column(spec.into());
        let (head, path) = spec
            .split_once(':')
            .filter(|(head, path)| !head.is_empty() && !path.is_empty())
            .ok_or_else(wrong)?;
        let path = parse::relaxed(path).map_err(|error| FormError::JsonPath(path.into(), error))?;
        Ok(Column { head: head.into(), path })
    };
    split(text).into_iter().map(column).collect()
}

/// Splits at commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    for (at, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A table of objects with the user's columns.
pub fn own_columns(columns: &[Column], objects: &[Value], heads: bool) -> String {
    let head: Vec<&str> = columns.iter().map(|column| column.head.as_str()).collect();
    let cell = |column: &Column, object: &Value| {
        let found = eval::find(&column.path, object).unwrap_or_default();
        let texts: Vec<String> =
            found.into_iter().filter(|value| !value.is_null()).map(eval::print).collect();
        if texts.is_empty() { "<none>".to_string() } else { texts.join(",") }
    };
    let rows: Vec<Vec<String>> =
        objects.iter().map(|object| columns.iter().map(|column| cell(column, object)).collect()).collect();
    Widths::default().lines(heads.then_some(&head), &rows)
}

/// Sorts objects by a field; objects without the field come first.
pub fn sort(objects: &mut [Value], path: &Path) -> Result<(), EvalError> {
    let mut keys = Vec::new();
    for object in objects.iter() {
        keys.push(eval::find(path, object)?.first().map(|value| (*value).clone()));
    }
    let mut order: Vec<usize> = (0..objects.len()).collect();
    order.sort_by(|left, right| match (&keys[*left], &keys[*right]) {
        (Some(left), Some(right)) => eval::compare(left, right).unwrap_or(std::cmp::Ordering::Equal),
        (left, right) => left.is_some().cmp(&right.is_some()),
    });
    let sorted: Vec<Value> = order.into_iter().map(|index| objects[index].clone()).collect();
    objects.clone_from_slice(&sorted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn forms_are_named_as_kubectl_names_them() {
        for (text, expected) in
            [("wide", Form::Wide), ("json", Form::Json), ("yaml", Form::Yaml), ("name", Form::Name)]
        {
            assert_eq!(text.parse(), Ok(expected));
        }
        assert!(matches!("jsonpath={.kind}".parse(), Ok(Form::JsonPath(_))));
        let refused = [
            ("xml", "unable to match a printer"),
            ("json=x", "unable to match a printer"),
            ("jsonpath", "template format specified"),
            ("jsonpath={.a", "error parsing jsonpath {.a, unclosed action"),
            ("custom-columns=", "template format specified"),
            ("custom-columns=NAME", "unexpected custom-columns spec: NAME"),
        ];
        for (text, beginning) in refused {
            let error = text.parse::<Form>().unwrap_err().to_string();
            assert!(error.starts_with(beginning), "{error}");
        }
    }

    #[test]
    fn custom_columns_join_values_and_mark_missing_ones() {
        let Ok(Form::Columns(columns)) =
            "custom-columns=NAME:.metadata.name,PORTS:spec.ports[0,1].port,X:{.x}".parse::<Form>()
        else {
            panic!("no columns")
        };
        let object = json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}, {"port": 443}]}});
        let text = own_columns(&columns, &[object], true);
        assert_eq!(text, "NAME   PORTS    X\na      80,443   <none>\n");
    }

    #[test]
    fn objects_are_sorted_by_any_field() {
        let object = |name: &str, count: Value| json!({"name": name, "count": count});
        let mut objects = [object("a", json!(10)), object("b", json!(9)), json!({"name": "c"})];
        sort(&mut objects, &parse::relaxed(".count").unwrap()).unwrap();
        let names: Vec<_> = objects.iter().map(|object| object["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["c", "b", "a"]);
    }
}
