//! Facts about the machine that a format may contain: its name, and environment variables. They do not change while
//! the process runs, so they are resolved once.

use std::sync::OnceLock;

/// The value of an environment variable, optionally cut to a length. An unset variable is a dash, as in Envoy, in
/// headers and JSON too.
pub fn value(name: &str, longest: Option<usize>) -> String {
    let value = variable(name).unwrap_or_else(|| "-".to_owned());
    value.chars().take(longest.unwrap_or(usize::MAX)).collect()
}

#[expect(clippy::disallowed_methods, reason = "settings are read once, and this is one of them")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The machine's host name.
pub fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        nix::unistd::gethostname().map_or_else(|_| "-".into(), |name| name.to_string_lossy().into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_the_environment_are_text() {
        assert!(!host_name().is_empty());
        assert_eq!(value("THERE_IS_NO_SUCH_THING", None), "-");
        let path = value("PATH", None);
        assert_eq!(value("PATH", Some(3)), path.chars().take(3).collect::<String>());
    }
}
