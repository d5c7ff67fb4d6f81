//! The validating webhook: the API server asks it before it stores an object of the mesh. Exists so that `kubectl apply`
//! refuses what `ostria apply` refuses, with the same message.

pub mod registration;

mod review;

use crate::metrics::Metrics;
use crate::snapshot::Snapshot;
use api::admission::{AdmissionReview, Request, Response};
use api::resource::weight::is_heavy;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// What reviews need.
#[derive(Clone)]
pub struct Webhook {
    /// The newest configuration.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Metrics.
    pub metrics: Metrics,
}

#[derive(Clone)]
struct Shared {
    webhook: Webhook,
    /// Limits the reviews that are processed at the same time.
    turns: Arc<Semaphore>,
}

/// The routes of the webhook, at Istio's path.
pub fn router(webhook: Webhook) -> Router {
    let shared = Shared { webhook, turns: Arc::new(Semaphore::new(AT_A_TIME)) };
    let router = Router::new().route("/validate", post(validate)).route("/validate/{*rest}", post(validate));
    router.with_state(shared)
}

async fn validate(State(shared): State<Shared>, headers: HeaderMap, body: Body) -> axum::response::Response {
    if !is_json(&headers) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send content-type: application/json");
    }
    // Read before it takes a turn: slow clients, which need no certificate here, must not keep the API server waiting.
    let Ok(Ok(body)) = tokio::time::timeout(BODY_LIMIT, to_bytes(body, MAX_BODY)).await else {
        let reason = format!("the body cannot be read in time; it may have at most {MAX_BODY} bytes");
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, &reason);
    };
    if is_heavy(&body) {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the review has too many values");
    }
    let snapshot = shared.webhook.snapshots.borrow().clone();
    if snapshot.generation == 0 {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "the configuration has not been read yet");
    }
    let turn = shared.turns.clone().acquire_owned().await.expect("the semaphore is never closed");
    let work = tokio::task::spawn_blocking(move || {
        let request = AdmissionReview::request(&body).map_err(|malformed| malformed.to_string())?;
        let response = review::review(&snapshot.catalog, &request);
        drop(turn);
        Ok::<_, String>((request, response))
    });
    match work.await {
        Ok(Ok((request, response))) => {
            record(&request, &response, &shared.webhook.metrics);
            Json(AdmissionReview::with_response(response)).into_response()
        }
        Ok(Err(malformed)) => refuse(StatusCode::BAD_REQUEST, &malformed),
        Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "the review failed"),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn refuse(status: StatusCode, reason: &str) -> axum::response::Response {
    tracing::warn!(%status, reason, "a review is refused");
    (status, format!("{reason}\n")).into_response()
}

fn record(request: &Request, response: &Response, metrics: &Metrics) {
    let (namespace, name) = (request.namespace.as_deref(), request.name.as_deref());
    let kind = &request.kind.kind;
    if let Some(status) = response.status.as_ref().filter(|_| !response.allowed) {
        metrics.validation_failed.inc();
        tracing::info!(kind, namespace, name, reason = status.message, "the webhook refuses an object");
    } else {
        metrics.validation_passed.inc();
        tracing::debug!(kind, namespace, name, "the webhook allows an object");
    }
}

/// Bytes of a review: an update holds the object twice, and the API server reads at most 3 MiB of an object.
const MAX_BODY: usize = 8 << 20;
/// The time for a body to arrive, after which the API server has given up.
const BODY_LIMIT: Duration = Duration::from_secs(10);
/// Reviews that are processed at the same time.
const AT_A_TIME: usize = 4;

#[cfg(test)]
mod tests;
