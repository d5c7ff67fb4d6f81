//! Keeps the injector in step with a Kubernetes cluster: the settings that the cluster holds, and the registration of
//! the webhook at the API server.

pub mod settings;

pub mod observed;

use std::sync::Arc;

use api::{
    identity::TrustDomain,
    process::{enroll::Authority, tls::expected::Expected},
};
use kube::Client;
use kubernetes::{
    leader::{self, Election},
    registration::{self, Kind, Registration},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Args, ClusterArgs, Template};

/// The names of the control plane's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The namespace of the control plane.
    pub namespace: String,
    /// The ConfigMap with the mesh configuration.
    pub config_map: String,
    /// The object that registers the webhook.
    pub webhook: String,
    /// The Lease of the replica that writes.
    pub lease: String,
}

impl Names {
    /// The names in `namespace`. Those of a revision other than the default one end with it.
    pub fn new(namespace: &str, revision: &str) -> Self {
        let suffix = match revision {
            "" | "default" => String::new(),
            revision => format!("-{revision}"),
        };
        Self {
            namespace: namespace.to_owned(),
            config_map: format!("istio{suffix}"),
            webhook: format!("ostria-injector{suffix}-{namespace}"),
            lease: format!("ostria-injector-leader{suffix}"),
        }
    }
}

/// The certificate authority as the injector's own pod reaches it: at the address that sidecars get.
pub fn authority(args: &ClusterArgs, template: &Template) -> anyhow::Result<Authority> {
    let domain: TrustDomain = template.trust_domain.parse()?;
    let server = match &args.ca_san {
        Some(server) => server.clone(),
        None => Expected::parse(&format!("spiffe://{domain}/ns/{}/sa/ostria-citadel", args.namespace))
            .map_err(anyhow::Error::msg)?,
    };
    Ok(Authority {
        address: template.ca_address.clone(),
        roots: args.ca_root.clone(),
        token: Some(args.token_file.clone()),
        server,
        cluster_id: template.cluster_id.clone(),
        validity: None,
    })
}

/// Keeps `bundle` in the webhook's registration, by one of the replicas, until `drain` is cancelled.
pub async fn register(
    client: Client,
    args: &Args,
    names: Names,
    bundle: watch::Receiver<Arc<[u8]>>,
    drain: CancellationToken,
) {
    let identity = leader::replica(args.cluster.pod_name.as_deref());
    let election = Election { namespace: names.namespace, name: names.lease, identity };
    let registration =
        Registration { kind: Kind::Mutating, name: names.webhook, manager: "ostria-injector".to_owned() };
    let (leads, leading) = watch::channel(false);
    tokio::join!(
        leader::run(client.clone(), election, leads, drain.clone()),
        registration::keep(client, registration, (bundle, leading), None, drain),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_with_a_revision_that_is_not_the_default_one() {
        let names = |revision: &str| {
            let names = Names::new("mesh", revision);
            [names.config_map, names.webhook, names.lease]
        };
        let plain = ["istio", "ostria-injector-mesh", "ostria-injector-leader"].map(str::to_owned);
        assert_eq!((names(""), names("default")), (plain.clone(), plain));
        assert_eq!(
            names("canary"),
            ["istio-canary", "ostria-injector-canary-mesh", "ostria-injector-leader-canary"]
        );
    }
}
