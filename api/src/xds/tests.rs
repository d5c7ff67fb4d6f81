//! The client's requests. `fuzz/targets/src/discovery.rs` tests client and server together.

use super::client::Client;
use crate::model::Kind;
use crate::wire::xds::{Any, DeltaDiscoveryResponse, NodeInfo};
use std::collections::BTreeSet;

#[test]
fn a_rejected_resource_keeps_its_last_good_version_and_is_named_in_the_nack() {
    let mut client = Client::new(NodeInfo::default(), &[Kind::Cluster]);
    assert!(client.connected()[0].node.is_some());
    let response = |version: &str| {
        let resource = |name: &str| crate::wire::xds::Resource {
            name: name.to_owned(),
            version: version.to_owned(),
            resource: Some(Any::default()),
            ..Default::default()
        };
        DeltaDiscoveryResponse {
            resources: vec![resource("a"), resource("b")],
            type_url: Kind::Cluster.type_url().to_owned(),
            nonce: version.to_owned(),
            ..Default::default()
        }
    };
    let first = client.receive(response("1")).unwrap();
    assert_eq!(client.acknowledge(&first, &[]).error_detail, None);
    let second = client.receive(response("2")).unwrap();
    let nack = client.acknowledge(&second, &[("b".into(), "lb_policy: not supported".into())]);
    assert!(nack.node.is_none(), "the node is announced once for each stream");
    assert_eq!(nack.response_nonce, "2");
    assert_eq!(nack.error_detail.unwrap().message, "b: lb_policy: not supported");
    let versions = &client.connected()[0].initial_resource_versions;
    assert_eq!((versions["a"].as_str(), versions["b"].as_str()), ("2", "1"));
}

#[test]
fn subscriptions_are_sent_as_differences() {
    let mut client = Client::new(NodeInfo::default(), &[]);
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let first = client.subscribe(Kind::Endpoints, &names(&["a", "b"])).unwrap();
    assert_eq!(first.resource_names_subscribe, ["a", "b"]);
    let second = client.subscribe(Kind::Endpoints, &names(&["b", "c"])).unwrap();
    assert_eq!(
        (second.resource_names_subscribe, second.resource_names_unsubscribe),
        (vec!["c".into()], vec!["a".into()])
    );
    assert_eq!(client.subscribe(Kind::Endpoints, &names(&["b", "c"])), None);
    let reopened = client.connected();
    assert_eq!(reopened[0].resource_names_subscribe, ["b", "c"]);
}
