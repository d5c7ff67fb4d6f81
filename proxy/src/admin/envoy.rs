//! Envoy's administration pages, for people and for the tools that read them.

use super::state::{Admin, Command};
use super::{certs, clusters, dump, listeners, stats};
use crate::io::{now, uptime};
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::SystemTime;

type Parameters = Query<HashMap<String, String>>;

/// The pages on the administration port.
pub fn envoy(admin: Admin) -> Router {
    Router::new()
        .route("/", get(async || help()))
        .route("/help", get(async || help()))
        .route("/config_dump", get(config_dump))
        .route("/clusters", get(cluster_page))
        .route("/listeners", get(listener_page))
        .route("/certs", get(cert_page))
        .route("/stats", get(stat_page))
        .route("/stats/prometheus", get(prometheus))
        .route("/ready", get(ready))
        .route("/server_info", get(server_info))
        .route("/memory", get(memory))
        .route("/logging", post(logging))
        .route("/drain_listeners", post(drain_listeners))
        .route("/quitquitquit", post(quit))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown)
        .with_state(admin)
}

fn help() -> String {
    let lines = PAGES.iter().map(|(path, what)| format!("  {path}: {what}\n"));
    format!("admin commands are:\n{}", lines.collect::<String>())
}

async fn unknown() -> Response {
    (StatusCode::NOT_FOUND, format!("invalid path. {}", help())).into_response()
}

async fn wrong_method(uri: Uri) -> Response {
    let posts = POSTS.contains(&uri.path());
    let method = if posts { "POST" } else { "GET" };
    (StatusCode::METHOD_NOT_ALLOWED, format!("Method Not Allowed: use {method} for {}\n", uri.path()))
        .into_response()
}

/// Whether a parameter is set, as `?graceful` or `?graceful=true`.
fn flag(parameters: &HashMap<String, String>, name: &str) -> bool {
    parameters.get(name).is_some_and(|value| !matches!(value.as_str(), "false" | "0"))
}

/// Renders the dump on a thread of its own, whose memory returns to the system when the thread ends: a dump briefly
/// takes megabytes, in a process that otherwise uses few.
async fn config_dump(State(admin): State<Admin>, Query(parameters): Parameters) -> Response {
    let (sender, page) = tokio::sync::oneshot::channel();
    let work = move || {
        let dump = dump::config_dump(&admin.shared, &parameters);
        let _ = sender.send(dump.map(|dump| serde_json::to_string_pretty(&dump).unwrap_or_default() + "\n"));
    };
    if let Err(error) = std::thread::Builder::new().name("dump".to_owned()).spawn(work) {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("no thread for the dump: {error}\n"))
            .into_response();
    }
    match page.await {
        Ok(Ok(page)) => ([(header::CONTENT_TYPE, "application/json")], page).into_response(),
        Ok(Err((status, reason))) => (status, reason + "\n").into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the dump failed\n").into_response(),
    }
}

