//! The mesh that a verb acts on: one on this machine, by its supervisor's socket, or one in a cluster, by the API server.
//! Both respond to the same requests, so that a verb is written once.

use api::resource::check::Given;
use api::resource::descriptor::Descriptor;
use api::resource::kind;
use api::resource::verdict::{Wait, Wanted};
use bytes::Bytes;
use rustix::termios::Winsize;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::client::cluster::forward::Port;
use crate::client::cluster::{
    Cluster, change, container, forward, look, object, pilot, pod, status, verdict,
};
use crate::client::local::{self, Local};
use crate::client::stream::{Frames, Log};
use crate::failure::Failure;
use crate::wire::{
    Apply, ChangeResponse, Description, EventQuery, ExecQuery, LogQuery, ProxyQuery, Query, Removal,
    Revision, Settling, Status, Target, Watched,
};

/// A mesh.
#[derive(Debug, Clone)]
pub enum Mesh {
    /// On this machine.
    Local(Local),
    /// In a cluster.
    Cluster(Cluster),
}

impl Mesh {
    /// Namespace of objects that the user names without one.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Local(local) => local.namespace(),
            Self::Cluster(cluster) => cluster.namespace(),
        }
    }

    /// Pods and proxies, of one namespace or of all. `now` is in seconds since 1970.
    pub async fn status(&self, namespace: Option<&str>, now: i64) -> Result<Status, Failure> {
        match self {
            Self::Local(local) => local.call("/status", &()).await,
            Self::Cluster(cluster) => status::status(cluster, namespace, now).await,
        }
    }

    /// Pilot's rows of the proxies.
    pub async fn proxies(&self) -> Result<Vec<Value>, Failure> {
        let local = match self {
            Self::Local(local) => local,
            Self::Cluster(cluster) => return pilot::proxies(cluster).await,
        };
        let status: Status = local.call("/status", &()).await?;
        match status.proxies {
            Value::Array(rows) => Ok(rows),
            _ => Err(Failure::blocked(
                "pilot does not respond",
                "look at the log of pilot in the state folder",
            )),
        }
    }

    /// The objects that a query selects.
    pub async fn list(&self, query: &Query) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Local(local) => local.call("/get", query).await,
            Self::Cluster(cluster) => object::list(cluster, query).await,
        }
    }

    /// Changes to the objects that a query selects.
    pub async fn watch(&self, query: &Query) -> Result<Watch, Failure> {
        match self {
            Self::Local(local) => Ok(Watch::Local(local.watch(query).await?)),
            Self::Cluster(cluster) => Ok(Watch::Cluster(Box::new(object::Watch::open(cluster, query)?))),
        }
    }

    /// The objects that a query selects, with everything known about them.
    pub async fn describe(&self, query: &Query) -> Result<Vec<Description>, Failure> {
        match self {
            Self::Local(local) => local.call("/describe", query).await,
            Self::Cluster(cluster) => look::describe(cluster, query).await,
        }
    }

    /// The pod and the container that a target names.
    pub async fn find(&self, target: &Target) -> Result<Target, Failure> {
        match self {
            Self::Local(local) => local.call("/find", target).await,
            Self::Cluster(cluster) => pod::find(cluster, target).await,
        }
    }

    /// The events that a query selects.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Local(local) => local.call("/events", query).await,
            Self::Cluster(cluster) => look::events(cluster, query).await,
        }
    }

    /// The revisions of a workload's template.
    pub async fn history(&self, query: &Query) -> Result<Vec<Revision>, Failure> {
        match self {
            Self::Local(local) => local.call("/history", query).await,
            Self::Cluster(cluster) => look::history(cluster, query).await,
        }
    }

    /// Creates or changes all of the objects, or none.
    pub async fn apply(&self, request: &Apply) -> Result<ChangeResponse, Failure> {
        match self {
            Self::Local(local) => local.call("/apply", request).await,
            Self::Cluster(cluster) => change::apply(cluster, request).await,
        }
    }

    /// Changes an object from one form to another, neither with the fields that a server adds.
    pub async fn edit(&self, before: &Value, after: Given) -> Result<ChangeResponse, Failure> {
        match self {
            Self::Local(local) => {
                local.call("/apply", &Apply { objects: vec![after], ..Apply::default() }).await
            }
            Self::Cluster(cluster) => change::edit(cluster, before, &after).await,
        }
    }

    /// Deletes objects.
    pub async fn delete(&self, request: &Removal) -> Result<ChangeResponse, Failure> {
        match self {
            Self::Local(local) => local.call("/delete", request).await,
            Self::Cluster(cluster) => change::delete(cluster, request).await,
        }
    }

    /// Whether pilot has verdicts on objects of this kind. On this machine it reads all objects, in a cluster those of the
    /// mesh.
    pub fn judges(&self, wanted: &Wanted) -> bool {
        match self {
            Self::Local(_) => true,
            Self::Cluster(_) => kind::of(&wanted.group, &wanted.kind).is_some_and(Descriptor::is_mesh),
        }
    }

    /// Waits until objects are in force, at most for the time in the request.
    pub async fn settle(&self, wait: &Wait) -> Result<Settling, Failure> {
        match self {
            Self::Local(local) => local.call("/settle", wait).await,
            Self::Cluster(cluster) => verdict::settle(cluster, wait).await,
        }
    }

    /// The output of a container.
    pub async fn logs(&self, query: &LogQuery) -> Result<Log, Failure> {
        match self {
            Self::Local(local) => local.logs(query).await,
            Self::Cluster(cluster) => container::logs(cluster, query).await,
        }
    }

    /// Runs a command in a container, with a terminal of this size if it gets one.
    pub async fn exec(&self, query: &ExecQuery, size: Option<Winsize>) -> Result<Frames, Failure> {
        match self {
            Self::Local(local) => Ok(Box::new(local.exec(query).await?)),
            Self::Cluster(cluster) => Ok(Box::new(container::exec(cluster, query, size).await?)),
        }
    }

    /// The response of the admin interface of a pod's proxy.
    pub async fn proxy(&self, query: &ProxyQuery) -> Result<Bytes, Failure> {
        match self {
            Self::Local(local) => local.bytes("/proxy", query).await,
            Self::Cluster(cluster) => pod::ask_proxy(cluster, query).await,
        }
    }

    /// The configuration that pilot holds for a pod's proxy.
    pub async fn pilot(&self, target: &Target) -> Result<Value, Failure> {
        match self {
            Self::Local(local) => local.call("/pilot", target).await,
            Self::Cluster(cluster) => pilot::config_dump(cluster, target).await,
        }
    }

    /// Copies the bytes of an accepted connection to a port of a pod and back.
    pub async fn forward(&self, stream: TcpStream, target: &Target, port: u16) -> Result<(), Failure> {
        match self {
            Self::Local(local) => local.forward(stream, target.clone(), port).await,
            Self::Cluster(cluster) => {
                let Target { namespace, pod, .. } = target.clone();
                forward::pass(cluster, stream, &Port { namespace, pod, number: port }).await
            }
        }
    }
}

/// A stream of changes to objects.
pub enum Watch {
    /// Of a mesh on this machine.
    Local(local::Watch),
    /// Of a cluster.
    Cluster(Box<object::Watch>),
}

impl Watch {
    /// The next change; `None` when the mesh has ended.
    pub async fn next(&mut self) -> Result<Option<Watched>, Failure> {
        match self {
            Self::Local(watch) => watch.next().await,
            Self::Cluster(watch) => watch.next().await,
        }
    }
}
