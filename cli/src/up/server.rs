//! The supervisor's socket: HTTP with JSON for the verbs, and a byte stream for `exec`.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::process::serve;
use api::process::serve::connections::Limits;
use api::resource::verdict::Wait;
use axum::body::{Body, Bytes};
use axum::extract::State as Extracted;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::Value;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::arguments::DryRun;
use crate::exchange::{MOST_BODY, RequestError};
use crate::up::attach::ContainerRef;
use crate::up::context::Context;
use crate::up::look::LookError;
use crate::up::sandbox::Sandbox;
use crate::up::world::PodKey;
use crate::up::{attach, change, describe, gateway, look, plane, settle, stream, watch};
use crate::wire::{
    Apply, ChangeResponse, EventQuery, ExecQuery, LogQuery, PROGRAMS, ProxyQuery, Query, Removal, Settling,
    Status, Target,
};

/// State of the handlers.
#[derive(Clone)]
struct ServerState {
    context: Arc<Context>,
    gateway: String,
    down: CancellationToken,
}

/// Serves until the runtime ends. `down` is cancelled when a client asks the mesh to end.
pub fn serve(context: &Arc<Context>, gateway: String, down: CancellationToken) -> std::io::Result<()> {
    let path = context.state.socket();
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
    let router = Router::new()
        .route("/status", get(status))
        .route("/get", post(list))
        .route("/describe", post(described))
        .route("/watch", post(watched))
        .route("/find", post(find))
        .route("/events", post(events))
        .route("/history", post(history))
        .route("/apply", post(apply))
        .route("/delete", post(delete))
        .route("/settle", post(settled))
        .route("/logs", post(logs))
        .route("/exec", post(exec))
        .route("/proxy", post(proxy))
        .route("/pilot", post(pilot))
        .route("/down", post(end))
        .with_state(ServerState { context: Arc::clone(context), gateway, down });
    // The task ends with the runtime.
    tokio::spawn(serve::http_within(Limits::local(), listener, router, CancellationToken::new()));
    Ok(())
}

async fn status(Extracted(known): Extracted<ServerState>) -> Json<Status> {
    let (proxies, (refused, warnings)) = tokio::join!(plane::sync(), plane::findings());
    let served = gateway::is_served(&known.context.shared.directory());
    Json(Status {
        pid: std::process::id(),
        gateway: if served { known.gateway.clone() } else { String::new() },
        pods: look::lines(&known.context),
        proxies,
        refused,
        warnings,
        control: Vec::new(),
    })
}

async fn list(Extracted(known): Extracted<ServerState>, Json(query): Json<Query>) -> Response {
    match look::list(&known.context, &query) {
        Ok(mut objects) => {
            if look::is_checked(&query) {
                // Without a response of pilot, the objects are returned without verdicts.
                let verdicts = plane::verdicts(look::kind_name(&query), query.namespace.as_deref()).await;
                look::judge(&mut objects, &verdicts.unwrap_or_default());
            }
            Json(objects).into_response()
        }
        Err(reason) => missing(&reason),
    }
}

async fn described(Extracted(known): Extracted<ServerState>, Json(query): Json<Query>) -> Response {
    match describe::describe(&known.context, &query).await {
        Ok(descriptions) => Json(descriptions).into_response(),
        Err(error) => missing(&error),
    }
}

async fn watched(Extracted(known): Extracted<ServerState>, Json(query): Json<Query>) -> Response {
    if let Err(error) = look::list(&known.context, &query) {
        return missing(&error);
    }
    streamed(|sender| watch::run(known.context, query, sender))
}

async fn find(Extracted(known): Extracted<ServerState>, Json(target): Json<Target>) -> Response {
    match look::find(&known.context, &target) {
        Ok(((namespace, pod), container)) => {
            Json(Target { namespace, pod, container: Some(container) }).into_response()
        }
        Err(error) => missing(&error),
    }
}

async fn events(Extracted(known): Extracted<ServerState>, Json(query): Json<EventQuery>) -> Json<Vec<Value>> {
    Json(look::events(&known.context, &query))
}

async fn history(Extracted(known): Extracted<ServerState>, Json(query): Json<Query>) -> Response {
    match look::history(&known.context, &query) {
        Ok(revisions) => Json(revisions).into_response(),
        Err(error) => missing(&error),
    }
}

/// A response whose body is produced by a task.
fn streamed<F: Future<Output = ()> + Send + 'static>(
    task: impl FnOnce(mpsc::Sender<std::io::Result<Bytes>>) -> F,
) -> Response {
    let (sender, mut receiver) = mpsc::channel(8);
    tokio::spawn(task(sender));
    Body::from_stream(futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx))).into_response()
}

