//! A mesh in a cluster. The API server is asked for objects, and the pods of the control plane and the proxies through it,
//! by port-forward, so that nothing but the API server need be reachable from here.

pub mod change;
pub mod inject;
pub mod look;
pub mod status;

pub mod verdict;

pub mod container;
pub mod pod;

pub mod object;
pub mod pilot;

pub mod forward;

pub mod failure;
pub mod merge;
pub mod said;

#[cfg(test)]
mod fake;

use kube::Client;
use kubernetes::client::Access;
use kubernetes::user;

use crate::client::cluster::failure::Named;
use crate::failure::Failure;

/// A cluster, and where in it verbs act.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    named: Named,
    names: Names,
}

/// The namespaces that the user named.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Namespace of objects.
    pub namespace: Option<String>,
    /// Namespace of the control plane.
    pub root: String,
}

impl Cluster {
    /// Connects to the cluster that the flags select. No request is sent yet.
    pub async fn connect(access: &Access, names: Names) -> Result<Self, Failure> {
        let user = user::connect(access, "cli").await.map_err(|error| failure::of_access(&error))?;
        let named = Named { context: user.context, server: user.server };
        Ok(Self { client: user.client, named, names })
    }

    /// A cluster behind this client.
    #[cfg(test)]
    pub fn of(client: Client) -> Self {
        let names = Names { namespace: None, root: "istio-system".into() };
        Self { client, named: Named::default(), names }
    }

    /// The client of the API server.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Namespace of objects: the one that the user named, or that of the context.
    pub fn namespace(&self) -> &str {
        self.names.namespace.as_deref().unwrap_or_else(|| self.client.default_namespace())
    }

    /// Namespace of the control plane.
    pub fn root(&self) -> &str {
        &self.names.root
    }

    /// How messages name the cluster.
    pub fn named(&self) -> &Named {
        &self.named
    }

    /// The failure of a request to the API server.
    pub fn failure(&self, error: &kube::Error) -> Failure {
        failure::of(error, &self.named)
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("named", &self.named)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
