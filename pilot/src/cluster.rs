//! What pilot writes into its Kubernetes cluster: the status of objects, Events, and the registration of its webhook. One
//! of its replicas writes, which a Lease elects.

use crate::replica::Replicas;
use crate::revision::Revision;
use crate::snapshot::Snapshot;
use crate::status;
use crate::verdict::Channel;
use crate::webhook::registration::{self, Registration};
use kube::Client;
use kubernetes::leader::{self, Election};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// This control plane in its cluster.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    election: Election,
    registration: Registration,
    leads: watch::Sender<bool>,
}

impl Cluster {
    /// The control plane of a revision in this namespace. `replica` names this process among its replicas.
    pub fn new(client: Client, namespace: &str, revision: &Revision, replica: String) -> Self {
        let suffix = revision.suffix();
        let registration = Registration {
            name: format!("ostria-pilot{suffix}-{namespace}"),
            namespace: namespace.to_owned(),
            revision: revision.name().to_owned(),
        };
        let election = Election {
            namespace: namespace.to_owned(),
            name: format!("ostria-pilot-leader{suffix}"),
            identity: replica,
        };
        Self { client, election, registration, leads: watch::Sender::new(false) }
    }

    /// Takes part in the election, and writes the status of objects while it leads.
    pub async fn report(
        self,
        verdicts: Channel,
        (snapshots, replicas): (watch::Receiver<Arc<Snapshot>>, Replicas),
        drain: CancellationToken,
    ) {
        let [leads, of_ingresses, of_events] = [(); 3].map(|()| self.leads.subscribe());
        let replica = self.election.identity.clone();
        let (for_ingresses, for_events) =
            ((snapshots, replicas.clone()), (verdicts.clone(), replicas.clone()));
        tokio::join!(
            leader::run(self.client.clone(), self.election, self.leads, drain.clone()),
            status::keep(self.client.clone(), (verdicts, replicas), leads, drain.clone()),
            status::ingress::keep(self.client.clone(), for_ingresses, of_ingresses, drain.clone()),
            status::event::keep((self.client, replica), for_events, of_events, drain),
        );
    }

    /// Keeps the webhook's registration while it leads. `bundle` holds the roots of the webhook's certificate.
    pub async fn register(self, bundle: watch::Receiver<Arc<[u8]>>, drain: CancellationToken) {
        registration::keep(self.client, self.registration, (bundle, self.leads.subscribe()), drain).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_end_with_a_revision_that_is_not_the_default_one() {
        let names = |revision: &str| {
            let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
            let revision = Revision::new(revision, &[]);
            let cluster = Cluster::new(client, "mesh", &revision, "a".into());
            (cluster.registration.name, cluster.election.name)
        };
        let plain = ("ostria-pilot-mesh".to_owned(), "ostria-pilot-leader".to_owned());
        assert_eq!((names(""), names("default")), (plain.clone(), plain));
        assert_eq!(names("canary"), ("ostria-pilot-canary-mesh".into(), "ostria-pilot-leader-canary".into()));
    }
}
