//! Pure. Access logs: where lines are written, and in which format.
//!
//! Envoy: `extensions.access_loggers.{file,stream}.v3`.

use serde_json::{Map, Value};

/// One access log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// Destination of the lines.
    pub sink: LogSink,
    /// Format of a line.
    pub format: LogFormat,
    /// Omit missing values: text has nothing in place of the dash, and JSON has no key.
    pub omit_empty: bool,
}

/// Destination of log lines.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogSink {
    /// Standard output (`/dev/stdout`).
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(String),
}

/// Format of a line. Operators such as `%REQ(:METHOD)%` are expanded (see `format`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Istio's default text line.
    DefaultText,
    /// Text with operators.
    Text(String),
    /// A JSON object: keys and values with operators, in the order of the keys.
    Json(Vec<(String, JsonFormat)>),
}

/// A value of a JSON line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JsonFormat {
    /// Text with operators. A single operator as the whole text keeps its type, and is `null` if it has no value.
    Text(String),
    /// A number, a boolean or `null`, as JSON text.
    Constant(String),
    /// An object, in the order of its keys.
    Object(Vec<(String, JsonFormat)>),
    /// A list.
    List(Vec<JsonFormat>),
}

impl JsonFormat {
    /// The fields of an object, sorted by key as in Envoy, since neither JSON nor protobuf defines an order.
    pub fn fields(object: &Map<String, Value>) -> Vec<(String, Self)> {
        let mut fields: Vec<_> = object.iter().map(|(key, value)| (key.clone(), Self::of(value))).collect();
        fields.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        fields
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Object(object) => Self::Object(Self::fields(object)),
            Value::Array(list) => Self::List(list.iter().map(Self::of).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Constant(value.to_string()),
        }
    }

    /// The object that has these fields.
    pub fn object(fields: &[(String, Self)]) -> Map<String, Value> {
        fields.iter().map(|(key, value)| (key.clone(), value.value())).collect()
    }

    fn value(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Constant(text) => text.parse().unwrap_or_default(),
            Self::Object(fields) => Value::Object(Self::object(fields)),
            Self::List(list) => Value::Array(list.iter().map(Self::value).collect()),
        }
    }

    /// The texts with operators in it.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => vec![text],
            Self::Constant(_) => vec![],
            Self::Object(fields) => fields.iter().flat_map(|(_, value)| value.texts()).collect(),
            Self::List(list) => list.iter().flat_map(Self::texts).collect(),
        }
    }
}

impl LogFormat {
    /// Istio's default JSON line.
    pub fn default_json() -> Self {
        let field = |(key, text): (&str, &str)| (key.to_owned(), JsonFormat::Text(text.to_owned()));
        Self::Json(crate::format::defaults::JSON.map(field).into())
    }

    /// The texts with operators in it.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::DefaultText => vec![crate::format::defaults::TEXT],
            Self::Text(text) => vec![text],
            Self::Json(fields) => fields.iter().flat_map(|(_, value)| value.texts()).collect(),
        }
    }
}
