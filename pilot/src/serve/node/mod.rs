//! Pure. Derives the scope of a proxy's configuration from its node message, its certificate and its address.
//!
//! The node only names the proxy's Pod. Role, labels and addresses come from the Pod in force under that name, and only
//! if certificate and source address match the Pod. Otherwise any workload could request the secrets, the inbound
//! configuration or the policies of another. Pods of one service account share an identity, so between them only the
//! source address decides.
//!
//! The node ID has exactly four parts, as in Istio. The namespace is `NAMESPACE` or the first label of the DNS domain.
//! On the mTLS port, the namespace and service account of the certificate must equal the claimed ones.

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
    /// The first request contained no valid node.
    #[error("the node is not usable: {0}")]
    Invalid(String),
    /// The certificate belongs to another workload.
    #[error("the node claims {claim}, but its certificate says {identity}")]
    Denied {
        /// The claimed namespace or service account.
        claim: String,
        /// The identity in the certificate.
        identity: String,
    },
    /// The named Pod does not match the client.
    #[error("the node claims to be pod {pod} of namespace {namespace}, but {reason}")]
    Foreign {
        /// The claimed pod.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// What does not match.
        reason: String,
    },
}

/// What the connection itself shows about the client.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// SPIFFE ID of its certificate on the mTLS port; `None` on the plaintext port.
    pub identity: Option<&'a SpiffeId>,
    /// Source address; `None` for a process on pilot's own machine, which could use any address.
    pub address: Option<IpAddr>,
}

/// The Pod that a proxy claims to be, with the evidence from its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    kind: NodeKind,
    pod: String,
    namespace: String,
    /// The service account in the certificate.
    account: Option<String>,
    address: Option<IpAddr>,
    istio_extensions: bool,
}

/// Parses a node. Refuses one that contradicts the client's certificate.
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
    /// Whether the Pod is in force and matches the claim. This can change, since objects and proxies arrive in any
    /// order.
    pub fn is_proven(&self, catalog: &Catalog) -> bool {
        matches!(self.pod(catalog), Ok(Some(_)))
    }

    /// Checks that the Pod is in force and matches the claim.
    pub fn prove(&self, catalog: &Catalog) -> Result<(), NodeError> {
        let pod = self.pod(catalog)?;
        pod.map(drop).ok_or_else(|| self.foreign("no such pod is known"))
    }

    /// Whether the Pod is being deleted, has ended, or is not known.
    pub fn ends(&self, catalog: &Catalog) -> Result<bool, NodeError> {
        Ok(self.pod(catalog)?.is_none_or(|pod| pod.terminating))
    }

    /// The name and namespace of the Pod.
    pub fn name(&self) -> String {
        format!("{}.{}", self.pod, self.namespace)
    }

    /// Returns the scope under a catalog. A proxy whose Pod was deleted keeps the role and labels that it had `before`,
    /// so that its draining connections are not disturbed, but gets no secrets.
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
            return Err(self.foreign("no such pod is known, and there is no certificate to verify the claim"));
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

    /// Returns the claimed Pod, or an error if the Pod does not match the client.
    fn pod<'a>(&self, catalog: &'a Catalog) -> Result<Option<&'a Arc<Workload>>, NodeError> {
        let found = catalog.workload(&self.namespace, &self.pod).filter(|pod| !pod.finished);
        let Some(pod) = found else { return Ok(None) };
        if let Some(account) = &self.account
            && *account != pod.service_account
        {
            let reason = format!("that pod has service account {}", pod.service_account);
            return Err(self.foreign(&reason));
        }
        self.check_address(catalog, pod)?;
        match pod.proxy {
            Some(kind) if kind != self.kind => Err(self.foreign(&format!("that pod runs a {}", role(kind)))),
            _ => Ok(Some(pod)),
        }
    }

    /// Checks the source address. An address that belongs to another Pod is refused. An address of no Pod may be the
    /// result of network address translation; then the certificate decides, if there is one.
    fn check_address(&self, catalog: &Catalog, pod: &Workload) -> Result<(), NodeError> {
        let Some(address) = self.address.filter(|address| !pod.addresses.contains(address)) else {
            return Ok(());
        };
        match catalog.workload_by_ip(address) {
            Some(other) => Err(self.foreign(&format!("{address} is the address of pod {}", other.name))),
            None if self.account.is_none() => {
                Err(self.foreign(&format!("{address} is not an address of that pod")))
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

/// Maximum size of a node ID in bytes. Names of pods and namespaces have at most 253 and 63.
const MAX_ID: usize = 1024;

#[cfg(test)]
mod tests;