async fn apply(Extracted(known): Extracted<ServerState>, Json(request): Json<Apply>) -> Json<ChangeResponse> {
    let mut response = change::apply(&known.context, &request).await;
    if response.problems.is_empty() && request.dry_run == DryRun::None {
        settle::written(&known.context, &mut response).await;
    }
    Json(response)
}

async fn settled(Extracted(known): Extracted<ServerState>, Json(wait): Json<Wait>) -> Json<Settling> {
    Json(settle::settle(&known.context, &wait).await)
}

async fn delete(
    Extracted(known): Extracted<ServerState>,
    Json(request): Json<Removal>,
) -> Json<ChangeResponse> {
    let mut response = change::delete(&known.context, &request);
    if response.problems.is_empty() {
        settle::written(&known.context, &mut response).await;
    }
    Json(response)
}

async fn end(Extracted(known): Extracted<ServerState>) -> StatusCode {
    known.down.cancel();
    StatusCode::ACCEPTED
}

async fn logs(Extracted(known): Extracted<ServerState>, Json(query): Json<LogQuery>) -> Response {
    let (key, container) = match look::find(&known.context, &query.target) {
        Ok(found) => found,
        Err(reason) => return missing(&reason),
    };
    let folder = known.context.state.pod_logs(&key.0, &key.1);
    let mut runs = runs(&folder, &container);
    if query.previous {
        runs.pop();
        if runs.is_empty() {
            return missing(&LookError::NoLog { container, pod: key.1, what: "restarted" });
        }
    }
    let Some(file) = runs.last().cloned() else {
        return missing(&LookError::NoLog { container, pod: key.1, what: "started" });
    };
    streamed(|sender| tail(known.context, key, container, file, query, sender))
}

/// The log files of a container's runs, the last run last.
fn runs(folder: &std::path::Path, container: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix(container)?.strip_prefix('-')?.strip_suffix(".log")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| folder.join(format!("{container}-{number}.log"))).collect()
}

