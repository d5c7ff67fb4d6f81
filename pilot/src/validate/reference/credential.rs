//! Pure. Checks that the Secrets that gateways need exist and are complete. When a certificate is missing, clients only
//! see a connection reset.

use super::Finder;
use crate::catalog::destination_rule::{
    CertificatePlace, ClientTls, DestinationRule, RootsPlace, TrafficPolicy,
};
use crate::catalog::gateway::{ClientVerification, Gateway, ServerCertificate, ServerTls};
use crate::catalog::ingress::Certificate;
use crate::catalog::visibility::selects;
use crate::catalog::workload::Workload;
use api::name::NodeKind;
use api::resource::document::Key;
use api::resource::kind::Kind;
use std::collections::BTreeSet;

/// What a Secret must contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// A certificate with its key.
    Certificate,
    /// Trust anchors, in the Secret itself or in `<name>-cacert`.
    Roots,
}

impl Finder<'_> {
    /// Checks the Secrets of a Gateway's servers, in the namespaces of the pods that it selects.
    pub(super) fn gateway_secrets(&mut self, gateway: &Gateway) {
        let namespaces = self.namespaces(|pod| selects(&gateway.selector, &pod.labels));
        for (i, server) in gateway.servers.iter().enumerate() {
            let Some(ServerTls::Terminate { certificate: ServerCertificate::Secret(name), client, .. }) =
                &server.tls
            else {
                continue;
            };
            let path = format!("spec.servers[{i}].tls.credentialName");
            let effect = format!("TLS connections to port {} are reset", server.port);
            for namespace in &namespaces {
                let found = self.secret(namespace, name, Need::Certificate);
                let roots = matches!(client, ClientVerification::Required { roots_file: None, .. });
                let found =
                    found.or_else(|| roots.then(|| self.secret(namespace, name, Need::Roots)).flatten());
                if let Some((reason, next)) = found {
                    self.warn(&path, format!("{reason}: {effect}"), &next);
                }
            }
        }
    }

    /// Checks the Secrets of an Ingress in the namespaces of the gateway pods that serve it.
    pub(super) fn ingress_secrets(&mut self, certificates: &[Certificate], namespaces: &BTreeSet<String>) {
        for Certificate { index, hosts, secret } in certificates {
            for namespace in namespaces {
                if let Some((reason, next)) = self.secret(namespace, secret, Need::Certificate) {
                    let effect = format!("TLS connections for {} are reset", hosts.join(", "));
                    let path = format!("spec.tls[{index}].secretName");
                    self.warn(&path, format!("{reason}: {effect}"), &next);
                }
            }
        }
    }

    /// Checks the Secrets of a DestinationRule's TLS settings, in the namespaces of gateways: only gateways read them.
    pub(super) fn rule_secrets(&mut self, rule: &DestinationRule) {
        let namespaces = self.namespaces(|pod| pod.proxy == Some(NodeKind::Router));
        let subsets = rule.subsets.iter().enumerate();
        let subsets = subsets.map(|(i, s)| (format!("spec.subsets[{i}].trafficPolicy"), &s.policy));
        for (path, policy) in std::iter::once(("spec.trafficPolicy".to_owned(), &rule.policy)).chain(subsets)
        {
            for (path, name, need) in needs(&path, policy) {
                let missing = namespaces.iter().map(|n| self.secret(n, &name, need));
                let missing: Option<Vec<(String, String)>> = missing.collect();
                if let Some((reason, next)) = missing.and_then(|all| all.into_iter().next()) {
                    self.warn(
                        &path,
                        format!("{reason}: requests from gateways to {} fail", rule.host),
                        &next,
                    );
                }
            }
        }
    }

    pub(super) fn namespaces(&self, chosen: impl Fn(&Workload) -> bool) -> BTreeSet<String> {
        let pods = self.catalog.workloads().filter(|pod| chosen(pod) && !pod.finished);
        pods.map(|pod| pod.namespace.clone()).collect()
    }

    /// Returns what a Secret lacks, with advice.
    fn secret(&self, namespace: &str, name: &str, need: Need) -> Option<(String, String)> {
        let secret = self.catalog.secret(namespace, name);
        let base = name.strip_suffix("-cacert").unwrap_or(name);
        let other = |name: &str| self.catalog.secret(namespace, name).and_then(|s| s.roots.as_ref());
        let found = match need {
            Need::Certificate => secret.is_some_and(|s| s.chain.is_some() && s.key.is_some()),
            Need::Roots => {
                other(name).or_else(|| other(base)).or_else(|| other(&format!("{base}-cacert"))).is_some()
            }
        };
        if found {
            return None;
        }
        let fields = match need {
            Need::Certificate => "tls.crt and tls.key",
            Need::Roots => "ca.crt",
        };
        if secret.is_some() || self.catalog.item(&Key::new(Kind::Secret, namespace, name)).is_some() {
            let reason = format!("Secret {namespace}/{name} has no {fields}");
            return Some((reason, format!("add {fields} as PEM")));
        }
        let elsewhere = self.catalog.items().find(|(key, _)| key.kind == Kind::Secret && key.name == name);
        let next = match elsewhere {
            Some((key, _)) => {
                format!(
                    "it is read in the namespace of the gateway's pods: move it there from {}",
                    key.namespace
                )
            }
            None => format!("create it in namespace {namespace}, with {fields}"),
        };
        Some((format!("there is no Secret {namespace}/{name}"), next))
    }
}

/// The Secrets that a traffic policy names, with their fields.
fn needs(path: &str, policy: &TrafficPolicy) -> Vec<(String, String, Need)> {
    let ports =
        policy.ports.iter().map(|(port, blocks)| (format!("{path}.portLevelSettings[{port}]"), blocks));
    let all = std::iter::once((path.to_owned(), &policy.blocks)).chain(ports);
    let mut needs = vec![];
    for (path, blocks) in all {
        let Some(ClientTls::Own { certificate, roots, .. }) = &blocks.tls else { continue };
        let path = format!("{path}.tls.credentialName");
        if let Some(CertificatePlace::Secret(name)) = certificate {
            needs.push((path.clone(), name.clone(), Need::Certificate));
        }
        if let RootsPlace::Secret(name) = roots {
            needs.push((path, name.clone(), Need::Roots));
        }
    }
    needs
}