fn pretty(value: &Value) -> Response {
    let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

async fn cluster_page(State(admin): State<Admin>, Query(parameters): Parameters) -> Response {
    let snapshot = admin.shared.seams.snapshot.borrow().clone();
    let stats = admin.shared.seams.telemetry.stats();
    let statuses = clusters::statuses(&snapshot, &stats, uptime(now()));
    match parameters.get("format").map(String::as_str) {
        Some("json") => pretty(&clusters::json(&statuses)),
        _ => clusters::text(&statuses).into_response(),
    }
}

async fn listener_page(State(admin): State<Admin>, Query(parameters): Parameters) -> Response {
    let bound = admin.shared.bound.all();
    match parameters.get("format").map(String::as_str) {
        Some("json") => pretty(&listeners::json(&bound)),
        _ => listeners::text(&bound).into_response(),
    }
}

#[allow(clippy::disallowed_methods, reason = "a page shows how long certificates are still valid")]
async fn cert_page(State(admin): State<Admin>) -> Response {
    pretty(&certs::json(&admin.shared.seams.credentials.dump(), SystemTime::now()))
}

async fn stat_page(State(admin): State<Admin>, Query(parameters): Parameters) -> Response {
    admin.refresh();
    let telemetry = &admin.shared.seams.telemetry;
    if parameters.get("format").is_some_and(|format| format == "prometheus") {
        return prometheus_page(&admin);
    }
    let selection = match stats::Selection::parse(
        parameters.get("filter").map(String::as_str),
        flag(&parameters, "usedonly"),
    ) {
        Ok(selection) => selection,
        Err(reason) => return (StatusCode::BAD_REQUEST, reason + "\n").into_response(),
    };
    let stats = selection.select(telemetry.stats());
    match parameters.get("format").map(String::as_str) {
        Some("json") => pretty(&stats::json(&stats)),
        _ => stats::text(&stats).into_response(),
    }
}

async fn prometheus(State(admin): State<Admin>) -> Response {
    prometheus_page(&admin)
}

pub(super) fn prometheus_page(admin: &Admin) -> Response {
    admin.refresh();
    let kind = [(header::CONTENT_TYPE, api::process::metrics::CONTENT_TYPE)];
    (kind, admin.shared.seams.telemetry.render()).into_response()
}

async fn ready(State(admin): State<Admin>) -> Response {
    let state = admin.state();
    let status = if state == "LIVE" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{state}\n")).into_response()
}

async fn server_info(State(admin): State<Admin>) -> Response {
    let shared = &admin.shared;
    let uptime = format!("{}s", shared.started.elapsed().as_secs());
    pretty(&json!({
        "version": concat!("ostria-proxy/", env!("CARGO_PKG_VERSION"), "/Clean/RELEASE/rustls"),
        "state": admin.state(),
        "hot_restart_version": "disabled",
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": {"concurrency": shared.concurrency, "mode": "Serve", "log_level": shared.log.current()},
        "node": {
            "id": shared.node.id,
            "cluster": shared.node.cluster,
            "metadata": shared.node.metadata,
            "user_agent_name": shared.node.user_agent,
        },
    }))
}

async fn memory() -> Json<Value> {
    let status = tokio::fs::read_to_string("/proc/self/status").await.unwrap_or_default();
    let bytes = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0);
        (kibibytes * 1024).to_string()
    };
    Json(json!({
        "allocated": bytes("RssAnon:"),
        "heap_size": bytes("VmData:"),
        "total_physical_bytes": bytes("VmRSS:"),
    }))
}

async fn logging(State(admin): State<Admin>, Query(parameters): Parameters) -> Response {
    let Some(level) = parameters.get("level") else {
        if parameters.is_empty() {
            return format!("active loggers:\n  all: {}\n", admin.shared.log.current()).into_response();
        }
        let reason =
            "name the level: /logging?level=debug, or by part: /logging?level=warn,proxy::control=debug\n";
        return (StatusCode::BAD_REQUEST, reason).into_response();
    };
    let level = match level.as_str() {
        "warning" => "warn",
        "critical" => "error",
        other => other,
    };
    match admin.shared.log.set(level) {
        Ok(()) => format!("active loggers:\n  all: {}\n", admin.shared.log.current()).into_response(),
        Err(reason) => (StatusCode::BAD_REQUEST, reason + "\n").into_response(),
    }
}

async fn drain_listeners(State(admin): State<Admin>, Query(parameters): Parameters) -> &'static str {
    let inbound_only = flag(&parameters, "inboundonly");
    // Open connections may finish either way; `graceful` keeps listeners open for clients that have not learned of
    // the drain yet.
    let graceful = flag(&parameters, "graceful");
    let _ = admin.shared.commands.send(Command::Drain { inbound_only, graceful, departs: false });
    "OK\n"
}

async fn quit(State(admin): State<Admin>) -> &'static str {
    let _ = admin.shared.commands.send(Command::Quit);
    "OK\n"
}

const POSTS: [&str; 3] = ["/logging", "/drain_listeners", "/quitquitquit"];
const PAGES: [(&str, &str); 13] = [
    ("/certs", "certificates and roots with their names and dates"),
    ("/clusters", "clusters and their endpoints (format=json)"),
    ("/config_dump", "the configuration in force (resource=, mask of names: name_regex=, include_eds)"),
    ("/drain_listeners", "POST: stop taking connections (inboundonly, graceful)"),
    ("/help", "this list"),
    ("/listeners", "addresses of listeners (format=json)"),
    ("/logging", "POST: show or change the log level (level=)"),
    ("/memory", "memory of the process"),
    ("/quitquitquit", "POST: end the process"),
    ("/ready", "LIVE when ready, 503 otherwise"),
    ("/server_info", "version, state, node, uptime"),
    ("/stats", "counters (filter=, usedonly, format=json|prometheus)"),
    ("/stats/prometheus", "metrics in Prometheus' text format"),
];
