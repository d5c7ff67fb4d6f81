//! Pure. The log levels of a proxy, as the page `/logging` of its admin interface shows them.

use serde_json::{Map, Value, json};

/// The levels by part of the proxy, under Envoy's heading; `all` is the level of the parts without one of their own.
pub fn levels(page: &str) -> Value {
    let mut levels = Map::new();
    for line in page.lines().skip(1) {
        let Some((logger, given)) = line.split_once(": ") else { continue };
        for level in given.split(',').map(str::trim).filter(|level| !level.is_empty()) {
            let (part, level) = level.split_once('=').unwrap_or((logger.trim(), level));
            levels.insert(part.to_string(), json!(level));
        }
    }
    json!({"active_loggers": levels})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_level() {
        for (page, expected) in [
            ("active loggers:\n  all: info\n", json!({"all": "info"})),
            (
                "active loggers:\n  all: warn,proxy::control=debug,h2=off\n",
                json!({"all": "warn", "proxy::control": "debug", "h2": "off"}),
            ),
            ("active loggers:\n  admin: info\n  http: debug\n", json!({"admin": "info", "http": "debug"})),
            ("", json!({})),
        ] {
            assert_eq!(levels(page), json!({"active_loggers": expected}), "{page}");
        }
    }
}
