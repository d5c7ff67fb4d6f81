//! Pure. The Secrets that a gateway's configuration refers to, and their contents. A Secret is served only to a proxy
//! whose own listeners or clusters refer to it, and only for the use they refer to.

use crate::catalog::workload::Workload;
use crate::flow::Scope;
use crate::snapshot::Snapshot;
use api::model::Resource;
use api::model::cluster::ClusterTls;
use api::model::secret::{Secret, SecretContent};
use api::model::tls::{CertificateSource, RootSource, TlsParameters};
use api::name::NodeKind;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The use of a Secret by a listener or a cluster, with the requested name (without scheme and own namespace).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretUse {
    /// A certificate with its key.
    Certificate(String),
    /// Trust anchors: `<name>-cacert`.
    Roots(String),
}

/// The Secrets that resources of proxies in a namespace refer to.
pub fn uses<'a>(namespace: &str, resources: impl IntoIterator<Item = &'a Resource>) -> BTreeSet<SecretUse> {
    let parameters = resources.into_iter().flat_map(tls);
    parameters.flat_map(|tls| of_parameters(namespace, tls)).collect()
}

/// Returns a Secret of the proxy's own namespace if it is one of `uses` and the proxy is a gateway that has proved its
/// Pod.
///
/// Names: `kubernetes://<name>` for a certificate, with `-cacert` for its roots.
pub fn find(snapshot: &Snapshot, scope: &Scope, uses: &BTreeSet<SecretUse>, name: &str) -> Option<Resource> {
    // A Pod whose containers show no proxy may claim to be a gateway, but it gets no Secrets.
    let runs_router = |pod: &Arc<Workload>| pod.proxy == Some(NodeKind::Router);
    let is_gateway = scope.gateway && snapshot.catalog.workload_of(scope).is_some_and(runs_router);
    if !is_gateway || scope.service_account.is_empty() {
        return None;
    }
    let wanted = short(&scope.namespace, name)?;
    let find = |secret: &str| snapshot.catalog.secret(&scope.namespace, secret);
    let content = if uses.contains(&SecretUse::Certificate(wanted.to_owned())) {
        let (chain, key) = find(wanted).and_then(|s| s.chain.clone().zip(s.key.clone()))?;
        SecretContent::Certificate { chain, key }
    } else if uses.contains(&SecretUse::Roots(wanted.to_owned())) {
        let base = wanted.strip_suffix("-cacert")?;
        let roots = |s: &str| find(s).and_then(|secret| secret.roots.clone());
        SecretContent::Roots { bundle: roots(wanted).or_else(|| roots(base))? }
    } else {
        return None;
    };
    Some(Resource::Secret(Secret { name: name.to_owned(), content }))
}

fn tls(resource: &Resource) -> Vec<&TlsParameters> {
    match resource {
        Resource::Listener(listener) => {
            let chains = listener.chains.iter().chain(&listener.default_chain);
            chains.filter_map(|chain| chain.tls.as_ref().map(|tls| &tls.common)).collect()
        }
        Resource::Cluster(cluster) => match &cluster.tls {
            ClusterTls::Never => vec![],
            ClusterTls::Always(tls) | ClusterTls::WhenOffered(tls) => vec![&tls.common],
        },
        _ => vec![],
    }
}

fn of_parameters(namespace: &str, tls: &TlsParameters) -> Vec<SecretUse> {
    let certificates = tls.certificates.iter().filter_map(|source| match source {
        CertificateSource::Sds(name) => Some(SecretUse::Certificate(short(namespace, name)?.to_owned())),
        _ => None,
    });
    let roots = tls.validation.iter().filter_map(|validation| match &validation.roots {
        RootSource::Sds(name) => Some(SecretUse::Roots(short(namespace, name)?.to_owned())),
        _ => None,
    });
    certificates.chain(roots).collect()
}

/// Returns the name of a Kubernetes Secret; `None` for the certificates and roots that the proxy has itself.
fn short<'a>(namespace: &str, name: &'a str) -> Option<&'a str> {
    let path = name.strip_prefix("kubernetes://")?;
    let own = path.strip_prefix(namespace).and_then(|rest| rest.strip_prefix('/'));
    Some(own.unwrap_or(path))
}
