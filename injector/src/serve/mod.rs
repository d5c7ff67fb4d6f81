//! The webhook's HTTP server: validates requests, enforces limits, and records metrics and logs of reviews.

use std::{sync::Arc, time::Instant};

use api::admission::AdmissionReview;
use api::resource::weight::is_heavy;
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tokio::sync::watch;

use crate::{
    config::Settings,
    flow::Outcome,
    metrics::Counters,
    pipeline::{self, Reviewed},
};

mod path;

/// Returns the routes of the webhook.
pub fn router(settings: watch::Receiver<Arc<Settings>>, counters: Counters) -> Router {
    let routes = ["/inject", "/inject/", "/inject/{*rest}"];
    let router = routes.into_iter().fold(Router::new(), |router, route| router.route(route, post(inject)));
    router.with_state((settings, counters))
}

async fn inject(
    State((settings, counters)): State<(watch::Receiver<Arc<Settings>>, Counters)>,
    rest: Option<Path<String>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    counters.requests.inc();
    if !is_json(&headers) {
        return refuse(&counters, StatusCode::UNSUPPORTED_MEDIA_TYPE, "send content-type: application/json");
    }
    let body = match to_bytes(body, MAX_BODY).await {
        Ok(body) => body,
        Err(_) if declares_more(&headers) => {
            return refuse(&counters, StatusCode::PAYLOAD_TOO_LARGE, "a review has at most 3 MiB");
        }
        Err(error) => return refuse(&counters, reading_failed(&error), &format!("the body: {error}")),
    };
    if is_heavy(&body) {
        return refuse(&counters, StatusCode::PAYLOAD_TOO_LARGE, "the review has too many values");
    }
    #[expect(clippy::disallowed_methods, reason = "the time is only measured, never decided by")]
    let start = Instant::now();
    let rest = rest.map(|Path(rest)| rest).unwrap_or_default();
    let settings = settings.borrow().clone();
    let reviewed = pipeline::process(&body, &path::applied(&settings, &rest));
    counters.took(start.elapsed());
    match reviewed {
        Ok(reviewed) => {
            record(&reviewed, &counters);
            Json(AdmissionReview::with_response(reviewed.response)).into_response()
        }
        Err(malformed) => refuse(&counters, StatusCode::BAD_REQUEST, &malformed.to_string()),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn declares_more(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|length| length > MAX_BODY)
}

/// The status code for a body that cannot be read. A body without a declared length is found to be too long only by
/// reading it.
fn reading_failed(error: &axum::Error) -> StatusCode {
    if error.to_string().contains("length limit") {
        StatusCode::PAYLOAD_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    }
}

fn refuse(counters: &Counters, status: StatusCode, reason: &str) -> Response {
    counters.failure.inc();
    tracing::warn!(%status, reason, "a review was refused");
    (status, format!("{reason}\n")).into_response()
}

fn record(reviewed: &Reviewed, counters: &Counters) {
    let pod = &reviewed.pod;
    match &reviewed.outcome {
        Outcome::Injected { patch, warnings } => {
            counters.success.inc();
            tracing::info!(pod, operations = patch.0.len(), ?warnings, "added the sidecar");
        }
        Outcome::Skipped(skip) => {
            counters.skip.inc();
            tracing::info!(pod, reason = skip.as_str(), "left the pod as it is");
        }
        Outcome::Denied(reason) => {
            counters.failure.inc();
            tracing::warn!(pod, reason, "refused the pod");
        }
    }
}

/// Maximum size of a body: the API server's own limit for objects.
const MAX_BODY: usize = 3 * 1024 * 1024;

#[cfg(test)]
mod tests;
