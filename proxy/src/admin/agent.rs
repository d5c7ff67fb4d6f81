//! The pages that Istio's agent serves: health, metrics merged with the application's own, the application's
//! probes, and commands to drain or quit.

use super::envoy::prometheus_page;
use super::state::{Admin, Command};
use super::{probe, scrape};
use api::process::serve::Peer;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use tokio::sync::Semaphore;

/// The pages of the status port.
pub fn agent(admin: Admin) -> Router {
    Router::new()
        .route("/healthz/ready", get(ready))
        .route("/stats/prometheus", get(merged))
        .route("/metrics", get(merged))
        .route("/quitquitquit", post(quit))
        .route("/drain", post(drain))
        .route("/app-health/{container}/{probe}", get(application))
        .route("/app-lifecycle/{container}/{hook}", get(hook))
        .with_state(admin)
}

/// The page of the health port.
pub fn health(admin: Admin) -> Router {
    Router::new().route("/healthz/ready", get(ready)).with_state(admin)
}

/// The page of the proxy's metrics port.
pub fn metrics(admin: Admin) -> Router {
    Router::new()
        .route("/stats/prometheus", get(async |State(admin): State<Admin>| prometheus_page(&admin)))
        .route("/metrics", get(async |State(admin): State<Admin>| prometheus_page(&admin)))
        .with_state(admin)
}

async fn ready(State(admin): State<Admin>) -> Response {
    let pending = admin.pending();
    if pending.is_empty() {
        return StatusCode::OK.into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready; waiting for: {}\n", pending.join(", ")))
        .into_response()
}

async fn merged(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let _turn = SCRAPES.acquire().await;
    let shared = &admin.shared;
    let targets = shared.scrape.iter().map(|target| scrape::application(target, shared.address, &headers));
    // All targets at once, because Prometheus waits no longer for several than for one; the results keep the order
    // of the targets.
    let application = futures_util::future::join_all(targets).await;
    admin.refresh();
    let mut page = shared.seams.telemetry.render();
    for application in application {
        let application = match application {
            Ok(application) => application,
            Err(reason) => {
                tracing::debug!(reason, "the application's metrics cannot be read");
                shared.seams.telemetry.named("agent.scrape_failures_total").fetch_add(1, Ordering::Relaxed);
                continue;
            }
        };
        if !page.ends_with('\n') {
            page.push('\n');
        }
        page.push_str(&String::from_utf8_lossy(&application));
    }
    ([(header::CONTENT_TYPE, api::process::metrics::CONTENT_TYPE)], page).into_response()
}

/// Performs a hook of the application. A container is not told to stop before other proxies have stopped sending requests
/// to the pod, nor before it has responded to those that it has.
async fn hook(State(admin): State<Admin>, Path((_, hook)): Path<(String, String)>, uri: Uri) -> Response {
    if hook == PRE_STOP {
        admin.shared.departure.completed().await;
        // Injection adds this hook to containers that have none of their own.
        if !admin.shared.probers.contains_key(uri.path()) {
            return StatusCode::OK.into_response();
        }
    }
    application(State(admin), uri).await
}

async fn application(State(admin): State<Admin>, uri: Uri) -> Response {
    let Some(prober) = admin.shared.probers.get(uri.path()) else {
        return (StatusCode::NOT_FOUND, format!("the pod has no probe {}\n", uri.path())).into_response();
    };
    let (status, reason) = probe::perform(prober, admin.shared.address).await;
    if !reason.is_empty() {
        tracing::debug!(probe = uri.path(), reason, "a probe of the application failed");
    }
    (status, reason).into_response()
}

async fn quit(State(admin): State<Admin>, peer: Option<Extension<Peer>>) -> Response {
    local(peer.as_deref(), || {
        let _ = admin.shared.commands.send(Command::Quit);
    })
}

async fn drain(
    State(admin): State<Admin>,
    peer: Option<Extension<Peer>>,
    Query(parameters): Query<HashMap<String, String>>,
) -> Response {
    let set = |name: &str| parameters.get(name).is_some_and(|value| value != "false");
    let (inbound_only, departs) = (set("inboundonly"), set("departs"));
    local(peer.as_deref(), || {
        let _ = admin.shared.commands.send(Command::Drain { inbound_only, graceful: true, departs });
    })
}

/// Acts only for clients on this machine.
fn local(peer: Option<&Peer>, act: impl FnOnce()) -> Response {
    if peer.is_some_and(|peer| peer.address.ip().to_canonical().is_loopback()) {
        act();
        return "OK\n".into_response();
    }
    (StatusCode::FORBIDDEN, "only from the same pod\n").into_response()
}

/// The last part of the path of a `preStop` hook.
const PRE_STOP: &str = "prestopz";
/// Limits how many pages are rendered at the same time: any client can reach the port, and the application's part
/// may have megabytes.
static SCRAPES: Semaphore = Semaphore::const_new(4);
