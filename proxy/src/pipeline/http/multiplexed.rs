//! HTTP/2 on a client's connection: its limits, and its end when the client floods or abuses it.

use super::request;
use crate::io::{Guarded, Stream, TokioTimer, Warden};
use crate::pipeline::downstream::Downstream;
use crate::pipeline::live::State;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// Serves a connection to its end.
pub(super) async fn serve(stream: Stream, connection: Rc<Downstream>) {
    let settings = &connection.http().model;
    let mut builder = http2::Builder::new(Streams(connection.clone()));
    builder
        .timer(TokioTimer)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 4)
        .max_frame_size(FRAME)
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_header_list_size(settings.max_headers_kib * 1024)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(RESET_BEFORE_SEEN)
        .max_local_error_reset_streams(BROKEN_STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_ANSWER);
    let stream = Guarded::server(stream);
    let warden = stream.warden();
    let answering = connection.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let connection = answering.clone();
        // Boxed, because the future of a stream moves several times until it is a task.
        Box::pin(
            async move { Ok::<_, Infallible>(request::answer(connection, request.map(Into::into)).await) },
        )
    });
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let live = &connection.live;
    let mut told = false;
    std::future::poll_fn(|context| {
        match live.state(context) {
            State::Cut => {
                if live.is_over() {
                    warden.dismiss();
                    // What it cannot say in one step is not said.
                    let _ = serving.as_mut().poll(context);
                }
                return Poll::Ready(());
            }
            State::Closing if !told => {
                told = true;
                serving.as_mut().graceful_shutdown();
            }
            _ => {}
        }
        serving.as_mut().poll(context).map(drop)
    })
    .await;
    live.over();
    report(&connection, &warden);
}

/// Runs each stream as a task of its own, which ends when the client lets it stand still.
#[derive(Clone)]
struct Streams(Rc<Downstream>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let live = self.0.live.clone();
        let watch = live.streams.add(self.0.thread.coarse());
        tokio::task::spawn_local(async move {
            let mut stream = Box::pin(stream);
            let silent = std::future::poll_fn(|context| {
                if watch.is_silent(context) {
                    return Poll::Ready(true);
                }
                live.streams.step(&watch, || stream.as_mut().poll(context)).map(|()| false)
            });
            if silent.await {
                live.silence(stream);
            }
        });
    }
}

fn report(connection: &Downstream, warden: &Warden) {
    if let Some(frames) = warden.flood() {
        connection.listener_stats().downstream_cx_http2_flood.add(1);
        let (listener, peer) = (&connection.live.listener, connection.peer);
        tracing::debug!(%listener, %peer, frames, "ended an HTTP/2 connection that its client floods with frames");
    }
}

const WINDOW: u32 = 1 << 20;
/// What HTTP/2 begins with: one record of TLS, too.
const FRAME: u32 = 16 * 1024;
/// Bytes of a response that a stream holds for a client that does not read.
const SEND_BUFFER: usize = 400 * 1024;
const PING: Duration = Duration::from_secs(60);
const PING_ANSWER: Duration = Duration::from_secs(20);
/// Streams that the client has reset before we had a look at them, while they wait for that look.
const RESET_BEFORE_SEEN: usize = 20;
/// Streams of a connection that we had to reset because they broke a rule.
const BROKEN_STREAMS: usize = 1024;
