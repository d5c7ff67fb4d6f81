//! Pure. The table of endpoints and their health.

use serde_json::Value;

use crate::view::proxy::dump::{address, text};
use crate::view::table;

/// One row for each address of each cluster. `clusters` is Envoy's page `/clusters?format=json`.
pub fn render(clusters: &Value) -> String {
    let mut rows: Vec<Vec<String>> = list(clusters, "cluster_statuses").flat_map(rows).collect();
    rows.sort();
    rows.dedup();
    table::render(&["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"], &rows)
}

fn rows(cluster: &Value) -> impl Iterator<Item = Vec<String>> {
    list(cluster, "host_statuses").map(|host| {
        let (name, port) = address(&host["address"]);
        let health = &host["health_status"];
        let outlier = if health["failed_outlier_check"] == true { "FAILED" } else { "OK" };
        let status = text(health, "eds_health_status").to_owned();
        vec![format!("{name}:{port}"), status, outlier.into(), text(cluster, "name").into()]
    })
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[field].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_address_has_a_line_with_its_health() {
        let host = |last: u8, health: Value| {
            let socket = json!({"address": format!("10.244.0.{last}"), "port_value": 9080});
            json!({"address": {"socket_address": socket}, "health_status": health})
        };
        let hosts = [
            host(3, json!({"eds_health_status": "HEALTHY"})),
            host(4, json!({"eds_health_status": "HEALTHY", "failed_outlier_check": true})),
            host(5, json!({"eds_health_status": "DRAINING"})),
        ];
        let page = json!({"cluster_statuses": [{"name": "outbound|9080||x", "host_statuses": hosts}]});
        let text = render(&page);
        let lines: Vec<String> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "10.244.0.3:9080 HEALTHY OK outbound|9080||x",
                "10.244.0.4:9080 HEALTHY FAILED outbound|9080||x",
                "10.244.0.5:9080 DRAINING OK outbound|9080||x",
            ]
        );
    }
}
