//! Pilot's debug pages on the metrics port: connected proxies and their progress, known objects, refused objects, and
//! whether proposed objects would be accepted. Names and formats follow istiod's, so that its tools can read them.
//!
//! The pages describe the whole mesh, so they are served only to clients on the same machine.

use crate::serve::connections::{Connection, Connections};
use crate::snapshot::Snapshot;
use crate::verdict::{Channel, LONGEST_WAIT};
use crate::{generate, relation, validate};
use api::model::Kind;
use api::resource;
use api::resource::check::{CheckRequest, CheckResponse, MAX_CHECK_REQUEST};
use api::resource::document::{Key, Problem};
use api::resource::relation::Related;
use api::resource::verdict::{ObjectVerdict, Verdicts, Wait};
use api::wire::json::{self, Bootstrap, Entry};
use api::xds::server::Status;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{Semaphore, oneshot, watch};

/// The data that the pages show.
#[derive(Clone)]
pub struct Debug {
    /// The newest configuration.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The open streams.
    pub connections: Connections,
    /// The verdicts of pilot and the proxies on objects.
    pub verdicts: Channel,
    /// Limits checks of proposed objects to one at a time.
    pub turn: Arc<Semaphore>,
}

/// The pages.
pub fn router(debug: Debug) -> Router {
    Router::new()
        .route("/debug", get(index))
        .route("/debug/syncz", get(syncz))
        .route("/debug/connections", get(connections))
        .route("/debug/registryz", get(registryz))
        .route("/debug/instancesz", get(instancesz))
        .route("/debug/configz", get(configz))
        .route("/debug/config_dump", get(config_dump))
        .route("/debug/validate", post(check))
        .route("/debug/verdicts", get(verdicts).post(settle))
        .route("/debug/relations", get(relations))
        .with_state(debug)
}

async fn index() -> &'static str {
    "/debug/syncz            connected proxies and whether they are in sync\n\
     /debug/connections      connected proxies and their addresses\n\
     /debug/registryz        services and their endpoints\n\
     /debug/instancesz       workloads\n\
     /debug/configz          objects in force, and rejected objects and warnings with reasons\n\
     /debug/config_dump?proxyID=POD.NAMESPACE  the configuration sent to a proxy\n\
     /debug/verdicts?kind=K&namespace=N&name=O  the status of each object, and the proxies' acknowledgements\n\
     /debug/verdicts?since=REVISION&wait=SECONDS  waits for a change and shows it\n\
     /debug/relations?kind=K&namespace=N&name=O  the routes, policies and pods related to an object\n\
     POST /debug/verdicts    waits until objects are in force at all proxies\n\
     POST /debug/validate    whether objects would be accepted\n"
}

/// One row per proxy, in the format that `istioctl proxy-status` reads.
async fn syncz(State(debug): State<Debug>) -> Json<Vec<Value>> {
    let generation = debug.snapshots.borrow().generation;
    Json(debug.connections.list().iter().map(|c| sync_row(c, generation)).collect())
}

fn sync_row(connection: &Connection, generation: u64) -> Value {
    let of =
        |kind: Kind| connection.status.get(&kind).map(|status| Status::clone(status)).unwrap_or_default();
    let (cluster, listener, route, endpoint) =
        (of(Kind::Cluster), of(Kind::Listener), of(Kind::Route), of(Kind::Endpoints));
    json!({
        "proxy": proxy_name(connection),
        "proxy_type": if connection.scope.gateway { "router" } else { "sidecar" },
        "proxy_version": connection.user_agent,
        "cluster_id": generate::CLUSTER_ID,
        "cluster_sent": cluster.nonce_sent, "cluster_acked": cluster.nonce_acked,
        "listener_sent": listener.nonce_sent, "listener_acked": listener.nonce_acked,
        "route_sent": route.nonce_sent, "route_acked": route.nonce_acked,
        "endpoint_sent": endpoint.nonce_sent, "endpoint_acked": endpoint.nonce_acked,
        "in_step": connection.is_in_step(generation),
        "refusals": refusals(connection),
    })
}

