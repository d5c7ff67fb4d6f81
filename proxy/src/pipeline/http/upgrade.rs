//! Connections that change their protocol, such as WebSocket: after 101 the bytes of both sides are joined.

use super::body::ResponseBody;
use super::exchange::Exchange;
use crate::flow::flags::Flags;
use crate::http1::Upgraded;
use crate::io::copy::{End, Progress, both_ways};
use crate::pipeline::live::State;
use crate::pipeline::refusal::Refusal;
use crate::pipeline::upstream::{Busy, Permit};
use crate::send::{Incoming, Returned};
use http::request::Parts;
use http::{Response, Version, header};
use std::rc::Rc;
use std::task::Poll;
use tokio::sync::oneshot;

/// One side's stream, once it has left HTTP.
pub(super) type Upgrading = oneshot::Receiver<Upgraded>;

/// Whether the client asks for an upgrade that the listener allows; one that is not allowed is refused, but for `h2c`,
/// which a server may ignore.
pub(super) fn wanted(parts: &Parts, allowed: &[String]) -> Result<bool, Refusal> {
    if parts.version != Version::HTTP_11 {
        return Ok(false);
    }
    let Some(asked) = parts.headers.get(header::UPGRADE).and_then(|v| v.to_str().ok()) else {
        return Ok(false);
    };
    let listed = parts.headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let mut listed = listed.flat_map(|v| v.split(','));
    if !listed.any(|token| token.trim().eq_ignore_ascii_case("upgrade")) {
        return Ok(false);
    }
    if allowed.iter().any(|known| known.eq_ignore_ascii_case(asked)) {
        return Ok(true);
    }
    let ignored = asked.split(',').any(|token| token.trim().eq_ignore_ascii_case("h2c"));
    if ignored { Ok(false) } else { Err(Refusal::new(403, "", Flags::NONE, "upgrade_failed")) }
}

/// The stream of the message that asks for, or agrees to, another protocol.
pub(super) fn switched(body: &Incoming) -> Option<Upgrading> {
    match body {
        Incoming::Http1(body) => body.upgrade(),
        Incoming::Http2(_) => None,
    }
}

/// Joins both sides, and gives back the response that tells the client.
pub(super) fn join(
    exchange: &Rc<Exchange>,
    client: Upgrading,
    response: Response<Incoming>,
    held: (Returned, Busy, Permit),
) -> Response<ResponseBody> {
    let (parts, body) = response.into_parts();
    let upstream = switched(&body);
    drop(body);
    let exchange = exchange.clone();
    tokio::task::spawn_local(async move {
        let _held = held;
        let Some(upstream) = upstream else { return };
        let (Ok(mut down), Ok(mut up)) = tokio::join!(client, upstream) else { return };
        let progress = Progress::default();
        let live = exchange.connection.live.clone();
        let thread = exchange.connection.thread.clone();
        let copying = both_ways(&mut down, &mut up, &progress);
        let mut copying = std::pin::pin!(copying);
        let flags = std::future::poll_fn(|context| {
            live.touch(thread.coarse());
            if live.state(context) == State::Cut {
                return Poll::Ready(Flags::NONE);
            }
            copying.as_mut().poll(context).map(|result| match result {
                Ok(()) => Flags::NONE,
                Err((End::Down, _)) => Flags::DC,
                Err((End::Up, _)) => Flags::UC,
            })
        })
        .await;
        exchange.flag(flags);
        exchange.moved(progress.down(), progress.up());
        exchange.finish();
    });
    Response::from_parts(parts, ResponseBody::none())
}
