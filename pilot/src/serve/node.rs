//! Pure. From what a proxy says about itself, and what its certificate says, to the scope of its configuration.
//!
//! Istio's rules: the node id has exactly four parts, the namespace is `NAMESPACE` or the first label of the DNS
//! domain, and on the mTLS port the certificate's namespace and service account must equal the claimed ones.

use crate::flow::Scope;
use api::identity::SpiffeId;
use api::name::{NodeId, NodeKind};
use api::wire::Target;
use api::wire::xds::NodeInfo;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Why a proxy gets no configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The first request carried no usable node.
    #[error("the node is not usable: {0}")]
    Invalid(String),
    /// The certificate is somebody else's.
    #[error("the node claims {claim}, but its certificate says {identity}")]
    Denied {
        /// What the node says.
        claim: String,
        /// What the certificate says.
        identity: String,
    },
}

/// The scope of a node. `peer` is the certificate's identity on the mTLS port, `None` on the plaintext port.
pub fn scope(node: &NodeInfo, peer: Option<&SpiffeId>) -> Result<Scope, NodeError> {
    let id: NodeId = node.id.parse().map_err(|e: api::name::NameError| NodeError::Invalid(e.to_string()))?;
    let text = |key: &str| node.metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let namespace = match text("NAMESPACE") {
        n if n.is_empty() => id.domain.split('.').next().unwrap_or_default().to_owned(),
        n => n,
    };
    let claimed_account = text("SERVICE_ACCOUNT");
    if let Some(peer) = peer {
        check_identity(peer, &namespace, &claimed_account)?;
    }
    Ok(Scope {
        gateway: id.kind == NodeKind::Router,
        addresses: addresses(&text("INSTANCE_IPS"), id.ip),
        labels: labels(node.metadata.get("LABELS")),
        service_account: peer.and_then(SpiffeId::service_account).unwrap_or_default().to_owned(),
        istio_extensions: Target::of(node).istio_extensions,
        pod: id.pod,
        namespace,
    })
}

fn check_identity(peer: &SpiffeId, namespace: &str, account: &str) -> Result<(), NodeError> {
    let same_namespace = peer.namespace() == Some(namespace);
    let same_account = account.is_empty() || peer.service_account() == Some(account);
    if same_namespace && same_account {
        return Ok(());
    }
    let claim = format!("namespace {namespace:?} and service account {account:?}");
    Err(NodeError::Denied { claim, identity: peer.to_string() })
}

fn addresses(list: &str, fallback: IpAddr) -> Vec<IpAddr> {
    let given: Vec<IpAddr> = list.split(',').filter_map(|a| a.trim().parse().ok()).collect();
    if given.is_empty() { vec![fallback] } else { given }
}

fn labels(value: Option<&Value>) -> BTreeMap<String, String> {
    let pairs = value.and_then(Value::as_object).into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(metadata: &Value) -> NodeInfo {
        NodeInfo {
            id: "sidecar~10.0.0.7~reviews-v1-x.default~default.svc.cluster.local".into(),
            metadata: metadata.as_object().unwrap().clone(),
            ..NodeInfo::default()
        }
    }

    #[test]
    fn a_node_becomes_a_scope() {
        let info =
            node(&json!({"NAMESPACE": "shop", "LABELS": {"app": "a"}, "INSTANCE_IPS": "10.0.0.8, 10.0.0.9"}));
        let scope = scope(&info, None).unwrap();
        assert_eq!((scope.namespace.as_str(), scope.pod.as_str()), ("shop", "reviews-v1-x"));
        assert_eq!(scope.labels["app"], "a");
        assert_eq!(scope.addresses.len(), 2);
        assert!(!scope.gateway && !scope.istio_extensions && scope.service_account.is_empty());
    }

    #[test]
    fn without_metadata_the_domain_tells_the_namespace_and_the_id_the_address() {
        let scope = scope(&node(&json!({})), None).unwrap();
        assert_eq!(scope.namespace, "default");
        assert_eq!(scope.addresses, ["10.0.0.7".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn a_certificate_of_another_workload_is_denied() {
        let peer: SpiffeId = "spiffe://cluster.local/ns/default/sa/reviews".parse().unwrap();
        let claims = [
            (json!({"NAMESPACE": "default", "SERVICE_ACCOUNT": "reviews"}), true),
            (json!({"NAMESPACE": "default"}), true),
            (json!({"NAMESPACE": "other", "SERVICE_ACCOUNT": "reviews"}), false),
            (json!({"NAMESPACE": "default", "SERVICE_ACCOUNT": "ratings"}), false),
        ];
        for (metadata, allowed) in claims {
            assert_eq!(scope(&node(&metadata), Some(&peer)).is_ok(), allowed, "{metadata}");
        }
    }

    #[test]
    fn the_service_account_comes_from_the_certificate_alone() {
        let peer: SpiffeId = "spiffe://cluster.local/ns/default/sa/reviews".parse().unwrap();
        let info = node(&json!({"NAMESPACE": "default", "SERVICE_ACCOUNT": "reviews"}));
        assert_eq!(scope(&info, Some(&peer)).unwrap().service_account, "reviews");
        assert_eq!(scope(&info, None).unwrap().service_account, "");
    }

    #[test]
    fn a_malformed_node_is_refused() {
        let info = NodeInfo { id: "waypoint~1~x".into(), ..NodeInfo::default() };
        assert!(matches!(scope(&info, None), Err(NodeError::Invalid(_))));
    }
}
