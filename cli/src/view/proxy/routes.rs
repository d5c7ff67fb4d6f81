//! Pure. The table of routes.

use serde_json::Value;

use crate::view::proxy::dump::{origin, resources, text};
use crate::view::table;

/// One row for each route of each virtual host.
pub fn render(dump: &Value) -> String {
    let lists = ["dynamic_route_configs", "static_route_configs"];
    let rows: Vec<Vec<String>> =
        resources(dump, &lists, &["route_config"]).into_iter().flat_map(rows).collect();
    table::render(&["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"], &rows)
}

fn rows(configuration: &Value) -> Vec<Vec<String>> {
    let hosts = configuration["virtual_hosts"].as_array().into_iter().flatten();
    hosts
        .flat_map(|host| {
            let routes = host["routes"].as_array().into_iter().flatten();
            routes.map(move |route| {
                vec![
                    text(configuration, "name").into(),
                    text(host, "name").into(),
                    domains(host),
                    matched(&route["match"]),
                    if text(&route["route"], "cluster") == "BlackHoleCluster" {
                        "404".into()
                    } else {
                        origin(route)
                    },
                ]
            })
        })
        .collect()
}

/// The names of a virtual host, without those that only add a port or the suffix of the cluster to another name.
fn domains(host: &Value) -> String {
    let all: Vec<&str> = host["domains"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let has_port = |name: &str| {
        name.rsplit_once(':').is_some_and(|(host, port)| {
            (!host.contains(':') || host.ends_with(']')) && port.parse::<u16>().is_ok()
        })
    };
    let is_longer = |name: &&str| {
        SUFFIXES.iter().filter_map(|suffix| name.strip_suffix(suffix)).any(|short| all.contains(&short))
    };
    let domains: Vec<&str> = match &all[..] {
        [single] => vec![single],
        _ => all.iter().copied().filter(|name| !has_port(name) && !is_longer(name)).collect(),
    };
    let first = domains.iter().take(2).copied().collect::<Vec<_>>().join(", ");
    match domains.len() {
        0..=2 => first,
        count => format!("{first} + {} more...", count - 2),
    }
}

fn matched(condition: &Value) -> String {
    let path = if let Some(prefix) = condition["prefix"].as_str() {
        format!("{prefix}*")
    } else if let Some(prefix) = condition["path_separated_prefix"].as_str() {
        format!("PathPrefix:{prefix}")
    } else if let Some(regex) = condition["safe_regex"]["regex"].as_str() {
        format!("regex {regex}")
    } else {
        text(condition, "path").to_string()
    };
    let headers = condition["headers"].as_array().map_or(0, Vec::len);
    if headers == 0 { path } else { format!("{path} +{headers} header") }
}

const SUFFIXES: [&str; 2] = [".svc.cluster.local", ".svc"];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_names_of_a_host_are_shown_as_istioctl_shows_them() {
        let cases = [
            (json!([]), ""),
            (json!(["*:80"]), "*:80"),
            (
                json!([
                    "a.b.svc.cluster.local",
                    "a.b.svc.cluster.local:80",
                    "a",
                    "a.b.svc",
                    "a.b",
                    "10.0.0.1:80",
                    "10.0.0.1"
                ]),
                "a, a.b + 1 more...",
            ),
            (json!(["[fd00::1]", "[fd00::1]:80"]), "[fd00::1]"),
            (json!(["a.svc", "b.svc.cluster.local"]), "a.svc, b.svc.cluster.local"),
        ];
        for (domains, expected) in cases {
            assert_eq!(super::domains(&json!({"domains": domains})), expected, "{domains}");
        }
    }

    #[test]
    fn routes_show_host_match_and_origin() {
        let config = "/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews";
        let route = json!({"match": {"prefix": "/", "headers": [{"name": "end-user"}]},
            "metadata": {"filter_metadata": {"istio": {"config": config}}}});
        let host = json!({"name": "reviews.default.svc.cluster.local:9080", "domains": ["a", "b", "c"], "routes": [route]});
        let dump = json!({"configs": [{"dynamic_route_configs": [{"route_config": {"name": "9080", "virtual_hosts": [host]}}]}]});
        let text = render(&dump);
        assert!(text.contains("a, b + 1 more...   /* +1 header   reviews.default"), "{text}");
    }
}
