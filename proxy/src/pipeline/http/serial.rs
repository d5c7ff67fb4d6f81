//! Serves HTTP/1 on a client's connection: one request after the other, and responses to malformed ones.

use super::body::ResponseBody;
use super::request;
use crate::flow::refusal::Refusal;
use crate::http1::head::Limits;
use crate::http1::server::{self, Service, Settings};
use crate::http1::{Body, Invalid};
use crate::io::Stream;
use crate::pipeline::downstream::Downstream;
use crate::pipeline::live::State;
use crate::send::Incoming;
use http::request::Parts;
use http::{Request, Response};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::SystemTime;

/// Serves a connection until it ends.
pub(super) async fn serve(stream: Stream, connection: Rc<Downstream>) {
    let model = &connection.http().model;
    let limits =
        Limits { bytes: model.max_headers_kib as usize * 1024, count: model.max_headers_count as usize };
    // An idle stream times out, and so does one whose head does not arrive.
    let settings = Settings { limits, head_timeout: model.headers_timeout.or(model.stream_idle_timeout) };
    let live = connection.live.clone();
    let closing = Rc::new(Cell::new(false));
    let mut serving = pin!(server::serve(stream, settings, Handler { connection, closing: closing.clone() }));
    std::future::poll_fn(|context| {
        match live.state(context) {
            State::Cut => return Poll::Ready(()),
            State::Closing => closing.set(true),
            _ => {}
        }
        serving.as_mut().poll(context)
    })
    .await;
}

struct Handler {
    connection: Rc<Downstream>,
    closing: Rc<Cell<bool>>,
}

impl Service for Handler {
    type Body = ResponseBody;

    fn handle(&self, request: Request<Body>) -> impl Future<Output = Response<ResponseBody>> {
        request::handle(self.connection.clone(), request.map(Incoming::from))
    }

    fn refuse(&self, invalid: Invalid, head: Option<Parts>) -> Response<ResponseBody> {
        let listener = &self.connection.live.listener;
        tracing::debug!(%listener, peer = %self.connection.peer, reason = %invalid, "refused a malformed request");
        let stats = self.connection.listener_stats();
        if invalid != Invalid::Slow {
            stats.downstream_cx_protocol_error.add(1);
        }
        request::refuse(&self.connection, head, Refusal::invalid(invalid))
    }

    fn time(&self) -> SystemTime {
        let thread = &self.connection.thread;
        thread.wall(thread.coarse())
    }

    fn closing(&self) -> bool {
        self.closing.get()
    }
}
