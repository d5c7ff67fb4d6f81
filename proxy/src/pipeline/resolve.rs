//! Resolves clusters whose endpoints are DNS names. One task for each cluster looks up its names at the times that
//! `lookup::pace` gives. While a lookup fails, the last known addresses stay in use.

use super::world::Thread;
use crate::lookup::Resolver;
use crate::lookup::pace::{Outcome, wait};
use crate::snapshot::Snapshot;
use api::model::cluster::{AddressFamily, Cluster, Discovery};
use api::model::endpoint::{Endpoint, EndpointAddress, LoadAssignment, LocalityEndpoints};
use foldhash::HashMap;
use futures_util::future::join_all;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// Resolves names for as long as the thread runs.
pub(super) async fn run(thread: Rc<Thread>) {
    let mut tasks: HashMap<Arc<str>, Task> = HashMap::default();
    let places = Rc::new(Semaphore::new(AT_ONCE));
    let mut last: Option<Arc<Snapshot>> = None;
    loop {
        let snapshot = thread.config().snapshot.clone();
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &snapshot)) {
            follow(&thread, &snapshot, &places, &mut tasks);
            last = Some(snapshot);
        }
        tokio::time::sleep(STEP).await;
    }
}

/// Starts tasks for clusters that are added or changed, and stops those of removed clusters.
fn follow(
    thread: &Rc<Thread>,
    snapshot: &Snapshot,
    places: &Rc<Semaphore>,
    tasks: &mut HashMap<Arc<str>, Task>,
) {
    tasks.retain(|name, task| snapshot.cluster(name).is_some_and(|now| now.model == task.cluster));
    for name in snapshot.resolved_clusters() {
        let Some(cluster) = snapshot.cluster(name).filter(|_| !tasks.contains_key(name)) else { continue };
        let names = Names::new(thread.clone(), cluster.model.clone(), places.clone());
        let task = tokio::task::spawn_local(names.follow(name.clone()));
        tasks.insert(name.clone(), Task { cluster: cluster.model.clone(), handle: task.abort_handle() });
    }
}

/// A cluster's task; dropping this stops it.
struct Task {
    cluster: Arc<Cluster>,
    handle: AbortHandle,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// The names of one cluster and their addresses.
struct Names {
    thread: Rc<Thread>,
    cluster: Arc<Cluster>,
    resolver: Resolver,
    places: Rc<Semaphore>,
    /// The addresses of each name, from its last successful lookup.
    known: HashMap<String, Vec<IpAddr>>,
    failures: u32,
}

impl Names {
    fn new(thread: Rc<Thread>, cluster: Arc<Cluster>, places: Rc<Semaphore>) -> Self {
        let resolver = Resolver::system(thread.mark);
        Self { thread, cluster, resolver, places, known: HashMap::default(), failures: 0 }
    }

    async fn follow(mut self, name: Arc<str>) {
        loop {
            let outcome = self.look_up().await;
            // Before the first success there is nothing to publish; addresses of an earlier version of the cluster stay
            // in use.
            if let Some(assignment) = assignment(&self.cluster.discovery)
                && (!self.known.is_empty() || matches!(outcome, Outcome::Resolved(_)))
            {
                self.publish(&name, resolved(assignment, self.takes_all(), &self.known));
            }
            let random = u64::from(self.thread.random()) << 32 | u64::from(self.thread.random());
            tokio::time::sleep(wait(&self.cluster.lookup, outcome, random)).await;
        }
    }

    /// Whether every address becomes an endpoint (STRICT_DNS), or only the first (LOGICAL_DNS).
    fn takes_all(&self) -> bool {
        matches!(self.cluster.discovery, Discovery::StrictDns(_))
    }

    /// Looks up all names. If one fails, all count as failed, because they are looked up again together.
    async fn look_up(&mut self) -> Outcome {
        let (mut shortest, mut failed): (Option<Duration>, bool) = (None, false);
        let names = names(&self.cluster.discovery);
        let found = join_all(names.iter().map(|name| self.addresses(name))).await;
        for (name, found) in names.into_iter().zip(found) {
            match found {
                Ok((list, ttl)) => {
                    shortest = shortest.into_iter().chain(ttl).min();
                    self.known.insert(name, list);
                }
                Err(error) => {
                    tracing::debug!(cluster = %self.cluster.name, name, %error, "a name was not resolved");
                    failed = true;
                }
            }
        }
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        if failed { Outcome::Failed(self.failures) } else { Outcome::Resolved(shortest) }
    }

