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
    /// A JSON object: key and value with operators, in the order of the keys, which is that of the wire.
    Json(Vec<(String, String)>),
}

/// Istio's default text line, `LogFormat::DefaultText` spelt out.
pub const DEFAULT_TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);
