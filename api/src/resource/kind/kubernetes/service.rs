//! Pure. `Service`, and the addresses behind it: `Endpoints` and `EndpointSlice`.

use crate::resource::column::{AGE, Column, items, listed, or, pairs, text};
use crate::resource::descriptor::Descriptor;
use serde_json::Value;

/// `v1` Service.
pub const SERVICE: Descriptor = Descriptor {
    group: "",
    kind: "Service",
    plural: "services",
    short: &["svc"],
    categories: &["all"],
    namespaced: true,
    versions: &["v1"],
    columns: &[
        Column::computed("TYPE", |service, _| or(text(service, ".spec.type"), "ClusterIP")),
        Column::computed("CLUSTER-IP", |service, _| or(text(service, ".spec.clusterIP"), "<none>")),
        Column::computed("EXTERNAL-IP", |service, _| external(service)),
        Column::computed("PORT(S)", |service, _| ports(service)),
        AGE,
        Column::computed("SELECTOR", |service, _| pairs(service, ".spec.selector")).wide(),
    ],
    schema: None,
};

/// `v1` Endpoints.
pub const ENDPOINTS: Descriptor = Descriptor {
    group: "",
    kind: "Endpoints",
    plural: "endpoints",
    short: &["ep"],
    categories: &[],
    namespaced: true,
    versions: &["v1"],
    columns: &[Column::computed("ENDPOINTS", |object, _| few(addresses(object))), AGE],
    schema: None,
};

/// `discovery.k8s.io/v1` EndpointSlice.
pub const ENDPOINT_SLICE: Descriptor = Descriptor {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    short: &[],
    categories: &[],
    namespaced: true,
    versions: &["v1"],
    columns: &[
        Column::path("ADDRESSTYPE", ".addressType", "Type of the addresses."),
        Column::computed("PORTS", |slice, _| few(items(slice, ".ports").map(|p| p["port"].to_string()))),
        Column::computed("ENDPOINTS", |slice, _| few(slice_addresses(slice))),
        AGE,
    ],
    schema: None,
};

fn external(service: &Value) -> String {
    let own = || items(service, ".spec.externalIPs").filter_map(Value::as_str);
    match text(service, ".spec.type") {
        "ExternalName" => or(text(service, ".spec.externalName"), "<none>"),
        "LoadBalancer" => {
            let given = items(service, ".status.loadBalancer.ingress")
                .map(|to| if text(to, ".ip").is_empty() { text(to, ".hostname") } else { text(to, ".ip") });
            match listed(given.chain(own())).as_str() {
                "<none>" => "<pending>".into(),
                all => all.into(),
            }
        }
        _ => listed(own()),
    }
}

fn ports(service: &Value) -> String {
    let one = |port: &Value| {
        let node = port["nodePort"].as_u64().filter(|node| *node > 0);
        let node = node.map_or_else(String::new, |node| format!(":{node}"));
        format!("{}{node}/{}", port["port"], or(text(port, ".protocol"), "TCP"))
    };
    listed(items(service, ".spec.ports").map(one))
}

fn addresses(endpoints: &Value) -> impl Iterator<Item = String> {
    items(endpoints, ".subsets").flat_map(|subset| {
        let ports: Vec<String> = items(subset, ".ports").map(|port| format!(":{}", port["port"])).collect();
        let ports = if ports.is_empty() { vec![String::new()] } else { ports };
        items(subset, ".addresses")
            .flat_map(move |address| {
                let ip = text(address, ".ip").to_owned();
                ports.clone().into_iter().map(move |port| format!("{ip}{port}"))
            })
            .collect::<Vec<_>>()
    })
}

fn slice_addresses(slice: &Value) -> impl Iterator<Item = String> {
    let of = |endpoint| items(endpoint, ".addresses").filter_map(Value::as_str).map(str::to_owned);
    items(slice, ".endpoints").flat_map(of)
}

/// The first three items, and the number of the others.
fn few(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let shown = listed(all.iter().take(3));
    if all.len() > 3 { format!("{shown} + {} more...", all.len() - 3) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_cells_of_services_are_the_same_as_in_kubectl() {
        let table = [
            (json!({"ports": [{"port": 80}]}), ("<none>", "80/TCP")),
            (json!({"type": "ExternalName", "externalName": "a.test"}), ("a.test", "<none>")),
            (
                json!({"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]}),
                ("<pending>", "80:30080/TCP,53/UDP"),
            ),
            (json!({"externalIPs": ["192.0.2.1", "192.0.2.2"]}), ("192.0.2.1,192.0.2.2", "<none>")),
        ];
        for (spec, (address, open)) in table {
            let service = json!({"spec": spec});
            assert_eq!((external(&service).as_str(), ports(&service).as_str()), (address, open), "{service}");
        }
        let balanced = json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}});
        assert_eq!(external(&balanced), "127.0.0.1");
    }

    #[test]
    fn only_the_first_of_many_endpoints_are_listed() {
        let subset = json!({"addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ports": [{"port": 80}, {"port": 81}]});
        let object = json!({"subsets": [subset]});
        assert_eq!(few(addresses(&object)), "10.0.0.1:80,10.0.0.1:81,10.0.0.2:80 + 1 more...");
        assert_eq!(few(slice_addresses(&json!({"endpoints": [{"addresses": ["10.0.0.9"]}]}))), "10.0.0.9");
        assert_eq!(few(addresses(&json!({}))), "<none>");
    }
}
