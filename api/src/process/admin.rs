//! The admin pages that every process serves: health, readiness, metrics, version and log level. A process merges its
//! own routes into this router. All clients that reach the port may read these pages; changing the log level, and
//! pages that reveal the configuration of the mesh (`local`), are reserved for clients on the same machine, such as
//! `kubectl port-forward` and `kubectl exec`.

use crate::process::log;
use crate::process::metrics;
use crate::process::ready::Readiness;
use crate::process::serve::Peer;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The state that the pages show.
#[derive(Clone)]
pub struct AdminState {
    /// Readiness of the process.
    pub readiness: Readiness,
    /// The metrics of the process.
    pub registry: prometheus::Registry,
    /// The log and its level.
    pub log: log::Handle,
    /// The running build.
    pub build: Build,
}

/// The component and its version.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Build {
    /// The component's name, for example `pilot`.
    pub component: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// The router with the pages that every process has.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_page))
        .route("/version", get(version))
        .route("/log", get(log_level).put(set_log_level).post(set_log_level))
        .with_state(state)
}

/// Restricts pages to clients on the same machine: from a loopback address, or from `own`, the address at which the
/// pages are served, which no other machine can connect from. Istio restricts its debug pages in the same way.
pub fn local(pages: Router, own: IpAddr) -> Router {
    let guard = move |peer: Option<Extension<Peer>>, request: Request, next: Next| async move {
        let address = peer.map(|peer| peer.address.ip().to_canonical());
        let same = address.is_some_and(|address| address.is_loopback() || address == own.to_canonical());
        if same { next.run(request).await } else { (StatusCode::FORBIDDEN, ELSEWHERE).into_response() }
    };
    pages.layer(middleware::from_fn(guard))
}

async fn ready(State(state): State<AdminState>) -> Response {
    let pending = state.readiness.pending();
    if pending.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready; waiting for: {}\n", pending.join(", ")))
        .into_response()
}

async fn metrics_page(State(state): State<AdminState>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&state.registry)).into_response()
}

async fn version(State(state): State<AdminState>) -> Json<Build> {
    Json(state.build)
}

async fn log_level(State(state): State<AdminState>) -> String {
    state.log.current() + "\n"
}

#[derive(Deserialize)]
struct Level {
    level: Option<String>,
}

