//! The discovery protocol's own messages and service stubs, and the node that a client announces.
//!
//! Aliases of the types of Envoy's `AggregatedDiscoveryService`, so that protocol code elsewhere does not depend on
//! generated paths. The service has two methods: `StreamAggregatedResources` (state of the world) and
//! `DeltaAggregatedResources`.

use super::value::{from_struct, to_struct};
use crate::bounded::Bounded;
use crate::bounded::budget::{Budget, Inner};
use crate::model::endpoint::Locality;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::envoy::config::core::v3::{ControlPlane, Extension, Locality as WireLocality};
use envoy_types::pb::google::rpc::Status;
use serde_json::{Map, Value};

pub use envoy_types::pb::envoy::config::core::v3::Node;
pub use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
pub use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
pub use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
pub use envoy_types::pb::google::protobuf::Any;

/// The node that an xDS client announces in its first request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeInfo {
    /// `sidecar~10.0.0.1~pod.namespace~namespace.svc.cluster.local` in a mesh; anything in a static bootstrap.
    pub id: String,
    /// Service cluster, such as `reviews.default`.
    pub cluster: String,
    /// Istio's node metadata (`NAMESPACE`, `LABELS`, …).
    pub metadata: Map<String, Value>,
    /// Locality of the client.
    pub locality: Locality,
    /// Names of the extensions that the client has, such as `envoy.filters.http.router` or `istio.alpn`.
    pub extensions: Vec<String>,
    /// `name/version`, such as `envoy/1.36.0`.
    pub user_agent: String,
    /// Protocol features, such as `xds.config.resource-in-sotw`.
    pub client_features: Vec<String>,
}

impl From<&Node> for NodeInfo {
    fn from(node: &Node) -> Self {
        Self {
            id: node.id.clone(),
            cluster: node.cluster.clone(),
            metadata: node.metadata.as_ref().map(from_struct).unwrap_or_default(),
            locality: node.locality.as_ref().map(locality).unwrap_or_default(),
            extensions: node.extensions.iter().filter(|e| !e.disabled).map(|e| e.name.clone()).collect(),
            user_agent: user_agent(node),
            client_features: node.client_features.clone(),
        }
    }
}

impl From<&NodeInfo> for Node {
    fn from(info: &NodeInfo) -> Self {
        let (agent, version) = info.user_agent.rsplit_once('/').unwrap_or((&info.user_agent, ""));
        let version = (!version.is_empty()).then(|| UserAgentVersionType::UserAgentVersion(version.into()));
        Self {
            id: info.id.clone(),
            cluster: info.cluster.clone(),
            metadata: (!info.metadata.is_empty()).then(|| to_struct(&info.metadata)),
            locality: wire_locality(&info.locality),
            extensions: info.extensions.iter().map(|name| extension(name)).collect(),
            user_agent_name: agent.to_owned(),
            user_agent_version_type: version,
            client_features: info.client_features.clone(),
            ..Self::default()
        }
    }
}

impl Bounded for DiscoveryRequest {
    const BUDGET: Budget = Budget {
        bytes: usize::MAX,
        fields: MAX_ELEMENTS,
        inner: &[
            Inner { tag: 2, name: "the node", budget: NODE },
            Inner { tag: 6, name: "the reason of a refusal", budget: ERROR },
            Inner { tag: 7, name: "resource locators", budget: LOCATORS },
        ],
        maps: &[],
    };
}

impl Bounded for DeltaDiscoveryRequest {
    const BUDGET: Budget = Budget {
        bytes: usize::MAX,
        fields: MAX_ELEMENTS,
        inner: &[
            Inner { tag: 1, name: "the node", budget: NODE },
            Inner { tag: 7, name: "the reason of a refusal", budget: ERROR },
            Inner { tag: 8, name: "resource locators", budget: LOCATORS },
            Inner { tag: 9, name: "resource locators", budget: LOCATORS },
        ],
        // initial_resource_versions
        maps: &[5],
    };
}

/// Budget of a node. Stock Envoy lists a few hundred extensions; metadata holds labels, annotations and settings.
const NODE: Budget = Budget {
    bytes: 256 << 10,
    fields: 4096,
    inner: &[Inner {
        tag: 3,
        name: "the node's metadata",
        budget: Budget { bytes: 64 << 10, fields: 1024, inner: &[], maps: &[] },
    }],
    // dynamic_parameters
    maps: &[12],
};
/// Budget of an error: a text and its details.
const ERROR: Budget = Budget { bytes: usize::MAX, fields: 64, inner: &[], maps: &[] };
/// Budget of locators. Clients send none, because no names here are `xdstp:` names.
const LOCATORS: Budget = Budget { bytes: 4 << 10, fields: 64, inner: &[], maps: &[] };
/// Elements of one request: 100,000 subscribed names and the versions of as many resources.
const MAX_ELEMENTS: usize = 250_000;

/// Creates the error of a NACK: gRPC code 3 (invalid argument) with the reason.
pub fn nack(message: impl Into<String>) -> Status {
    const INVALID_ARGUMENT: i32 = 3;
    Status { code: INVALID_ARGUMENT, message: message.into(), details: vec![] }
}

