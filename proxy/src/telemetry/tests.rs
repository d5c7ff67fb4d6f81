//! Metrics from records, with Istio's labels for both sides of a request.

use super::*;
use crate::flow::flags::Flags;
use crate::flow::record::{NO_GRPC_STATUS, Reporter};
use api::model::workload::Workload;
use std::time::Duration;

fn node() -> Arc<Node> {
    let mut node = Node::anonymous();
    node.workload = Workload {
        namespace: "default".into(),
        service_account: "productpage".into(),
        workload_name: "productpage-v1".into(),
        canonical_name: "productpage".into(),
        canonical_revision: "v1".into(),
        app: "productpage".into(),
        version: "v1".into(),
        cluster_id: "Kubernetes".into(),
        ..Workload::default()
    };
    Arc::new(node)
}

fn record(key: Key) -> Record {
    Record {
        key,
        duration: Duration::from_millis(7),
        received: 0,
        sent: 100,
        request_messages: 0,
        response_messages: 0,
        detail: None,
    }
}

fn reviews() -> EndpointWorkload {
    EndpointWorkload {
        name: "reviews-v2".into(),
        namespace: "default".into(),
        canonical_name: "reviews".into(),
        canonical_revision: "v2".into(),
        cluster_id: "Kubernetes".into(),
    }
}

fn source_key(sink: &Sink) -> Key {
    let service = ClusterService {
        host: "reviews.default.svc.cluster.local".into(),
        name: "reviews".into(),
        namespace: "default".into(),
    };
    Key {
        mutual_tls: true,
        service: sink.service(&service),
        workload: sink.workload(&reviews()),
        principal: sink.principal("cluster.local/ns/default/sa/reviews"),
        code: 200,
        ..Key::unknown(Reporter::Source, Traffic::Http)
    }
}

#[test]
fn a_client_side_request_has_istios_labels() {
    let telemetry = Telemetry::new(node(), Peers::new().0);
    let sink = telemetry.sink(0);
    let key = source_key(&sink);
    sink.record(&record(key));
    let text = telemetry.render();
    let expected = "istio_requests_total{reporter=\"source\",source_workload=\"productpage-v1\",\
source_workload_namespace=\"default\",source_principal=\"spiffe://cluster.local/ns/default/sa/productpage\",\
source_app=\"productpage\",source_version=\"v1\",source_canonical_service=\"productpage\",\
source_canonical_revision=\"v1\",source_cluster=\"Kubernetes\",destination_workload=\"reviews-v2\",\
destination_workload_namespace=\"default\",\
destination_principal=\"spiffe://cluster.local/ns/default/sa/reviews\",destination_app=\"reviews\",\
destination_version=\"v2\",destination_canonical_service=\"reviews\",destination_canonical_revision=\"v2\",\
destination_cluster=\"Kubernetes\",destination_service=\"reviews.default.svc.cluster.local\",\
destination_service_name=\"reviews\",destination_service_namespace=\"default\",request_protocol=\"http\",\
response_code=\"200\",grpc_response_status=\"\",response_flags=\"-\",connection_security_policy=\"unknown\"} 1\n";
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("istio_request_duration_milliseconds_bucket"), "{text}");
    assert!(text.contains("le=\"10\"} 1\n"), "{text}");
    assert!(text.contains("le=\"5\"} 0\n"), "{text}");
}

#[test]
fn threads_are_summed() {
    let telemetry = Telemetry::new(node(), Peers::new().0);
    let (one, two) = (telemetry.sink(0), telemetry.sink(1));
    for sink in [&one, &two, &two] {
        sink.record(&record(source_key(sink)));
    }
    let text = telemetry.render();
    let line = text.lines().find(|l| l.starts_with("istio_requests_total")).unwrap();
    assert!(line.ends_with(" 3"), "{line}");
}

