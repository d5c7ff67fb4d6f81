//! Pure. The table of clusters.

use serde_json::Value;

use crate::view::proxy::dump::{origin, resources, text};
use crate::view::table;

/// One row for each cluster, sorted by name.
pub fn render(dump: &Value) -> String {
    let clusters = resources(
        dump,
        &["dynamic_active_clusters", "dynamic_warming_clusters", "static_clusters"],
        &["cluster"],
    );
    let mut rows: Vec<Vec<String>> = clusters.into_iter().map(row).collect();
    rows.sort();
    table::render(&["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"], &rows)
}

fn row(cluster: &Value) -> Vec<String> {
    let or = |text: &str| if text.is_empty() { "-".to_string() } else { text.to_string() };
    let parts: Vec<&str> = text(cluster, "name").split('|').collect();
    let (host, port, subset, direction) = match parts.as_slice() {
        [direction, port, subset, host] => (or(host), or(port), or(subset), or(direction)),
        _ => (text(cluster, "name").to_string(), "-".into(), "-".into(), "-".into()),
    };
    let host = if host == "-" { String::new() } else { host };
    vec![host, port, subset, direction, or(text(cluster, "type")), origin(cluster)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_parsed() {
        let dump = json!({"configs": [{"dynamic_active_clusters": [
            {"cluster": {"name": "outbound|9080|v1|reviews.default.svc.cluster.local", "type": "EDS"}},
            {"cluster": {"name": "BlackHoleCluster", "type": "STATIC"}}]}]});
        let text = render(&dump);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["BlackHoleCluster", "-", "-", "-", "STATIC"]);
        assert_eq!(lines[2], ["reviews.default.svc.cluster.local", "9080", "v1", "outbound", "EDS"]);
    }
}