/// The control plane with this identifier.
pub fn control_plane(identifier: impl Into<String>) -> ControlPlane {
    ControlPlane { identifier: identifier.into() }
}

fn extension(name: &str) -> Extension {
    Extension { name: name.to_owned(), ..Extension::default() }
}

fn user_agent(node: &Node) -> String {
    let version = match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => Some(version.clone()),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
            build.version.as_ref().map(|v| format!("{}.{}.{}", v.major_number, v.minor_number, v.patch))
        }
        None => None,
    };
    match version {
        Some(version) if !version.is_empty() => format!("{}/{version}", node.user_agent_name),
        _ => node.user_agent_name.clone(),
    }
}

pub(super) fn locality(wire: &WireLocality) -> Locality {
    Locality { region: wire.region.clone(), zone: wire.zone.clone(), sub_zone: wire.sub_zone.clone() }
}

pub(super) fn wire_locality(place: &Locality) -> Option<WireLocality> {
    (*place != Locality::default()).then(|| WireLocality {
        region: place.region.clone(),
        zone: place.zone.clone(),
        sub_zone: place.sub_zone.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::budget::check;
    use prost::Message;
    use serde_json::json;

    #[test]
    fn a_node_survives_the_wire() {
        let metadata = json!({
            "NAMESPACE": "default",
            "LABELS": {"app": "reviews"},
            "PORTS": [1, 2.5, true, null],
        });
        let info = NodeInfo {
            id: "sidecar~10.0.0.1~reviews-1.default~default.svc.cluster.local".into(),
            cluster: "reviews.default".into(),
            metadata: metadata.as_object().unwrap().clone(),
            locality: Locality { region: "r".into(), zone: "z".into(), sub_zone: String::new() },
            extensions: vec!["istio.alpn".into()],
            user_agent: "ostria-proxy/0.1.0".into(),
            client_features: vec!["envoy.lb.does_not_support_overprovisioning".into()],
        };
        assert_eq!(NodeInfo::from(&Node::from(&info)), info);
    }

    #[test]
    fn envoys_build_version_becomes_the_user_agent() {
        use envoy_types::pb::envoy::config::core::v3::BuildVersion;
        use envoy_types::pb::envoy::r#type::v3::SemanticVersion;
        let version = SemanticVersion { major_number: 1, minor_number: 36, patch: 2 };
        let node = Node {
            user_agent_name: "envoy".into(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion {
                version: Some(version),
                metadata: None,
            })),
            ..Node::default()
        };
        assert_eq!(NodeInfo::from(&node).user_agent, "envoy/1.36.2");
    }

    #[test]
    fn extensions_that_a_node_has_disabled_do_not_count() {
        let mut node = Node::from(&NodeInfo { extensions: vec!["istio.alpn".into()], ..NodeInfo::default() });
        node.extensions[0].disabled = true;
        assert!(NodeInfo::from(&node).extensions.is_empty());
    }

    #[test]
    fn requests_are_as_large_as_they_need_to_be_in_each_of_their_parts() {
        let node = |labels: usize, extensions: usize| {
            let labels: Map<_, _> =
                (0..labels).map(|number| (format!("label-{number:05}"), "x".repeat(50).into())).collect();
            Node::from(&NodeInfo {
                id: "sidecar~10.0.0.1~a.shop~shop.svc".into(),
                metadata: json!({"NAMESPACE": "shop", "LABELS": labels}).as_object().unwrap().clone(),
                extensions: (0..extensions).map(|n| format!("envoy.filters.http.number-{n:05}")).collect(),
                ..NodeInfo::default()
            })
        };
        let names = |count: usize| (0..count).map(|name| format!("outbound|80||{name}")).collect::<Vec<_>>();
        let detail = |count: usize| Some(Status { details: vec![Any::default(); count], ..nack("no") });
        let both = |node: Option<Node>, resource_names: Vec<String>, error_detail: Option<Status>| {
            let delta = DeltaDiscoveryRequest {
                node: node.clone(),
                resource_names_subscribe: resource_names.clone(),
                error_detail: error_detail.clone(),
                ..DeltaDiscoveryRequest::default()
            };
            let whole =
                DiscoveryRequest { node, resource_names, error_detail, ..DiscoveryRequest::default() };
            let checked = [
                check(&delta.encode_to_vec(), &DeltaDiscoveryRequest::BUDGET),
                check(&whole.encode_to_vec(), &DiscoveryRequest::BUDGET),
            ];
            checked.map(|verdict| verdict.err().map_or_else(String::new, |excess| excess.to_string()))
        };
        let cases = [
            (Some(node(0, 0)), vec![], None, ""),
            (Some(node(500, 1_000)), names(100_000), detail(10), ""),
            (Some(node(2_000, 0)), vec![], None, "the node's metadata has more than 65536 bytes"),
            (Some(node(0, 4_000)), names(1), None, ""),
            (Some(node(0, 5_000)), vec![], None, "the node has more than 4096 fields and elements"),
            (None, names(250_001), None, "the message has more than 250000 fields and elements"),
            (None, vec![], detail(65), "the reason of a refusal has more than 64 fields and elements"),
        ];
        for (node, names, detail, expected) in cases {
            let refusals = both(node, names, detail);
            assert_eq!(refusals, [expected, expected]);
        }
    }
}