fn refusals(connection: &Connection) -> Vec<Value> {
    let all = connection.status.iter().filter_map(|(kind, status)| Some((kind, status.nack.as_ref()?)));
    all.map(|(kind, nack)| json!({"type": kind.type_url(), "names": nack.names, "detail": nack.detail}))
        .collect()
}

fn proxy_name(connection: &Connection) -> String {
    format!("{}.{}", connection.scope.pod, connection.scope.namespace)
}

async fn connections(State(debug): State<Debug>) -> Json<Value> {
    let clients: Vec<Value> = debug
        .connections
        .list()
        .iter()
        .map(|c| {
            let since = c.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            json!({"connectionId": c.node, "address": c.address, "identity": c.identity, "connectedAt": since})
        })
        .collect();
    Json(json!({"totalClients": clients.len(), "clients": clients}))
}

async fn registryz(State(debug): State<Debug>) -> Json<Vec<Value>> {
    let catalog = debug.snapshots.borrow().catalog.clone();
    let services = catalog.services().map(|s| {
        let ports: Vec<Value> = s
            .ports
            .iter()
            .map(|p| {
                let endpoints: Vec<String> =
                    catalog.endpoints(s, p).iter().map(|e| format!("{:?} {:?}", e.address, e.health)).collect();
                json!({"name": p.name, "port": p.number, "protocol": format!("{:?}", p.protocol), "endpoints": endpoints})
            })
            .collect();
        json!({
            "hostname": s.host,
            "namespace": s.namespace,
            "addresses": s.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "ports": ports,
        })
    });
    Json(services.collect())
}

/// The known workloads. Tools wait for them here.
async fn instancesz(State(debug): State<Debug>) -> Json<Vec<Value>> {
    let catalog = debug.snapshots.borrow().catalog.clone();
    let workloads = catalog.workloads().map(|w| {
        let addresses: Vec<String> = w.addresses.iter().map(ToString::to_string).collect();
        json!({"namespace": w.namespace, "name": w.name, "addresses": addresses, "ready": w.ready})
    });
    Json(workloads.collect())
}

async fn configz(State(debug): State<Debug>) -> Json<Value> {
    let catalog = debug.snapshots.borrow().catalog.clone();
    let objects: Vec<String> = catalog.items().map(|(key, _)| key.to_string()).collect();
    let refused: Vec<Problem> = debug.verdicts.refusals().iter().map(Problem::from).collect();
    let warnings: Vec<Problem> = debug.verdicts.warnings().iter().map(Problem::from).collect();
    Json(json!({"objects": objects, "refused": refused, "warnings": warnings}))
}

/// The query that selects verdicts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VerdictQuery {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    /// Only verdicts that changed after this revision.
    since: u64,
    /// Seconds to wait for such a change.
    wait: u64,
}

impl VerdictQuery {
    fn takes(&self, verdict: &ObjectVerdict) -> bool {
        let is =
            |wanted: &Option<String>, own: &str| wanted.as_ref().is_none_or(|w| w.eq_ignore_ascii_case(own));
        is(&self.kind, &verdict.kind)
            && is(&self.namespace, &verdict.namespace)
            && is(&self.name, &verdict.name)
    }
}

async fn verdicts(State(debug): State<Debug>, Query(chosen): Query<VerdictQuery>) -> Json<Verdicts> {
    let mut revisions = debug.verdicts.watch();
    let changed = revisions.wait_for(|revision| *revision > chosen.since);
    let limit = Duration::from_secs(chosen.wait).min(LONGEST_WAIT);
    // After a change or the timeout, the page shows the current state.
    let _ = tokio::time::timeout(limit, changed).await;
    let (revision, objects) = debug.verdicts.since(chosen.since, |verdict| chosen.takes(verdict));
    let snapshot = debug.snapshots.borrow().generation;
    let proxies = debug.verdicts.proxies.list();
    let verdicts = Verdicts { revision, snapshot, settled: false, objects, proxies };
    Json(Verdicts { settled: verdicts.settles(&[]), ..verdicts })
}

#[derive(Debug, Deserialize)]
struct Named {
    /// API group; empty for the core group. If absent, the first kind with this name is meant.
    group: Option<String>,
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
}

