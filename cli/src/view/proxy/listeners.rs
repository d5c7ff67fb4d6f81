//! Pure. The table of listeners.

use serde_json::Value;

use crate::view::proxy::dump::{address, resources, text};
use crate::view::table;

/// One row for each filter chain of each listener.
pub fn render(dump: &Value) -> String {
    let mut listeners = resources(dump, &["dynamic_listeners"], &["active_state", "listener"]);
    listeners.extend(resources(dump, &["static_listeners"], &["listener"]));
    let mut rows: Vec<(u64, Vec<String>)> = listeners.into_iter().flat_map(rows).collect();
    rows.sort();
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    table::render(&["ADDRESSES", "PORT", "MATCH", "DESTINATION"], &rows)
}

fn rows(listener: &Value) -> Vec<(u64, Vec<String>)> {
    let (host, port) = address(&listener["address"]);
    let chains = listener["filter_chains"].as_array().into_iter().flatten();
    let fallback = std::iter::once(&listener["default_filter_chain"]).filter(|chain| !chain.is_null());
    let row = |chain: &Value| {
        (
            port.parse().unwrap_or(0),
            vec![host.clone(), port.clone(), matched(&chain["filter_chain_match"]), destination(chain)],
        )
    };
    chains.chain(fallback).map(row).collect()
}

fn matched(condition: &Value) -> String {
    let list = |field: &str| -> String {
        let entries = condition[field].as_array().into_iter().flatten();
        entries.filter_map(Value::as_str).collect::<Vec<_>>().join(",")
    };
    let ranges = condition["prefix_ranges"].as_array().into_iter().flatten();
    let ranges: Vec<String> = ranges
        .map(|range| {
            format!("{}/{}", text(range, "address_prefix"), range["prefix_len"].as_u64().unwrap_or(32))
        })
        .collect();
    let parts = [
        ("SNI", list("server_names")),
        ("Trans", text(condition, "transport_protocol").replace("raw_buffer", "raw")),
        ("App", list("application_protocols")),
        ("Addr", ranges.join(",")),
        ("Port", condition["destination_port"].as_u64().map(|port| port.to_string()).unwrap_or_default()),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("{name}: {text}"))
        .collect();
    if parts.is_empty() { "ALL".into() } else { parts.join("; ") }
}

fn destination(chain: &Value) -> String {
    let filters = chain["filters"].as_array().into_iter().flatten();
    for filter in filters {
        let config = &filter["typed_config"];
        if let Some(name) = config["rds"]["route_config_name"].as_str() {
            return format!("Route: {name}");
        }
        if let Some(route) = config.get("route_config").filter(|route| !route.is_null()) {
            return format!("Inline Route: {}", text(route, "name"));
        }
        if let Some(cluster) = config["cluster"].as_str() {
            return format!("Cluster: {cluster}");
        }
        if let Some(clusters) = config["weighted_clusters"]["clusters"].as_array() {
            let shares: Vec<String> =
                clusters.iter().map(|share| format!("{} {}", text(share, "name"), share["weight"])).collect();
            return format!("Clusters: {}", shares.join(", "));
        }
    }
    "Non-HTTP/Non-TCP".into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_chain_has_its_match_and_destination() {
        let listener = json!({"address": {"socket_address": {"address": "0.0.0.0", "port_value": 9080}},
            "filter_chains": [{"filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]},
                "filters": [{"typed_config": {"rds": {"route_config_name": "9080"}}}]}],
            "default_filter_chain": {"filters": [{"typed_config": {"cluster": "PassthroughCluster"}}]}});
        let dump = json!({"configs": [{"dynamic_listeners": [{"active_state": {"listener": listener}}]}]});
        let text = render(&dump);
        assert!(text.contains("Trans: raw; App: http/1.1,h2c   Route: 9080"), "{text}");
        assert!(text.contains("ALL                             Cluster: PassthroughCluster"), "{text}");
    }
}
