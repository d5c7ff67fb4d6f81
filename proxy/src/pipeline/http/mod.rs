//! HTTP on a client's connection: hyper parses, and each request goes through the stages route, policy, balance, send
//! on its own, while the connection is told to end when its listener goes or the proxy drains.

mod request;

mod forward;

mod attempt;
mod mirror;
mod upgrade;

mod reply;

mod body;

mod exchange;

mod headers;
mod timer;

use super::downstream::Downstream;
use super::live::{Entry, State};
use crate::identify::is_http2;
use crate::io::{LocalExecutor, Stream, TokioTimer};
use api::model::listener::Codec;
use body::ResponseBody;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, connection: Rc<Downstream>) {
    let Some((stream, http2)) = version(stream, connection.http().model.codec).await else { return };
    if http2 {
        connection.live.tell_at_once();
        serve_http2(stream, connection).await;
    } else {
        serve_http1(stream, connection).await;
    }
}

/// Finds out which version the client speaks; `None`: it went away.
async fn version(stream: Stream, codec: Codec) -> Option<(Stream, bool)> {
    match (codec, stream.alpn()) {
        (Codec::Http1, _) | (Codec::Auto, Some(b"http/1.1" | b"http/1.0")) => return Some((stream, false)),
        (Codec::Http2, _) | (Codec::Auto, Some(b"h2")) => return Some((stream, true)),
        (Codec::Auto, _) => {}
    }
    match stream {
        Stream::Plain(mut plain) => {
            let http2 = tokio::time::timeout(GREETING, is_http2(&mut plain)).await.ok()?.ok()?;
            Some((Stream::Plain(plain), http2))
        }
        // Inside TLS without ALPN nothing was looked at yet, and HTTP/1.1 is what such clients speak.
        Stream::Tls(tls) => Some((Stream::Tls(tls), false)),
    }
}

async fn serve_http1(stream: Stream, connection: Rc<Downstream>) {
    let settings = &connection.http().model;
    let mut builder = http1::Builder::new();
    builder.pipeline_flush(true).timer(TokioTimer).header_read_timeout(settings.headers_timeout);
    builder.max_header_size(settings.max_headers_kib as usize * 1024);
    if settings.max_headers_count != HYPER_MAX_HEADERS {
        builder.max_headers(settings.max_headers_count as usize);
    }
    let live = connection.live.clone();
    let service = service_fn(move |request: Request<Incoming>| answer(connection.clone(), request));
    let serving = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    drive(serving, &live, http1::UpgradeableConnection::graceful_shutdown).await;
}

async fn serve_http2(stream: Stream, connection: Rc<Downstream>) {
    let settings = &connection.http().model;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 4)
        .max_frame_size(FRAME)
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(settings.max_headers_kib * 1024)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_ANSWER);
    let live = connection.live.clone();
    let service = service_fn(move |request: Request<Incoming>| answer(connection.clone(), request));
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    drive(serving, &live, http2::Connection::graceful_shutdown).await;
}

async fn answer(
    connection: Rc<Downstream>,
    request: Request<Incoming>,
) -> Result<http::Response<ResponseBody>, Infallible> {
    Ok(request::answer(connection, request).await)
}

/// Drives a connection until it ends by itself or is told to.
async fn drive<C: Future>(serving: C, live: &Entry, close: impl Fn(Pin<&mut C>)) {
    let mut serving = pin!(serving);
    let mut told = false;
    std::future::poll_fn(|context| {
        match live.state(context) {
            State::Cut => return Poll::Ready(()),
            State::Closing if !told => {
                told = true;
                close(serving.as_mut());
            }
            _ => {}
        }
        serving.as_mut().poll(context).map(drop)
    })
    .await;
}

/// What a plain connection may take to show its version.
const GREETING: Duration = Duration::from_secs(60);
/// Beyond this many headers hyper needs to be told, and allocates for each request.
const HYPER_MAX_HEADERS: u32 = 100;
const WINDOW: u32 = 1 << 20;
const FRAME: u32 = 64 * 1024;
const PING: Duration = Duration::from_secs(60);
const PING_ANSWER: Duration = Duration::from_secs(20);
