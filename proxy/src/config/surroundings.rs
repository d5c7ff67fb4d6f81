//! What a format may say of the machine: its name, and the environment of the process. Neither changes while it runs,
//! so that both are text from the start.

use std::sync::OnceLock;

/// The text that `HOSTNAME` or `ENVIRONMENT(NAME)` stands for, perhaps cut to a length; `None`: it is neither.
pub fn constant(operator: &str) -> Option<String> {
    if operator == "HOSTNAME" {
        return Some(host_name().to_owned());
    }
    let (name, rest) = operator.strip_prefix("ENVIRONMENT(")?.rsplit_once(')')?;
    let longest = match rest {
        "" => None,
        rest => Some(rest.strip_prefix(':')?.parse().ok()?),
    };
    // Envoy writes a dash for what is not set, in headers and JSON too.
    let value = variable(name).unwrap_or_else(|| "-".to_owned());
    Some(value.chars().take(longest.unwrap_or(usize::MAX)).collect())
}

#[expect(clippy::disallowed_methods, reason = "settings are read once, and this is one of them")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn host_name() -> &'static str {
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
        assert!(constant("HOSTNAME").is_some_and(|name| !name.is_empty()));
        assert_eq!(constant("ENVIRONMENT(THERE_IS_NO_SUCH_THING)").as_deref(), Some("-"));
        let path = constant("ENVIRONMENT(PATH)").unwrap();
        assert_eq!(constant("ENVIRONMENT(PATH):3").unwrap(), path.chars().take(3).collect::<String>());
        for other in ["HOSTNAMES", "ENVIRONMENT", "ENVIRONMENT(A)b", "ENVIRONMENT(A):x"] {
            assert_eq!(constant(other), None, "{other}");
        }
    }
}
