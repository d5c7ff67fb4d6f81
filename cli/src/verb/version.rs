//! `ostria version`.

use serde_json::json;

use crate::arguments::Output;
use crate::verb::print;

/// Prints the version.
pub fn run(output: Output) {
    let version = env!("CARGO_PKG_VERSION");
    print::out(
        &print::document(&json!({"version": version}), output)
            .unwrap_or_else(|| format!("ostria {version}\n")),
    );
}
