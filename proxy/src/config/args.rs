//! The command line: the verbs of the binary, and the flags that Istio's injection templates pass.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The role of the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Runs beside an application and captures its traffic.
    Sidecar,
    /// Runs as a gateway.
    Router,
}

/// Flags of `proxy sidecar` and `proxy router`.
#[derive(Debug, Clone, Args)]
pub struct MeshArgs {
    /// Role of the proxy
    #[arg(value_enum)]
    pub role: Role,
    /// DNS domain of the pod, such as default.svc.cluster.local
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Number of worker threads; 0 uses the CPU limit
    #[arg(long, value_name = "COUNT")]
    pub concurrency: Option<usize>,
    /// Log level: error, warn, info, debug, trace or off, or a list of target=level
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    pub log_level: Option<String>,
    /// Log level by Envoy's names, for templates that set it
    #[arg(long = "proxyLogLevel", value_name = "LEVEL", value_parser = level)]
    pub proxy_log_level: Option<String>,
    /// Accepted for templates that set it and ignored: there are no log levels by Envoy component
    #[arg(long = "proxyComponentLogLevel", value_name = "LEVELS", hide = true)]
    pub component_log_level: Option<String>,
    /// Accepted for templates that set it and ignored: the proxy has one log level
    #[arg(long = "log_output_level", value_name = "LEVELS", hide = true)]
    pub log_output_level: Option<String>,
    /// Log in JSON
    #[arg(long = "log_as_json")]
    pub log_as_json: bool,
    /// Folder with the pod's `labels` and `annotations` files
    #[arg(long, default_value = "/etc/istio/pod", value_name = "FOLDER")]
    pub podinfo: PathBuf,
}

impl MeshArgs {
    /// The log level by our own names.
    pub fn level(&self) -> &str {
        self.log_level.as_deref().or(self.proxy_log_level.as_deref()).unwrap_or("info")
    }
}

/// Parses a log level. Accepts Envoy's names where they differ.
pub(super) fn level(text: &str) -> Result<String, String> {
    match text {
        "warning" => Ok("warn".to_owned()),
        "critical" => Ok("error".to_owned()),
        other => api::process::log::level(other),
    }
}

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Envoy v3 bootstrap, in YAML or JSON
    #[arg(long, short = 'c', value_name = "FILE")]
    pub bootstrap: PathBuf,
    /// Number of worker threads; 0 uses the CPU limit
    #[arg(long, value_name = "COUNT")]
    pub concurrency: Option<usize>,
    /// Seconds that open connections may take to end after SIGTERM; the others are then closed
    #[arg(long = "drain-time-s", default_value_t = 45, value_name = "SECONDS")]
    pub drain_time: u32,
    /// Log level
    #[arg(long, default_value = "info", value_name = "LEVEL", value_parser = level)]
    pub log_level: String,
    /// Check the file, print its errors and exit
    #[arg(long)]
    pub check: bool,
}

/// Flags of `drain`.
#[derive(Debug, Clone, Args)]
pub struct DrainArgs {
    /// Status port of the proxy in the same pod
    #[arg(long, default_value_t = 15020, value_name = "PORT")]
    pub port: u16,
}

/// Flags of `wait`.
#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    /// Give up after this many seconds
    #[arg(long = "timeoutSeconds", default_value_t = 60, value_name = "SECONDS")]
    pub timeout_seconds: u64,
    /// Time between attempts, in milliseconds
    #[arg(long = "periodMillis", default_value_t = 500, value_name = "MILLISECONDS")]
    pub period_millis: u64,
    /// URL that responds with 200 once the proxy is ready
    #[arg(long, default_value = "http://127.0.0.1:15021/healthz/ready", value_name = "URL")]
    pub url: String,
}
