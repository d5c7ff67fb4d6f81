//! Addresses of clusters whose endpoints are names: looked up now and then, and kept while a look-up fails.

use super::upstream::Upstream;
use super::world::Thread;
use crate::snapshot::cluster::Endpoints;
use api::model::cluster::Discovery;
use api::model::endpoint::{Endpoint, EndpointAddress, LoadAssignment};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Resolves for ever.
pub(super) async fn run(thread: Rc<Thread>) {
    let mut round = 0u32;
    loop {
        let names: Vec<Arc<str>> = named(&thread);
        for name in names {
            let Some(upstream) = thread.upstream(&name) else { continue };
            // Those without addresses are in a hurry, all others have time.
            if round.is_multiple_of(ROUNDS) || upstream.is_unresolved() {
                resolve(&thread, &upstream).await;
            }
        }
        round = round.wrapping_add(1);
        tokio::time::sleep(STEP).await;
    }
}

/// Clusters whose endpoints are names.
fn named(thread: &Thread) -> Vec<Arc<str>> {
    thread.config().snapshot.resolved_clusters().cloned().collect()
}

async fn resolve(thread: &Rc<Thread>, upstream: &Rc<Upstream>) {
    let cluster = upstream.cluster().clone();
    let (assignment, all) = match &cluster.model.discovery {
        Discovery::StrictDns(assignment) => (assignment, true),
        Discovery::LogicalDns(assignment) => (assignment, false),
        _ => return,
    };
    let mut resolved = LoadAssignment { cluster: assignment.cluster.clone(), localities: vec![] };
    for locality in &assignment.localities {
        let mut endpoints = vec![];
        for endpoint in &locality.endpoints {
            match addresses(endpoint, all).await {
                Ok(found) => endpoints.extend(found),
                Err(error) => {
                    tracing::debug!(cluster = %cluster.name, %error, "a name was not resolved");
                    return;
                }
            }
        }
        resolved.localities.push(api::model::endpoint::LocalityEndpoints { endpoints, ..locality.clone() });
    }
    let last = upstream.endpoints();
    if last.is_some_and(|last| *last.model == resolved) {
        return;
    }
    let endpoints = Endpoints::build(Arc::new(resolved), last.map(AsRef::as_ref));
    thread.replace(upstream, upstream.with_endpoints(Arc::new(endpoints), thread));
}

async fn addresses(endpoint: &Endpoint, all: bool) -> std::io::Result<Vec<Endpoint>> {
    let EndpointAddress::Dns(host, port) = &endpoint.address else { return Ok(vec![endpoint.clone()]) };
    let mut found: Vec<_> = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
    // An order of their own would make every look-up a change.
    found.sort_unstable_by_key(|address| (address.is_ipv6(), *address));
    found.dedup();
    found.truncate(if all { usize::MAX } else { 1 });
    let hostname = if endpoint.hostname.is_empty() { host } else { &endpoint.hostname };
    let endpoint = |address| Endpoint {
        address: EndpointAddress::Socket(address),
        hostname: hostname.clone(),
        ..endpoint.clone()
    };
    Ok(found.into_iter().map(endpoint).collect())
}

const STEP: Duration = Duration::from_secs(1);
/// Steps between look-ups of a name that was resolved.
const ROUNDS: u32 = 5;
