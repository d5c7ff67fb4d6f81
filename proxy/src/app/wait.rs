//! Sends requests to the proxy in the same pod: waits until it is ready, for a container that must not start before
//! it, and announces the pod's end, for a lifecycle hook.

use super::failure::Failure;
use crate::config::args::WaitArgs;
use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Returns when the page responds with success.
pub(super) fn until_ready(args: &WaitArgs) -> Result<(), Failure> {
    let url: Uri = args
        .url
        .parse()
        .map_err(|error| Failure::Settings(vec![format!("--url `{}` is not a URL: {error}", args.url)]))?;
    let runtime = runtime()?;
    let period = Duration::from_millis(args.period_millis.max(1));
    let ready = async {
        let mut last = String::from("no request was sent");
        let attempts = async {
            loop {
                match tokio::time::timeout(ATTEMPT, request(Method::GET, &url)).await {
                    Ok(Ok(())) => return,
                    Ok(Err(reason)) => last = reason,
                    Err(_) => "no response".clone_into(&mut last),
                }
                tokio::time::sleep(period).await;
            }
        };
        let limit = Duration::from_secs(args.timeout_seconds);
        let waited = tokio::time::timeout(limit, attempts).await;
        waited.map_err(|_| {
            Failure::Start(format!(
                "the proxy is not ready after {} s: {}: {last}",
                args.timeout_seconds, args.url
            ))
        })
    };
    runtime.block_on(ready)
}

/// Makes the proxy drain its inbound connections.
pub(super) fn drain(port: u16) -> Result<(), Failure> {
    let url: Uri =
        format!("http://127.0.0.1:{port}/drain?inboundonly&departs").parse().expect("a port fits into a URL");
    let result =
        runtime()?.block_on(async { tokio::time::timeout(ATTEMPT, request(Method::POST, &url)).await });
    let reason = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(reason)) => reason,
        Err(_) => "no response".to_owned(),
    };
    Err(Failure::Start(format!("the proxy does not drain: {url}: {reason}")))
}

fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Start(format!("no runtime: {error}")))
}

async fn request(method: Method, url: &Uri) -> Result<(), String> {
    let host = url.host().ok_or("the URL has no host")?;
    let text = |error: &dyn std::error::Error| error.to_string();
    let stream =
        TcpStream::connect((host, url.port_u16().unwrap_or(80))).await.map_err(|error| text(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, host)
        .body(Empty::<Bytes>::new())
        .map_err(|error| text(&error))?;
    let work = async {
        let response = sender.send_request(request).await.map_err(|error| text(&error))?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(format!("it responds with {}", response.status()))
        }
    };
    let mut work = std::pin::pin!(work);
    tokio::select! {
        result = &mut work => result,
        _ = connection => work.await,
    }
}

const ATTEMPT: Duration = Duration::from_secs(3);
