//! Pure. `ostria version`: the versions of the command, the control plane and the proxies, as istioctl prints them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::wire::ControlLine;

/// The versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Of the command.
    pub version: String,
    /// Of the pods of the control plane.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub control_plane: Vec<ControlLine>,
    /// How many proxies have each version.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data_plane: BTreeMap<String, usize>,
}

/// How many of pilot's rows have each version of the proxy.
pub fn of_proxies(rows: &[Value]) -> BTreeMap<String, usize> {
    rows.iter().fold(BTreeMap::new(), |mut counts, row| {
        let agent = row["proxy_version"].as_str().unwrap_or_default();
        // The user agent: the program's name, and its version.
        let version = agent.strip_prefix("ostria-proxy/").unwrap_or(agent);
        *counts.entry(if version.is_empty() { UNKNOWN } else { version }.to_owned()).or_default() += 1;
        counts
    })
}

/// One line for each part.
pub fn render(versions: &Versions) -> String {
    let counts = versions.control_plane.iter().fold(BTreeMap::new(), |mut counts, line| {
        let version = if line.version.is_empty() { UNKNOWN } else { &line.version };
        *counts.entry(version.to_owned()).or_insert(0) += 1;
        counts
    });
    let control = match counts.len() {
        0 => "none".to_owned(),
        // If all pods agree, their number says nothing.
        1 => counts.into_keys().collect(),
        _ => listed(&counts, "pod"),
    };
    let data =
        if versions.data_plane.is_empty() { "none".into() } else { listed(&versions.data_plane, "prox") };
    format!(
        "client version: {}\ncontrol plane version: {control}\ndata plane version: {data}\n",
        versions.version
    )
}

fn listed(counts: &BTreeMap<String, usize>, noun: &str) -> String {
    let noun = |count: &usize| match (noun, count) {
        ("prox", 1) => "proxy".to_owned(),
        ("prox", _) => "proxies".to_owned(),
        (noun, 1) => noun.to_owned(),
        (noun, _) => format!("{noun}s"),
    };
    counts
        .iter()
        .map(|(version, count)| format!("{version} ({count} {})", noun(count)))
        .collect::<Vec<_>>()
        .join(", ")
}

const UNKNOWN: &str = "unknown";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_are_counted_where_they_differ() {
        let line = |version: &str| ControlLine { version: version.into(), ..ControlLine::default() };
        let rows = [
            json!({"proxy_version": "ostria-proxy/1"}),
            json!({"proxy_version": "ostria-proxy/2"}),
            json!({"proxy_version": "ostria-proxy/2"}),
            json!({}),
        ];
        let versions = |control: Vec<ControlLine>, rows: &[Value]| Versions {
            version: "2".into(),
            control_plane: control,
            data_plane: of_proxies(rows),
        };
        let text = render(&versions(vec![line("2"), line("2")], &rows));
        let expected = "client version: 2\ncontrol plane version: 2\ndata plane version: 1 (1 proxy), 2 (2 proxies), unknown (1 proxy)\n";
        assert_eq!(text, expected);
        let text = render(&versions(vec![line("2"), line("1"), line("")], &[]));
        assert!(text.contains("control plane version: 1 (1 pod), 2 (1 pod), unknown (1 pod)\n"), "{text}");
        assert!(text.ends_with("data plane version: none\n"), "{text}");
    }
}
