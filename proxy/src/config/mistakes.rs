//! Pure. Mistakes in the settings, collected so that a user sees them all at once.

/// A mistake in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct ConfigError {
    /// The flag or variable, including the path of the field in it.
    pub setting: String,
    /// What is wrong, and what is expected.
    pub reason: String,
}

/// Collects all mistakes.
#[derive(Debug, Default)]
pub(super) struct Mistakes(pub(super) Vec<ConfigError>);

impl Mistakes {
    pub(super) fn add(&mut self, setting: impl Into<String>, reason: impl Into<String>) {
        self.0.push(ConfigError { setting: setting.into(), reason: reason.into() });
    }

    /// Returns the value, or its default if it is absent or invalid.
    pub(super) fn take<T>(&mut self, setting: &str, parsed: Result<Option<T>, String>, default: T) -> T {
        match parsed {
            Ok(value) => value.unwrap_or(default),
            Err(reason) => {
                self.add(setting, reason);
                default
            }
        }
    }
}
