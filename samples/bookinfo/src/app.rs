//! Runs one service: socket, connections, and an orderly end.
//!
//! On SIGTERM the service keeps accepting for a moment and asks clients to close their connections, so that no request
//! is interrupted. Then it stops accepting and completes running requests.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::response::{self, HttpResponse};
use crate::role::Service;

/// Binds, serves until SIGTERM or Ctrl-C, and completes running requests.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}; choose another --port or --address", config.listen))?;
    let place = listener.local_addr().context("cannot read the address listened on")?;
    println!("{} {} as {} listens on {place}", config.role.name(), config.version, config.pod);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    serve(listener, Service::of(&config), stop, config.shutdown_delay).await;
    Ok(())
}

/// Serves on `listener` until `stop`, then for another `delay`, then completes running requests.
pub async fn serve(listener: TcpListener, service: Service, stop: impl Future<Output = ()>, delay: Duration) {
    let shared = Arc::new(Shared { service, leaving: AtomicBool::new(false) });
    let graceful = GracefulShutdown::new();
    accept(&listener, &shared, &graceful, stop).await;
    shared.leaving.store(true, Ordering::Relaxed);
    accept(&listener, &shared, &graceful, tokio::time::sleep(delay)).await;
    drop(listener);
    graceful.shutdown().await;
}

struct Shared {
    service: Service,
    leaving: AtomicBool,
}

async fn accept(
    listener: &TcpListener,
    shared: &Arc<Shared>,
    graceful: &GracefulShutdown,
    until: impl Future<Output = ()>,
) {
    let mut until = pin!(until);
    loop {
        let accepted = tokio::select! {
            () = &mut until => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => connection(stream, shared.clone(), graceful),
            // Most likely there are no file descriptors left. Running requests must end before more can start.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

fn connection(stream: TcpStream, shared: Arc<Shared>, graceful: &GracefulShutdown) {
    // Without this, small responses may wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(respond(&shared, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let watched = graceful.watch(connection);
    tokio::spawn(async move {
        // A client that disconnects during a request is not an error.
        let _ = watched.await;
    });
}

async fn respond(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let version = request.version();
    let (head, body) = request.into_parts();
    let mut response = match Limited::new(body, LONGEST_BODY).collect().await {
        Ok(body) => shared.service.respond(Request::from_parts(head, body.to_bytes())).await,
        Err(error) => unreadable(&*error),
    };
    if shared.leaving.load(Ordering::Relaxed) && version < Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(Full::new)
}

fn unreadable(error: &(dyn std::error::Error + 'static)) -> HttpResponse {
    if error.is::<LengthLimitError>() {
        response::refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 64 KiB")
    } else {
        response::refusal(StatusCode::BAD_REQUEST, "the body cannot be read")
    }
}

const LONGEST_BODY: usize = 64 << 10;
const BACK_OFF: Duration = Duration::from_millis(100);
