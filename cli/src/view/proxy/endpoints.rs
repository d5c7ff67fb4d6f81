//! Pure. The table of endpoints.

use serde_json::Value;

use crate::view::proxy::dump::{address, resources, text};
use crate::view::table;

/// One row for each address of each cluster.
pub fn render(dump: &Value) -> String {
    let lists = ["dynamic_endpoint_configs", "static_endpoint_configs"];
    let mut rows: Vec<Vec<String>> =
        resources(dump, &lists, &["endpoint_config"]).into_iter().flat_map(rows).collect();
    rows.sort();
    rows.dedup();
    table::render(&["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"], &rows)
}

fn rows(assignment: &Value) -> Vec<Vec<String>> {
    let localities = assignment["endpoints"].as_array().into_iter().flatten();
    let endpoints = localities.flat_map(|locality| locality["lb_endpoints"].as_array().into_iter().flatten());
    endpoints
        .map(|entry| {
            let (host, port) = address(&entry["endpoint"]["address"]);
            let status = match text(entry, "health_status") {
                "" | "UNKNOWN" => "HEALTHY",
                given => given,
            };
            let ejected =
                entry.pointer("/metadata/filter_metadata/ostria/ejected") == Some(&Value::Bool(true));
            let outlier = if ejected { "FAILED" } else { "OK" };
            vec![
                format!("{host}:{port}"),
                status.into(),
                outlier.into(),
                text(assignment, "cluster_name").into(),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_address_has_a_line() {
        let endpoint = json!({"endpoint": {"address": {"socket_address": {"address": "10.244.0.3", "port_value": 9080}}}});
        let dump = json!({"configs": [{"dynamic_endpoint_configs": [
            {"endpoint_config": {"cluster_name": "outbound|9080||x", "endpoints": [{"lb_endpoints": [endpoint]}]}}]}]});
        let text = render(&dump);
        let line: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(line, ["10.244.0.3:9080", "HEALTHY", "OK", "outbound|9080||x"]);
    }
}
