//! Pure. `ostria proxy-status`: whether each connected proxy has acknowledged what pilot sent, by type, as in `istioctl
//! proxy-status`.

use std::fmt::Write;

use serde_json::Value;

use crate::view::{status, table};

/// The table of proxies.
pub fn render(proxies: &[Value], version: &str) -> String {
    let heads = ["NAME", "CLUSTER", "CDS", "LDS", "EDS", "RDS", "ECDS", "PILOT", "VERSION"];
    let mut rows: Vec<Vec<String>> = proxies.iter().map(|proxy| row(proxy, version)).collect();
    rows.sort();
    table::render(&heads, &rows)
}

/// The resources that proxies have rejected, with the reasons: one paragraph for each rejection.
pub fn refusals(proxies: &[Value]) -> String {
    let mut text = String::new();
    for proxy in proxies {
        for refusal in proxy["refusals"].as_array().into_iter().flatten() {
            let kind = word(refusal, "type").rsplit('.').next().unwrap_or_default();
            let names: Vec<&str> =
                refusal["names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let _ = writeln!(
                text,
                "\n{} refuses {kind} {}:\n  {}",
                word(proxy, "proxy"),
                names.join(", "),
                word(refusal, "detail").replace('\n', "\n  ")
            );
        }
    }
    text
}

fn row(proxy: &Value, version: &str) -> Vec<String> {
    let [clusters, listeners, routes, endpoints] = status::states(proxy);
    let own = word(proxy, "proxy_version");
    vec![
        word(proxy, "proxy").into(),
        word(proxy, "cluster_id").into(),
        clusters,
        listeners,
        endpoints,
        routes,
        // Pilot sends no extension configurations (ECDS); filters are part of their listeners.
        "IGNORED".into(),
        // Only a cluster has several replicas.
        if word(proxy, "pilot").is_empty() { "pilot" } else { word(proxy, "pilot") }.into(),
        if own.is_empty() { version.into() } else { own.into() },
    ]
}

fn word<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_type_has_a_column_and_refusals_their_reason() {
        let proxy = json!({"proxy": "web.shop", "cluster_id": "Kubernetes", "proxy_version": "ostria-proxy/1",
            "cluster_sent": "a", "cluster_acked": "a", "listener_sent": "b", "listener_acked": "a",
            "route_sent": "", "endpoint_sent": "c", "endpoint_acked": "c",
            "refusals": [{"type": "type.googleapis.com/envoy.config.listener.v3.Listener", "names": ["80"], "detail": "no"}]});
        let table = render(std::slice::from_ref(&proxy), "1");
        let row: Vec<&str> = table
            .lines()
            .nth(1)
            .unwrap_or_default()
            .split("  ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        assert_eq!(
            row[..7],
            ["web.shop", "Kubernetes", "SYNCED", "REFUSED", "SYNCED", "NOT SENT", "IGNORED"]
        );
        assert_eq!(refusals(&[proxy]), "\nweb.shop refuses Listener 80:\n  no\n");
    }
}
