//! The ports of the control plane: what containers listen on, what Services forward to, what NetworkPolicies admit, and what
//! docs/install.md says, which are four lists of the same ports.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::program;

use crate::helm::render;
use crate::object::{Object, labels};

/// A port of a part of the control plane.
struct Port {
    part: &'static str,
    name: &'static str,
    container: u64,
    service: u64,
    callers: Callers,
}

/// Who connects to a port.
#[derive(Clone, Copy, PartialEq)]
enum Callers {
    /// Pods of every namespace, or the API server, which no policy can name.
    Everybody,
    /// Those of `networkPolicy.metricsFrom`, and the kubelet, which a policy never stops.
    Prometheus,
}

const PORTS: &[Port] = &[
    Port {
        part: "ostria-pilot",
        name: "grpc-xds",
        container: 15012,
        service: 15012,
        callers: Callers::Everybody,
    },
    Port {
        part: "ostria-pilot",
        name: "https-webhook",
        container: 15017,
        service: 443,
        callers: Callers::Everybody,
    },
    Port {
        part: "ostria-pilot",
        name: "http-monitoring",
        container: 15014,
        service: 15014,
        callers: Callers::Prometheus,
    },
    Port {
        part: "ostria-citadel",
        name: "grpc-ca",
        container: 8060,
        service: 8060,
        callers: Callers::Everybody,
    },
    Port {
        part: "ostria-citadel",
        name: "http-monitoring",
        container: 15014,
        service: 15014,
        callers: Callers::Prometheus,
    },
    Port {
        part: "ostria-injector",
        name: "https-webhook",
        container: 15017,
        service: 443,
        callers: Callers::Everybody,
    },
    Port {
        part: "ostria-injector",
        name: "http-monitoring",
        container: 15014,
        service: 15014,
        callers: Callers::Prometheus,
    },
];

#[test]
#[ignore = "needs helm: make chart"]
fn policies_admit_each_port_from_those_who_need_it_and_no_other() {
    let from = r#"networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"name":"monitoring"}}}]"#;
    let monitoring = json!([{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]);
    for (set, suffix, metrics_from) in [
        (vec![], "", Value::Null),
        (vec!["--set-json", from], "", monitoring.clone()),
        (vec!["--set-json", from, "--set", "revision=canary"], "-canary", monitoring),
    ] {
        let objects = render(&set).unwrap();
        for part in PORTS.iter().map(|port| port.part).collect::<BTreeSet<_>>() {
            check(&objects, part, suffix, &metrics_from);
        }
        let policies = objects.iter().filter(|object| object.kind() == "NetworkPolicy").count();
        assert_eq!(policies, 3, "{set:?}: no policy selects the pods of gateways");
    }
}

/// Compares the ports of a part.
fn check(objects: &[Object], part: &str, suffix: &str, metrics_from: &Value) {
    let name = format!("{part}{suffix}");
    let find = |kind: &str| {
        let found = objects.iter().find(|object| object.kind() == kind && object.name() == name);
        found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    };
    let expected: Vec<&Port> = PORTS.iter().filter(|port| port.part == part).collect();

    let deployment = find("Deployment");
    let container = &deployment.pod()["spec"]["containers"][0];
    let listens: BTreeMap<&str, u64> = expected.iter().map(|port| (port.name, port.container)).collect();
    assert_eq!(numbers(&container["ports"], "containerPort"), listens, "{name}: the container");
    let scraped = &deployment.pod()["metadata"]["annotations"]["prometheus.io/port"];
    assert_eq!(scraped, &listens["http-monitoring"].to_string(), "{name}");

    let ports = &find("Service").0["spec"]["ports"];
    let forwards: BTreeMap<&str, u64> = expected.iter().map(|port| (port.name, port.service)).collect();
    assert_eq!(numbers(ports, "port"), forwards, "{name}: the Service");
    for port in ports.as_array().unwrap() {
        assert_eq!(port["targetPort"], port["name"], "{name}: the Service");
    }

    let policy = &find("NetworkPolicy").0["spec"];
    let selector = labels(&policy["podSelector"]["matchLabels"]);
    let own = deployment.pod_labels();
    assert!(selector.iter().all(|(key, value)| own.get(key) == Some(value)), "{name}: {selector:?}");
    // The servers call the API server, DNS, citadel and each other, so what they send is not restricted.
    assert_eq!(policy["policyTypes"], json!(["Ingress"]), "{name}");
    let mut admitted = BTreeMap::new();
    for rule in policy["ingress"].as_array().unwrap() {
        for port in rule["ports"].as_array().unwrap() {
            assert_eq!(port["protocol"], "TCP", "{name}");
            let is_first = admitted.insert(port["port"].as_u64().unwrap(), rule["from"].clone()).is_none();
            assert!(is_first, "{name}: two rules for {port}");
        }
    }
    let from = |callers| if callers == Callers::Prometheus { metrics_from.clone() } else { Value::Null };
    let expected: BTreeMap<u64, Value> =
        expected.iter().map(|port| (port.container, from(port.callers))).collect();
    assert_eq!(admitted, expected, "{name}: the NetworkPolicy");
}

/// Names and numbers of ports.
fn numbers<'a>(list: &'a Value, field: &str) -> BTreeMap<&'a str, u64> {
    let ports = list.as_array().unwrap().iter();
    ports.map(|port| (port["name"].as_str().unwrap(), port[field].as_u64().unwrap())).collect()
}

#[test]
fn the_document_names_every_port() {
    let text = std::fs::read_to_string(program::repository("docs/install.md")).unwrap();
    let section = text.lines().skip_while(|line| *line != "## Ports").skip(1);
    let section = section.take_while(|line| !line.starts_with("## "));
    let rows = section.filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let number = cells.first()?.split(' ').next()?.parse::<u64>().ok()?;
        Some((number, (*cells.get(1)?).to_owned()))
    });
    let documented: BTreeSet<(u64, String)> = rows
        .flat_map(|(number, parts)| {
            let parts: Vec<String> = parts.split(", ").map(|part| format!("ostria-{part}")).collect();
            parts.into_iter().map(move |part| (number, part))
        })
        .collect();
    let expected = PORTS.iter().map(|port| (port.container, port.part.to_owned())).collect();
    assert_eq!(documented, expected);
}