async fn set_log_level(
    State(state): State<AdminState>,
    peer: Option<Extension<Peer>>,
    Query(query): Query<Level>,
) -> Response {
    if !peer.is_some_and(|peer| peer.address.ip().to_canonical().is_loopback()) {
        let reason =
            "the log level can be changed only from the same machine; use kubectl port-forward or exec\n";
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    let Some(level) = query.level else {
        return (StatusCode::BAD_REQUEST, "missing parameter: level, as in /log?level=debug\n")
            .into_response();
    };
    match state.log.set(&level) {
        Ok(()) => {
            tracing::info!(level, "changed the log level");
            (state.log.current() + "\n").into_response()
        }
        Err(reason) => (StatusCode::BAD_REQUEST, reason + "\n").into_response(),
    }
}

const ELSEWHERE: &str = "these pages are served only on the same machine; use kubectl port-forward or exec\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::log::Format;
    use axum::body::{Body, to_bytes};
    use http::{Method, Request};
    use std::sync::Arc;
    use tower_service::Service;

    /// Returns the subscriber as well, because the log lives as long as it does.
    fn state() -> (AdminState, impl Sized) {
        let (subscriber, log) = log::build(Format::Text);
        let registry = metrics::registry("citadel", "1.2.3");
        let build = Build { component: "citadel", version: "1.2.3" };
        (AdminState { readiness: Readiness::new(), registry, log, build }, subscriber)
    }

    async fn ask(state: &AdminState, method: Method, path: &str, from: &str) -> (u16, String) {
        ask_of(router(state.clone()), method, path, Some(from)).await
    }

    async fn ask_of(mut pages: Router, method: Method, path: &str, from: Option<&str>) -> (u16, String) {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        if let Some(from) = from {
            let address = from.parse().unwrap();
            request.extensions_mut().insert(Peer { address, certificates: Arc::default(), identity: None });
        }
        let response = pages.call(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    const LOCAL: &str = "127.0.0.1:1";

    #[tokio::test]
    async fn readiness_names_the_pending_parts() {
        let (state, _log) = state();
        let gate = state.readiness.wait_for("root");
        for path in ["/ready", "/readyz"] {
            let (status, body) = ask(&state, Method::GET, path, LOCAL).await;
            assert_eq!((status, body.as_str()), (503, "not ready; waiting for: root\n"));
        }
        assert_eq!(ask(&state, Method::GET, "/healthz", LOCAL).await.0, 200);
        gate.done();
        assert_eq!(ask(&state, Method::GET, "/readyz", LOCAL).await.0, 200);
    }

    #[tokio::test]
    async fn metrics_and_version_name_the_build() {
        let (state, _log) = state();
        let (_, page) = ask(&state, Method::GET, "/metrics", LOCAL).await;
        assert!(page.contains("istio_build{component=\"citadel\",tag=\"1.2.3\"} 1"), "{page}");
        let (_, version) = ask(&state, Method::GET, "/version", LOCAL).await;
        assert_eq!(version, r#"{"component":"citadel","version":"1.2.3"}"#);
    }

    #[tokio::test]
    async fn local_pages_are_served_only_on_the_same_machine() {
        let cases = [
            ("0.0.0.0", Some("127.0.0.1:9"), 200),
            ("0.0.0.0", Some("[::1]:9"), 200),
            ("0.0.0.0", Some("[::ffff:127.0.0.1]:9"), 200),
            ("10.0.0.1", Some("10.0.0.1:9"), 200),
            ("10.0.0.1", Some("[::ffff:10.0.0.1]:9"), 200),
            ("10.0.0.1", Some("10.0.0.2:9"), 403),
            ("0.0.0.0", Some("10.0.0.1:9"), 403),
            ("::", Some("[fe80::1]:9"), 403),
            ("0.0.0.0", None, 403),
        ];
        for (own, from, expected) in cases {
            let pages = Router::new()
                .route("/debug", get(async || "open"))
                .route("/debug/{page}", get(async || "open"));
            let pages = Router::new()
                .route("/metrics", get(async || "open"))
                .merge(local(pages, own.parse().unwrap()));
            for path in ["/debug", "/debug/syncz", "//debug", "/debug/"] {
                let (status, body) = ask_of(pages.clone(), Method::GET, path, from).await;
                assert!(
                    expected == 200 || (status != 200 && body != "open"),
                    "{path} from {from:?} at {own}: {status}"
                );
            }
            assert_eq!(
                ask_of(pages.clone(), Method::GET, "/debug", from).await.0,
                expected,
                "{from:?} at {own}"
            );
            assert_eq!(ask_of(pages, Method::GET, "/metrics", from).await.0, 200);
        }
    }

    #[tokio::test]
    async fn all_clients_read_the_log_level_and_local_ones_change_it() {
        let (state, _log) = state();
        let remote = "10.0.0.1:1";
        assert_eq!(ask(&state, Method::POST, "/log?level=warn", remote).await.0, 403);
        assert_eq!(ask(&state, Method::GET, "/log", remote).await, (200, "info\n".to_owned()));
        assert_eq!(ask(&state, Method::PUT, "/log?level=warn", LOCAL).await, (200, "warn\n".to_owned()));
        assert_eq!(ask(&state, Method::POST, "/log?level=debug", "[::ffff:127.0.0.1]:1").await.0, 200);
        assert_eq!(ask(&state, Method::POST, "/log?level=loud", LOCAL).await.0, 400);
        assert_eq!(ask(&state, Method::POST, "/log", LOCAL).await.0, 400);
        assert_eq!(ask(&state, Method::GET, "/log", remote).await, (200, "debug\n".to_owned()));
    }
}
