//! The process's own log: text or JSON lines on standard error, with a level that can be changed at run time. Exists
//! so that all binaries log in the same way and an operator can change the level without a restart.

use std::io;
use std::sync::{Arc, OnceLock};
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Reads and changes the level of the running process.
#[derive(Clone)]
pub struct Handle {
    filter: Arc<reload::Handle<Targets, Registry>>,
}

/// Starts logging at `level`, which is a name (`info`) or a list of directives (`info,citadel=debug`). An invalid
/// level is replaced by `info` with a warning, because a typing mistake should not keep a mesh from starting.
///
/// A process has one log: a second call changes its level but not its format.
pub fn init(level: &str, format: Format) -> Handle {
    static RUNNING: OnceLock<Handle> = OnceLock::new();
    let mut first = false;
    let handle = RUNNING.get_or_init(|| {
        let (subscriber, handle) = build(format);
        first = subscriber.try_init().is_ok();
        handle
    });
    match handle.set(level) {
        Err(reason) if first => tracing::warn!(reason, "logging at level info instead"),
        _ => {}
    }
    handle.clone()
}

/// A log at level `info` that is not installed as the process's log.
pub(crate) fn build(format: Format) -> (impl Subscriber + Send + Sync, Handle) {
    let (filter, handle) = reload::Layer::new(Targets::new().with_default(LevelFilter::INFO));
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match format {
        Format::Text => lines.with_ansi(false).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    (tracing_subscriber::registry().with(filter).with(lines), Handle { filter: Arc::new(handle) })
}

impl Handle {
    /// Changes the level.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let filter = directives(level)?;
        self.filter.reload(filter).map_err(|error| format!("cannot change the log level: {error}"))
    }

    /// The current directives.
    pub fn current(&self) -> String {
        self.filter.with_current(ToString::to_string).unwrap_or_else(|error| error.to_string())
    }
}

/// Checks the level on a command line; the error names the valid levels. Can be used as a clap value parser.
pub fn level(text: &str) -> Result<String, String> {
    directives(text).map(|_| text.to_owned())
}

fn directives(level: &str) -> Result<Targets, String> {
    // A single unknown word would be parsed as a target's name, which would silence all other targets.
    let level = level.replace(' ', "");
    let unknown = |word: &str| word.parse::<LevelFilter>().is_err();
    if level.split(',').any(|part| part.is_empty() || (!part.contains('=') && unknown(part))) {
        return Err(format!(
            "`{level}` is not a log level: write error, warn, info, debug, trace, off or target=level"
        ));
    }
    level.parse().map_err(|error: ParseError| {
        format!("`{level}` is not a log level: {error}; write error, warn, info, debug, trace, off or target=level")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_name_or_a_list_of_directives() {
        for level in ["info", "DEBUG", "off", "info,citadel=debug", "warn, h2=error"] {
            assert!(directives(level).is_ok() && super::level(level).is_ok(), "{level}");
        }
        for level in ["", "loud", "info,", "citadel=loud"] {
            let error = directives(level).expect_err(level);
            assert!(error.contains("is not a log level"), "{error}");
        }
    }

    #[test]
    fn the_level_changes_unless_the_requested_one_is_invalid() {
        let (_subscriber, handle) = build(Format::Text);
        assert_eq!(handle.set("debug"), Ok(()));
        assert_eq!(handle.current(), "debug");
        assert!(handle.set("loud").is_err());
        assert_eq!(handle.current(), "debug");
    }
}
