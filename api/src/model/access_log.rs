//! Pure. Where and how requests are logged.
//!
//! Envoy: `extensions.access_loggers.{file,stream}.v3`.

/// One access log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: LogSink,
    /// How a line looks.
    pub format: LogFormat,
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

/// How a line looks. Operators such as `%REQ(:METHOD)%` are expanded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// Istio's default text line.
    DefaultText,
    /// Text with operators.
    Text(String),
    /// A JSON object: key and value with operators, in order.
    Json(Vec<(String, String)>),
}
