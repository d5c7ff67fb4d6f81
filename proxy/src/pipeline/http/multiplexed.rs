//! Serves HTTP/2 on a client's connection: applies limits, and closes the connection if the client floods it.

use super::body::ResponseBody;
use super::headers::strip_hop_by_hop;
use super::request;
use super::survey::Survey;
use crate::http1::date;
use crate::http2::Body;
use crate::http2::server::{Connection, Reply, Settings};
use crate::io::{Monitor, Stream};
use crate::pipeline::downstream::Downstream;
use crate::pipeline::live::State;
use crate::send::Incoming;
use http::{HeaderValue, Request, Response, header};
use http_body::Body as _;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, ready};

/// Serves a connection until it ends.
pub(super) async fn serve(stream: Stream, connection: Rc<Downstream>) {
    let model = &connection.http().model;
    let settings = Settings {
        max_streams: model.max_concurrent_streams,
        max_headers: model.max_headers_kib * 1024,
        // As for HTTP/1: an idle stream times out, and so does one whose head does not arrive.
        head_timeout: model.headers_timeout.or(model.stream_idle_timeout),
    };
    let mut serving = Connection::new(stream, settings);
    let monitor = serving.monitor().clone();
    let live = &connection.live;
    poll_fn(|context| {
        match live.state(context) {
            State::Cut => {
                if live.counts_no_resets() {
                    monitor.end();
                    // Anything that cannot be sent in one step is dropped.
                    let _ = serving.poll_next(context);
                }
                return Poll::Ready(());
            }
            State::Closing => serving.close(),
            _ => {}
        }
        while let Some((request, reply)) = ready!(serving.poll_next(context)) {
            begin(&connection, request, reply);
        }
        Poll::Ready(())
    })
    .await;
    live.stop_counting_resets();
    report(&connection, &monitor);
}

/// Handles a request in its own task, which ends if its stream is idle for too long.
fn begin(connection: &Rc<Downstream>, request: Request<Body>, reply: Reply) {
    let live = connection.live.clone();
    let watch = live.streams.add(connection.thread.coarse());
    let connection = connection.clone();
    // Boxed, because a future is moved several times before it runs as a task, and this one is large.
    let mut stream = Box::pin(async move { reply.send(pin!(respond(connection, request))).await });
    tokio::task::spawn_local(async move {
        let silent = poll_fn(|context| {
            if watch.is_silent(context) {
                return Poll::Ready(true);
            }
            live.streams.step(&watch, || stream.as_mut().poll(context)).map(|()| false)
        });
        if silent.await {
            live.drop_idle_stream(stream);
        }
    });
}

async fn respond(connection: Rc<Downstream>, request: Request<Body>) -> Response<ResponseBody> {
    let mut response = request::handle(connection.clone(), request.map(Incoming::from)).await;
    complete(&connection, &mut response);
    response
}

/// Adds headers that responses carry in any HTTP version, and removes those that HTTP/2 does not allow.
fn complete(connection: &Downstream, response: &mut Response<ResponseBody>) {
    let body = response.body();
    let length = if body.is_end_stream() { None } else { body.size_hint().exact() };
    let headers = response.headers_mut();
    let seen = Survey::of(headers);
    strip_hop_by_hop(headers, seen, false);
    if !headers.contains_key(header::DATE) {
        let thread = &connection.thread;
        let date = date::of(thread.wall(thread.coarse()));
        headers.extend(HeaderValue::from_bytes(&date).map(|date| (header::DATE, date)));
    }
    if let Some(length) = length.filter(|_| !headers.contains_key(header::CONTENT_LENGTH)) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn report(connection: &Downstream, monitor: &Monitor) {
    if let Some(frames) = monitor.flood() {
        connection.listener_stats().downstream_cx_http2_flood.add(1);
        let (listener, peer) = (&connection.live.listener, connection.peer);
        tracing::debug!(%listener, %peer, frames, "ended an HTTP/2 connection that its client floods with frames");
    }
}
