//! Serves requests other than xDS on the same ports: the proxy of an ending pod asks whether all proxies have taken the
//! pod out of use, and other replicas ask what the proxies of this one have acknowledged.

use super::discovery::Discovery;
use super::node::{self, Caller, Claim, NodeError};
use crate::replica::{self, StateQuestion};
use api::process::serve::Peer;
use api::removal::{self, Removal, RemovalQuestion};
use api::wire::xds::NodeInfo;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The router of these requests.
pub(super) fn router(discovery: Discovery) -> Router {
    Router::new()
        .route(removal::PATH, post(removed))
        .route(AMONG_REPLICAS, post(removed_here))
        .route(replica::PATH, post(state))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(discovery)
}

type Caught = Option<Extension<Peer>>;

/// Responds to the proxy of an ending pod when the proxies of all replicas have taken the pod out of use.
async fn removed(
    State(discovery): State<Discovery>,
    peer: Caught,
    Json(question): Json<RemovalQuestion>,
) -> Response {
    let claim = match claim(&discovery, peer.as_deref(), &question) {
        Ok(claim) => claim,
        Err(error) => return (StatusCode::FORBIDDEN, error.to_string()).into_response(),
    };
    let limit = Duration::from_millis(question.milliseconds).min(LONGEST_WAIT);
    let others = async {
        let all = discovery.replicas.ask_all::<_, Removal>(AMONG_REPLICAS, &question, limit + MARGIN).await;
        // One that does not respond ends, or has lost its proxies.
        all.values().flatten().all(|removal| removal.acknowledged)
    };
    let (here, others) = tokio::join!(wait(&discovery, &claim, limit), others);
    match here {
        Ok(acknowledged) => Json(Removal { acknowledged: acknowledged && others }).into_response(),
        Err(error) => (StatusCode::FORBIDDEN, error.to_string()).into_response(),
    }
}

/// Responds to another replica, which has admitted the proxy.
async fn removed_here(
    State(discovery): State<Discovery>,
    peer: Caught,
    Json(question): Json<RemovalQuestion>,
) -> Response {
    if let Err(refusal) = admit(&discovery, peer.as_deref()) {
        return refusal.into_response();
    }
    let limit = Duration::from_millis(question.milliseconds).min(LONGEST_WAIT);
    match node::claim(&node(&question), Caller::default()) {
        Ok(claim) => {
            let acknowledged = wait(&discovery, &claim, limit).await.unwrap_or_default();
            Json(Removal { acknowledged }).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// Responds to another replica with the state of this one: at once, or when the proxies refuse other things than before.
async fn state(
    State(discovery): State<Discovery>,
    peer: Caught,
    Json(question): Json<StateQuestion>,
) -> Response {
    if let Err(refusal) = admit(&discovery, peer.as_deref()) {
        return refusal.into_response();
    }
    let deadline = Instant::now() + Duration::from_millis(question.milliseconds).min(LONGEST_WAIT);
    let proxies = &discovery.verdicts.proxies;
    if let Some(known) = question.refusals {
        let changed = async {
            loop {
                let rung = proxies.rung();
                if replica::refusals(&proxies.refusing()) != known {
                    return;
                }
                rung.await;
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        };
        let over = tokio::select! {
            changed = timeout_at(deadline, changed) => changed.is_err(),
            () = discovery.drain.cancelled() => true,
        };
        if over {
            return StatusCode::NO_CONTENT.into_response();
        }
    }
    Json(discovery.replicas.own_state(&discovery.verdicts)).into_response()
}

/// Refuses clients that are not replicas of pilot.
fn admit(discovery: &Discovery, peer: Option<&Peer>) -> Result<(), (StatusCode, &'static str)> {
    let identity = peer.and_then(|peer| peer.identity.as_ref()).filter(|_| discovery.identities);
    if identity.is_some_and(|identity| discovery.replicas.includes(identity)) {
        return Ok(());
    }
    discovery.metrics.denied.inc();
    Err((StatusCode::FORBIDDEN, "only for replicas of pilot\n"))
}

fn claim(discovery: &Discovery, peer: Option<&Peer>, question: &RemovalQuestion) -> Result<Claim, NodeError> {
    let caller = discovery.caller(peer);
    if discovery.identities && caller.identity.is_none() {
        return Err(NodeError::Invalid("this port needs a client certificate of the mesh".to_owned()));
    }
    node::claim(&node(question), caller)
}

fn node(question: &RemovalQuestion) -> NodeInfo {
    let namespace = [("NAMESPACE".to_owned(), Value::from(question.namespace.as_str()))];
    NodeInfo { id: question.node.clone(), metadata: namespace.into_iter().collect(), ..NodeInfo::default() }
}

/// Waits until pilot knows that the pod ends, and all proxies of this replica have the configuration without it.
/// Returns whether this was before the limit.
async fn wait(discovery: &Discovery, claim: &Claim, limit: Duration) -> Result<bool, NodeError> {
    let deadline = Instant::now() + limit;
    let mut snapshots = discovery.snapshots.clone();
    let ends =
        snapshots.wait_for(|snapshot| snapshot.generation > 0 && claim.ends(&snapshot.catalog) != Ok(false));
    let generation = match timeout_at(deadline, ends).await {
        Ok(Ok(snapshot)) => {
            claim.ends(&snapshot.catalog)?;
            snapshot.generation
        }
        Ok(Err(_)) | Err(_) => {
            tracing::debug!(pod = claim.name(), "the pod was not seen to end");
            return Ok(false);
        }
    };
    let proxies = &discovery.verdicts.proxies;
    let caught_up = tokio::select! {
        caught_up = timeout_at(deadline, proxies.caught_up(generation)) => caught_up.is_ok(),
        () = discovery.drain.cancelled() => false,
    };
    if !caught_up {
        let behind = proxies.behind(generation, MAX_NAMED).join(", ");
        tracing::warn!(
            pod = claim.name(),
            behind,
            "a pod that is being deleted stops before these proxies have stopped sending to it"
        );
    }
    Ok(caught_up)
}

/// How much longer than the limit a replica may take to say that its proxies have not acknowledged.
const MARGIN: Duration = Duration::from_secs(1);
/// The path of `removal::PATH`'s request between replicas.
const AMONG_REPLICAS: &str = "/ostria/replica/removal";
/// The largest request, in bytes.
const MAX_REQUEST: usize = 16 << 10;
/// The longest time that a request is held open; the server ends a response that takes a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(45);
/// How often refusals are compared while proxies come and go.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Names of proxies in a log line.
const MAX_NAMED: usize = 10;

#[cfg(test)]
mod tests;
