//! Pure. Where and how requests are logged.
//!
//! Envoy: `extensions.access_loggers.{file,stream}.v3`.

use serde_json::{Map, Value};

/// One access log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: LogSink,
    /// How a line looks.
    pub format: LogFormat,
    /// What is not there leaves nothing instead of a dash, and no key in JSON.
    pub omit_empty: bool,
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogSink {
    /// Standard output (`/dev/stdout`).
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to.
    File(String),
}

/// How a line looks. Operators such as `%REQ(:METHOD)%` are expanded (`format`).
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
    /// Text with operators. One that stands alone keeps its type, and is `null` where it has no value.
    Text(String),
    /// A number, a truth value or `null`, as JSON writes it.
    Constant(String),
    /// An object, in the order of its keys.
    Object(Vec<(String, JsonFormat)>),
    /// A list.
    List(Vec<JsonFormat>),
}

impl JsonFormat {
    /// The fields of an object. JSON gives them no order, and protobuf neither, so keys are sorted, as Envoy writes them.
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
