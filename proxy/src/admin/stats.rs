//! Pure. Renders counters in Envoy's format.

use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Selects the counters to show.
#[derive(Debug)]
pub(super) struct Selection {
    filter: Option<Regex>,
    used_only: bool,
}

impl Selection {
    pub(super) fn parse(filter: Option<&str>, used_only: bool) -> Result<Self, String> {
        let filter = filter.filter(|filter| !filter.is_empty()).map(Regex::new).transpose();
        let filter = filter.map_err(|error| format!("filter: not a regular expression: {error}"))?;
        Ok(Self { filter, used_only })
    }

    pub(super) fn select(&self, stats: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
        let wanted = |name: &str, value: u64| {
            self.filter.as_ref().is_none_or(|filter| filter.is_match(name))
                && (!self.used_only || value > 0 || ALWAYS_USED.iter().any(|prefix| name.starts_with(prefix)))
        };
        stats.into_iter().filter(|(name, value)| wanted(name, *value)).collect()
    }
}

pub(super) fn text(stats: &BTreeMap<String, u64>) -> String {
    let mut page = String::new();
    for (name, value) in stats {
        let _ = writeln!(page, "{name}: {value}");
    }
    page
}

pub(super) fn json(stats: &BTreeMap<String, u64>) -> Value {
    let stats: Vec<Value> = stats.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({"stats": stats})
}

/// Prefixes of counters that are set at startup even if they are 0: health checks read `server.state: 0` as "live".
const ALWAYS_USED: [&str; 3] = ["server.", "listener_manager.", "cluster_manager."];