fn caller_label(principal: &str, peer: Option<Workload>) -> String {
    let (peers, _asked) = Peers::new();
    let telemetry = Telemetry::new(node(), peers.clone());
    let sink = telemetry.sink(0);
    let address = "10.0.0.9".parse().unwrap();
    let key = Key {
        peer: sink.peer(address),
        principal: if principal.is_empty() { 0 } else { sink.principal(principal) },
        mutual_tls: !principal.is_empty(),
        code: 503,
        flags: Flags::UF | Flags::URX,
        grpc_status: NO_GRPC_STATUS,
        ..Key::unknown(Reporter::Destination, Traffic::Http)
    };
    sink.record(&record(key));
    peers.set(address, peer);
    let text = telemetry.render();
    let line = text.lines().find(|l| l.starts_with("istio_requests_total")).unwrap().to_owned();
    assert!(line.contains("response_flags=\"URX,UF\""), "{line}");
    line
}

#[test]
fn a_peer_is_named_once_its_workload_arrives_if_its_certificate_matches() {
    let peer = || Workload {
        uid: "u".into(),
        namespace: "a".into(),
        service_account: "b".into(),
        workload_name: "caller".into(),
        ..Workload::default()
    };
    let cases = [
        ("cluster.local/ns/a/sa/b", Some(peer()), "source_workload=\"caller\"", "\"mutual_tls\""),
        ("cluster.local/ns/a/sa/other", Some(peer()), "source_workload=\"unknown\"", "\"mutual_tls\""),
        ("", Some(peer()), "source_workload=\"caller\"", "\"none\""),
        ("cluster.local/ns/a/sa/b", None, "source_workload=\"unknown\"", "\"mutual_tls\""),
    ];
    for (principal, workload, expected, policy) in cases {
        let line = caller_label(principal, workload);
        assert!(line.contains(expected), "{line}");
        assert!(line.contains(policy), "{line}");
        assert!(line.contains("source_canonical_revision=\"latest\""), "{line}");
    }
}

#[test]
fn tcp_counts_bytes_and_connections() {
    let telemetry = Telemetry::new(node(), Peers::new().0);
    let sink = telemetry.sink(0);
    let key = Key::unknown(Reporter::Source, Traffic::Tcp);
    sink.tcp_opened(key);
    sink.tcp_bytes(key, 10, 4);
    sink.tcp_bytes(key, 1, 0);
    sink.tcp_closed(key);
    let text = telemetry.render();
    for (metric, value) in [
        ("istio_tcp_connections_opened_total", 1),
        ("istio_tcp_connections_closed_total", 1),
        ("istio_tcp_sent_bytes_total", 11),
        ("istio_tcp_received_bytes_total", 4),
    ] {
        let line = text.lines().find(|l| l.starts_with(metric)).unwrap();
        assert!(line.ends_with(&format!(" {value}")), "{line}");
        assert!(!line.contains("response_code"), "{line}");
    }
}

#[test]
fn envoys_counters_have_both_names() {
    let telemetry = Telemetry::new(node(), Peers::new().0);
    let sink = telemetry.sink(0);
    sink.cluster(&"xds-grpc".into()).upstream_cx_active.add(2);
    telemetry.named("server.state").store(0, Ordering::Relaxed);
    assert_eq!(telemetry.stats()["cluster.xds-grpc.upstream_cx_active"], 2);
    assert_eq!(telemetry.stats()["server.state"], 0);
    let text = telemetry.render();
    assert!(text.contains("envoy_cluster_upstream_cx_active{cluster_name=\"xds-grpc\"} 2\n"), "{text}");
    assert!(text.contains("envoy_server_state 0\n"), "{text}");
}

#[test]
fn label_values_are_escaped() {
    let telemetry = Telemetry::new(node(), Peers::new().0);
    let sink = telemetry.sink(0);
    let service = ClusterService { host: "a\"b\\c\nd".into(), ..ClusterService::default() };
    let key = Key { service: sink.service(&service), ..Key::unknown(Reporter::Source, Traffic::Http) };
    sink.record(&record(key));
    assert!(telemetry.render().contains(r#"destination_service="a\"b\\c\nd""#));
}