    async fn addresses(&self, name: &str) -> io::Result<(Vec<IpAddr>, Option<Duration>)> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let found = self.resolver.look_up(name, self.family()).await?;
        if found.list.is_empty() && !self.takes_all() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        }
        Ok((found.list, found.ttl))
    }

    fn family(&self) -> AddressFamily {
        self.cluster.lookup.family
    }

    fn publish(&self, name: &str, resolved: LoadAssignment) {
        let Some(upstream) = self.thread.upstream(name) else { return };
        let last = upstream.endpoints();
        if last.is_some_and(|last| *last.model == resolved) {
            return;
        }
        let endpoints = upstream.cluster().resolved.replace(resolved);
        self.thread.replace(&upstream, upstream.with_endpoints(endpoints, &self.thread));
    }
}

fn assignment(discovery: &Discovery) -> Option<&LoadAssignment> {
    match discovery {
        Discovery::StrictDns(assignment) | Discovery::LogicalDns(assignment) => Some(assignment),
        Discovery::Static(_) | Discovery::Eds(_) | Discovery::OriginalDestination { .. } => None,
    }
}

/// The names of a cluster without duplicates.
fn names(discovery: &Discovery) -> Vec<String> {
    let localities = assignment(discovery).into_iter().flat_map(|found| &found.localities);
    let name = |endpoint: &Endpoint| match &endpoint.address {
        EndpointAddress::Dns(host, _) => Some(host.clone()),
        EndpointAddress::Socket(_) | EndpointAddress::Pipe(_) => None,
    };
    let mut names: Vec<String> = localities.flat_map(|l| l.endpoints.iter().filter_map(name)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The assignment with names replaced by addresses.
fn resolved(assignment: &LoadAssignment, all: bool, known: &HashMap<String, Vec<IpAddr>>) -> LoadAssignment {
    let of_endpoint = |endpoint: &Endpoint| {
        let EndpointAddress::Dns(host, port) = &endpoint.address else { return vec![endpoint.clone()] };
        let list = known.get(host).map_or(&[][..], Vec::as_slice);
        let hostname = if endpoint.hostname.is_empty() { host } else { &endpoint.hostname };
        let used = list.iter().take(if all { usize::MAX } else { 1 });
        let at = |address: &IpAddr| Endpoint {
            address: EndpointAddress::Socket(SocketAddr::new(*address, *port)),
            hostname: hostname.clone(),
            ..endpoint.clone()
        };
        used.map(at).collect()
    };
    let of_locality = |locality: &LocalityEndpoints| LocalityEndpoints {
        endpoints: locality.endpoints.iter().flat_map(of_endpoint).collect(),
        ..locality.clone()
    };
    LoadAssignment {
        cluster: assignment.cluster.clone(),
        localities: assignment.localities.iter().map(of_locality).collect(),
    }
}

/// How soon a change of the configuration is noticed.
const STEP: Duration = Duration::from_millis(100);
/// Limit of concurrent lookups of a thread.
const AT_ONCE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::endpoint::Health;

    fn endpoint(host: &str, port: u16) -> Endpoint {
        let address = EndpointAddress::Dns(host.into(), port);
        let (health, weight) = (Health::Healthy, 1);
        Endpoint { address, health, hostname: String::new(), weight, mtls: false, workload: None }
    }

    fn assignment_of(endpoints: Vec<Endpoint>) -> LoadAssignment {
        let locality = LocalityEndpoints { endpoints, ..LocalityEndpoints::default() };
        LoadAssignment { cluster: "c".into(), localities: vec![locality] }
    }

    #[test]
    fn names_become_endpoints_and_a_name_that_failed_has_those_it_had() {
        let given = assignment_of(vec![
            endpoint("b", 80),
            endpoint("a", 81),
            endpoint("gone", 82),
            endpoint("a", 83),
        ]);
        assert_eq!(names(&Discovery::StrictDns(given.clone())), ["a", "b", "gone"]);
        assert_eq!(names(&Discovery::Static(given.clone())), Vec::<String>::new());
        let known: HashMap<String, Vec<IpAddr>> = [
            ("a".to_owned(), vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]),
            ("b".to_owned(), vec![[10, 0, 0, 3].into()]),
        ]
        .into_iter()
        .collect();
        let addresses = |all| {
            let found = resolved(&given, all, &known);
            let shown = |e: &Endpoint| format!("{} {:?}", e.hostname, e.address);
            found.localities[0].endpoints.iter().map(shown).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(
            addresses(true),
            "b Socket(10.0.0.3:80), a Socket(10.0.0.1:81), a Socket(10.0.0.2:81), a Socket(10.0.0.1:83), \
             a Socket(10.0.0.2:83)"
        );
        assert_eq!(addresses(false), "b Socket(10.0.0.3:80), a Socket(10.0.0.1:81), a Socket(10.0.0.1:83)");
    }
}