async fn relations(State(debug): State<Debug>, Query(named): Query<Named>) -> Json<Vec<Related>> {
    let catalog = debug.snapshots.borrow().catalog.clone();
    let is_meant = |kind: &resource::kind::Kind| {
        kind.name().eq_ignore_ascii_case(&named.kind)
            && named.group.as_ref().is_none_or(|g| *g == kind.group())
    };
    let Some(kind) = resource::kind::Kind::all().find(is_meant) else { return Json(vec![]) };
    let key = Key::new(kind, &named.namespace, &named.name);
    let work = tokio::task::spawn_blocking(move || relation::of(&catalog, &key));
    Json(work.await.unwrap_or_default())
}

async fn settle(State(debug): State<Debug>, Json(wait): Json<Wait>) -> Json<Verdicts> {
    Json(debug.verdicts.wait(debug.snapshots.clone(), &wait).await)
}

#[derive(Deserialize)]
struct Proxy {
    /// The proxy as `POD.NAMESPACE`; the parameter has istiod's name.
    #[serde(default, rename = "proxyID", alias = "proxy")]
    proxy: String,
}

async fn config_dump(State(debug): State<Debug>, Query(query): Query<Proxy>) -> Response {
    let Some(connection) = debug.connections.list().into_iter().find(|c| proxy_name(c) == query.proxy) else {
        let known: Vec<String> = debug.connections.list().iter().map(proxy_name).collect();
        let reason = format!("no proxy {:?} is connected; connected are: {}\n", query.proxy, known.join(" "));
        return (StatusCode::NOT_FOUND, reason).into_response();
    };
    let snapshot = debug.snapshots.borrow().clone();
    let scope = &connection.scope;
    let version = snapshot.version();
    let mut resources = generate::shared(&snapshot, scope);
    resources.extend(generate::own(&snapshot, scope));
    let bootstrap = Bootstrap::default();
    let updated = made_at(&snapshot);
    let entries: Vec<Entry> = resources
        .iter()
        .map(|resource| Entry { resource, version: Some(&version), updated: &updated })
        .collect();
    Json(json::config_dump(&bootstrap, &entries, true)).into_response()
}

/// When a snapshot was made, in RFC 3339.
#[expect(clippy::disallowed_methods, reason = "a page tells the time")]
fn made_at(snapshot: &Snapshot) -> String {
    let at = SystemTime::now() - snapshot.observed.elapsed();
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

/// Checks proposed objects, one request at a time, each on a thread of its own, whose memory returns to the system when
/// it ends.
async fn check(State(debug): State<Debug>, request: Request) -> Response {
    let turn = debug.turn.clone().acquire_owned().await.expect("the semaphore is never closed");
    let body = axum::body::to_bytes(request.into_body(), MAX_CHECK_REQUEST);
    let text = match tokio::time::timeout(QUESTION_LIMIT, body).await {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => {
            let reason =
                format!("the request body cannot be read; it may have at most {MAX_CHECK_REQUEST} bytes\n");
            return (StatusCode::PAYLOAD_TOO_LARGE, reason).into_response();
        }
        Err(_) => {
            return (StatusCode::REQUEST_TIMEOUT, "timed out reading the request body\n").into_response();
        }
    };
    let catalog = debug.snapshots.borrow().catalog.clone();
    let (sender, response) = oneshot::channel();
    let work = move || {
        let request = CheckRequest::read(&text);
        let response =
            request.map(|q| CheckResponse::from(&validate::reference::check(&catalog, &q.objects)));
        drop(text);
        let _ = sender.send(response);
        drop(turn);
    };
    if let Err(error) = std::thread::Builder::new().name("validate".to_owned()).spawn(work) {
        let reason = format!("cannot start a thread for the request: {error}\n");
        return (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response();
    }
    match response.await {
        Ok(Ok(response)) => Json(response).into_response(),
        Ok(Err(reason)) => (StatusCode::BAD_REQUEST, reason + "\n").into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the check failed\n").into_response(),
    }
}

/// Timeout for receiving a check request.
const QUESTION_LIMIT: Duration = Duration::from_secs(10);