async fn tail(
    context: Arc<Context>,
    key: PodKey,
    container: String,
    mut path: PathBuf,
    query: LogQuery,
    sender: mpsc::Sender<std::io::Result<Bytes>>,
) {
    let recent = query.since.map_or(0, |moment| context.log_marks.since(&path, moment));
    let mut position = query.tail.map_or(0, |lines| beginning(&path, lines)).max(recent);
    loop {
        match read(&path, position) {
            Ok(bytes) if !bytes.is_empty() => {
                position += bytes.len() as u64;
                if sender.send(Ok(bytes.into())).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(_) => {}
            Err(error) => {
                // The client gets the error; if it has gone, nothing is left to do.
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
        if !query.follow || sender.is_closed() || !context.shared.read().pods.contains_key(&key) {
            return;
        }
        let folder = context.state.pod_logs(&key.0, &key.1);
        if let Some(next) = runs(&folder, &container).pop().filter(|next| *next != path) {
            path = next;
            position = 0;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn read(path: &std::path::Path, position: u64) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(position))?;
    let mut bytes = Vec::new();
    file.take(64 * 1024).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The offset at which the last lines of a file begin. Files may be long, so this reads from the end.
fn beginning(path: &std::path::Path, lines: usize) -> u64 {
    let Ok(mut file) = std::fs::File::open(path) else { return 0 };
    let end = file.metadata().map_or(0, |found| found.len());
    if lines == 0 {
        return end;
    }
    let (mut block, mut start, mut breaks) = (vec![0; BLOCK], end, 0);
    while start > 0 {
        let length = start.min(BLOCK as u64);
        start -= length;
        let part = &mut block[..usize::try_from(length).unwrap_or(BLOCK)];
        if file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(part)).is_err() {
            return 0;
        }
        for index in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(i, _)| i as u64)
        {
            // A line break at the end of the file belongs to the last line.
            breaks += usize::from(start + index + 1 < end);
            if breaks == lines {
                return start + index + 1;
            }
        }
    }
    0
}

async fn exec(Extracted(known): Extracted<ServerState>, request: axum::extract::Request) -> Response {
    let query = request.headers().get("x-exec").and_then(|header| header.to_str().ok());
    let Some(query) = query.and_then(|text| serde_json::from_str::<ExecQuery>(text).ok()) else {
        return (StatusCode::BAD_REQUEST, "the exec request is malformed").into_response();
    };
    let (key, container) = match look::find(&known.context, &query.target) {
        Ok(found) => found,
        Err(reason) => return missing(&reason),
    };
    let (pod, container, sandbox, address) = match unit(&known.context, &key, &container) {
        Ok(unit) => unit,
        Err(reason) => return missing(&reason),
    };
    let container_ref = ContainerRef { pod: &pod, container: &container, sandbox: &sandbox, address };
    match stream::begin(&known.context, container_ref, &query).await {
        Ok(running) => {
            tokio::spawn(async move {
                if let Ok(upgraded) = hyper::upgrade::on(request).await {
                    stream::pass(upgraded, running, &sandbox).await;
                }
            });
            let upgrade = [("connection", "upgrade"), ("upgrade", "ostria-exec")];
            (StatusCode::SWITCHING_PROTOCOLS, upgrade).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Sends a request to the admin interface of a pod's proxy, from inside the pod.
async fn proxy(Extracted(known): Extracted<ServerState>, Json(query): Json<ProxyQuery>) -> Response {
    let found = look::find_proxy(&known.context, query.target)
        .and_then(|(key, name)| unit(&known.context, &key, &name));
    let (pod, container, sandbox, address) = match found {
        Ok(unit) => unit,
        Err(reason) => return missing(&reason),
    };
    let container_ref = ContainerRef { pod: &pod, container: &container, sandbox: &sandbox, address };
    let own = std::env::current_exe()
        .ok()
        .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        // The kernel marks the path of a program that was replaced while it runs, as by an update.
        .map(|name| name.trim_end_matches(" (deleted)").to_owned());
    let program = format!("{PROGRAMS}/{}", own.unwrap_or_else(|| "ostria".into()));
    let mut command = vec![program, "fetch".into(), query.page];
    command.extend(query.post.then(|| "--post".into()));
    match attach::run(&known.context, container_ref, &command, MOST_BODY + 1).await {
        Ok((0, dump)) if dump.len() > MOST_BODY => {
            (StatusCode::BAD_GATEWAY, format!("the dump has more than {} MiB", MOST_BODY >> 20))
                .into_response()
        }
        Ok((0, dump)) => ([("content-type", "application/json")], dump).into_response(),
        Ok((_, words)) => {
            (StatusCode::BAD_GATEWAY, String::from_utf8_lossy(&words).into_owned()).into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// Returns the configuration that pilot holds for a pod's proxy.
async fn pilot(Extracted(known): Extracted<ServerState>, Json(target): Json<Target>) -> Response {
    let (namespace, pod) = match look::find_proxy(&known.context, target) {
        Ok((key, _)) => key,
        Err(error) => return missing(&error),
    };
    match plane::config_dump(&namespace, &pod).await {
        Ok(dump) => ([("content-type", "application/json")], dump).into_response(),
        Err(RequestError::Status { status: StatusCode::NOT_FOUND, .. }) => {
            (StatusCode::NOT_FOUND, format!("the proxy of pod {pod} is not connected to pilot"))
                .into_response()
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("pilot {error}")).into_response(),
    }
}

fn unit(
    context: &Context,
    key: &PodKey,
    name: &str,
) -> Result<(Pod, Container, Sandbox, std::net::Ipv4Addr), LookError> {
    let world = context.shared.read();
    let entry = world.pods.get(key).ok_or(LookError::Gone)?;
    let pod: Pod = serde_json::from_value(entry.object.clone()).map_err(|_| LookError::NotStarted)?;
    let spec = pod.spec.as_ref().ok_or(LookError::NotStarted)?;
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let container = all.into_iter().find(|container| container.name == name).cloned();
    let sandbox = entry.sandbox.clone().ok_or(LookError::NotStarted)?;
    let address = entry.address.ok_or(LookError::NotStarted)?;
    Ok((pod, container.ok_or(LookError::Gone)?, sandbox, address))
}

fn missing(error: &LookError) -> Response {
    (StatusCode::NOT_FOUND, error.to_string()).into_response()
}

const BLOCK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_are_found_from_its_end() {
        let long = format!("{}\n", "x".repeat(BLOCK));
        for (text, lines, expected) in [
            ("", 3, 0),
            ("a\nb\nc\n", 0, 6),
            ("a\nb\nc\n", 1, 4),
            ("a\nb\nc", 1, 4),
            ("a\nb\nc\n", 2, 2),
            ("a\nb\nc\n", 9, 0),
            ("\n\n", 1, 1),
            (&format!("a\n{long}b\n"), 2, 2),
            (&format!("a\n{long}b\n"), 1, BLOCK as u64 + 3),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(beginning(file.path(), lines), expected, "{lines} of {} bytes", text.len());
        }
    }
}
