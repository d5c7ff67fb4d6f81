//! Pure. From what a proxy says about itself, and what its connection proves, to the scope of its configuration.
//!
//! A proxy only tells which Pod it is. Role, labels and addresses come from the Pod that is in force under that name,
//! and only where certificate and source address agree with the Pod; otherwise any workload could have the secrets, the
//! inbound configuration or the policies of another one for the asking. Pods of one service account share an identity, so
//! that between them the source address alone decides.
//!
//! The node id has exactly four parts, as in Istio. The namespace is `NAMESPACE` or the first label of the DNS domain;
//! on the mTLS port the certificate's namespace and service account must equal the claimed ones.

use crate::catalog::Catalog;
use crate::catalog::workload::Workload;
use crate::flow::Scope;
use api::identity::SpiffeId;
use api::name::{NodeId, NodeKind};
use api::wire::Target;
use api::wire::xds::NodeInfo;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

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
    /// The Pod of that name is not the caller's.
    #[error("the node claims to be pod {pod} of namespace {namespace}, but {reason}")]
    Foreign {
        /// The claimed pod.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// What disagrees.
        reason: String,
    },
}

/// What is known of a caller without its own words.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// Identity of its certificate on the mTLS port, `None` on the plaintext port.
    pub identity: Option<&'a SpiffeId>,
    /// Where it connects from; `None` for a process on pilot's own machine, which could claim any address anyway.
    pub address: Option<IpAddr>,
}

/// Which Pod a proxy says it is, with what its connection proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    kind: NodeKind,
    pod: String,
    namespace: String,
    /// Of the certificate.
    account: Option<String>,
    address: Option<IpAddr>,
    istio_extensions: bool,
}

/// Reads a node; refuses one that contradicts the caller's certificate.
pub fn claim(node: &NodeInfo, caller: Caller) -> Result<Claim, NodeError> {
    if node.id.len() > MAX_ID {
        return Err(NodeError::Invalid(format!("its id has more than {MAX_ID} bytes")));
    }
    let id: NodeId = node.id.parse().map_err(|e: api::name::NameError| NodeError::Invalid(e.to_string()))?;
    let text = |key: &str| node.metadata.get(key).and_then(Value::as_str).unwrap_or_default();
    let namespace = match text("NAMESPACE") {
        "" => id.domain.split('.').next().unwrap_or_default(),
        namespace => namespace,
    };
    if let Some(identity) = caller.identity {
        check_identity(identity, namespace, text("SERVICE_ACCOUNT"))?;
    }
    Ok(Claim {
        kind: id.kind,
        pod: id.pod,
        namespace: namespace.to_owned(),
        account: caller.identity.map(|id| id.service_account().unwrap_or_default().to_owned()),
        address: caller.address,
        istio_extensions: Target::of(node).istio_extensions,
    })
}

fn check_identity(peer: &SpiffeId, namespace: &str, account: &str) -> Result<(), NodeError> {
    let same_namespace = peer.namespace() == Some(namespace);
    let same_account = account.is_empty() || peer.service_account() == Some(account);
    if same_namespace && same_account {
        return Ok(());
    }
    let short = |text: &str| text.chars().take(MAX_ID).collect::<String>();
    let claim = format!("namespace {:?} and service account {:?}", short(namespace), short(account));
    Err(NodeError::Denied { claim, identity: peer.to_string() })
}

impl Claim {
    /// Whether the Pod is in force and agrees with the claim. What is not so may become so: objects and proxies come in
    /// any order.
    pub fn is_proven(&self, catalog: &Catalog) -> bool {
        matches!(self.pod(catalog), Ok(Some(_)))
    }

    /// The scope under a catalog. A proxy whose Pod has gone keeps the role and the labels that it had `before`, so that
    /// connections that drain are not disturbed, but none of its secrets.
    pub fn scope(&self, catalog: &Catalog, before: Option<&Arc<Scope>>) -> Result<Arc<Scope>, NodeError> {
        let pod = self.pod(catalog)?;
        if pod.is_none()
            && let Some(before) = before
        {
            return Ok(if before.proven {
                Arc::new(Scope { proven: false, ..Scope::clone(before) })
            } else {
                before.clone()
            });
        }
        if pod.is_none() && self.account.is_none() && self.address.is_some() {
            return Err(self.foreign("no such pod is known, and without a certificate nothing else tells"));
        }
        let scope = Scope {
            gateway: self.kind == NodeKind::Router,
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            proven: pod.is_some(),
            addresses: pod.map(|pod| pod.addresses.clone()).unwrap_or_default(),
            labels: pod.map(|pod| pod.labels.clone()).unwrap_or_default(),
            http_10: pod.is_some_and(|pod| pod.http_10),
            service_account: self.account.clone().unwrap_or_default(),
            istio_extensions: self.istio_extensions,
        };
        Ok(before.filter(|before| ***before == scope).cloned().unwrap_or_else(|| Arc::new(scope)))
    }

    /// The Pod that is meant; an error where it is somebody else's.
    fn pod<'a>(&self, catalog: &'a Catalog) -> Result<Option<&'a Arc<Workload>>, NodeError> {
        let found = catalog.workload(&self.namespace, &self.pod).filter(|pod| !pod.finished);
        let Some(pod) = found else { return Ok(None) };
        if let Some(account) = &self.account
            && *account != pod.service_account
        {
            let reason = format!("that one has the service account {}", pod.service_account);
            return Err(self.foreign(&reason));
        }
        self.check_address(catalog, pod)?;
        match pod.proxy {
            Some(kind) if kind != self.kind => Err(self.foreign(&format!("that one runs a {}", role(kind)))),
            _ => Ok(Some(pod)),
        }
    }

    /// A connection from the address of another Pod is that Pod's. One from an address that no Pod has may come through
    /// a translation of addresses; then the certificate tells, where there is one.
    fn check_address(&self, catalog: &Catalog, pod: &Workload) -> Result<(), NodeError> {
        let Some(address) = self.address.filter(|address| !pod.addresses.contains(address)) else {
            return Ok(());
        };
        match catalog.workload_by_ip(address) {
            Some(other) => Err(self.foreign(&format!("{address} is the address of pod {}", other.name))),
            None if self.account.is_none() => {
                Err(self.foreign(&format!("{address} is not an address of that one")))
            }
            None => Ok(()),
        }
    }

    fn foreign(&self, reason: &str) -> NodeError {
        NodeError::Foreign {
            pod: self.pod.clone(),
            namespace: self.namespace.clone(),
            reason: reason.to_owned(),
        }
    }
}

fn role(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Sidecar => "sidecar",
        NodeKind::Router => "router",
    }
}

/// Bytes of a node id: names of pods and namespaces have at most 253 and 63.
const MAX_ID: usize = 1024;

#[cfg(test)]
mod tests;
