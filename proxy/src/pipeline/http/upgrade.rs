//! Protocol upgrades, such as WebSocket: after 101 the bytes of both connections are copied.

use super::body::ResponseBody;
use super::exchange::Exchange;
use crate::flow::flags::Flags;
use crate::flow::refusal::Refusal;
use crate::http1::Upgraded;
use crate::http1::switch::Switch;
use crate::io::copy::{End, Progress, both_ways};
use crate::pipeline::live::State;
use crate::pipeline::upstream::{ActiveGuard, Permit};
use crate::send::{Incoming, Returned};
use http::request::Parts;
use http::{Response, Version};
use std::rc::Rc;
use std::task::Poll;
use tokio::sync::oneshot;

/// One side's stream, once it has switched protocols.
pub(super) type Upgrading = oneshot::Receiver<Upgraded>;

/// Whether the client requests an upgrade that the listener allows: a single protocol of the listener's list, in a
/// single header. Other upgrades are refused, except those that clients merely offer and servers may ignore. HTTP/1.0
/// has no upgrades (RFC 9110, 7.8).
pub(super) fn wanted(parts: &Parts, allowed: &[String]) -> Result<bool, Refusal> {
    if parts.version != Version::HTTP_11 {
        return Ok(false);
    }
    match Switch::of(&parts.headers) {
        Switch::None => Ok(false),
        Switch::To(protocol)
            if allowed.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(protocol)) =>
        {
            Ok(true)
        }
        Switch::To(protocol) if offered_in_passing(protocol) => Ok(false),
        Switch::To(_) | Switch::Unclear => Err(Refusal::new(403, "", Flags::NONE, "upgrade_failed")),
    }
}

/// Upgrades to HTTP/2 (Java's own client) and TLS (RFC 2817; Apache's client since 5.4). These clients continue in
/// HTTP/1.1 if the upgrade is ignored; if it were refused, all their requests would fail.
fn offered_in_passing(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2c")
        || protocol.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"tls/"))
}

/// The stream of a message that requests, or accepts, a protocol switch.
pub(super) fn switched(body: &Incoming) -> Option<Upgrading> {
    match body {
        Incoming::Http1(body) => body.upgrade(),
        Incoming::Http2(_) | Incoming::Changed(_) | Incoming::Buffered(_) => None,
    }
}

/// Joins both sides, and returns the 101 response for the client.
pub(super) fn join(
    exchange: &Rc<Exchange>,
    client: Upgrading,
    response: Response<Incoming>,
    held: (Returned, ActiveGuard, Permit),
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
        let mut copying = Box::pin(both_ways(&mut down, &mut up, &progress));
        let (flags, reset) = std::future::poll_fn(|context| {
            live.touch(thread.coarse());
            if live.state(context) == State::Cut {
                return Poll::Ready((Flags::NONE, None));
            }
            copying.as_mut().poll(context).map(|result| match result {
                Ok(()) => (Flags::NONE, None),
                Err((End::Down, _)) => (Flags::DC, Some(End::Up)),
                Err((End::Up, _)) => (Flags::UC, Some(End::Down)),
            })
        })
        .await;
        drop(copying);
        match reset {
            Some(End::Up) => up.reset(),
            Some(End::Down) => down.reset(),
            None => {}
        }
        exchange.flag(flags);
        exchange.count_upgraded(progress.down(), progress.up());
        exchange.finish();
    });
    Response::from_parts(parts, ResponseBody::none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn an_upgrade_must_name_one_protocol_of_the_list() {
        let table: [(Version, &[&str], Result<bool, u16>); 19] = [
            (Version::HTTP_11, &["websocket"], Ok(true)),
            (Version::HTTP_11, &["WebSocket"], Ok(true)),
            (Version::HTTP_11, &["other"], Err(403)),
            (Version::HTTP_11, &["websocket/13"], Err(403)),
            (Version::HTTP_11, &["websocket", "other"], Err(403)),
            (Version::HTTP_11, &["other", "websocket"], Err(403)),
            (Version::HTTP_11, &["websocket", "websocket"], Err(403)),
            (Version::HTTP_11, &["websocket, h2c"], Err(403)),
            (Version::HTTP_11, &["h2c", "websocket"], Err(403)),
            (Version::HTTP_11, &["web\u{e9}"], Err(403)),
            (Version::HTTP_11, &[""], Err(403)),
            (Version::HTTP_11, &["H2C"], Ok(false)),
            (Version::HTTP_11, &["TLS/1.2"], Ok(false)),
            (Version::HTTP_11, &["tls/1.0"], Ok(false)),
            (Version::HTTP_11, &["TLS"], Err(403)),
            (Version::HTTP_11, &["TLS/1.2, websocket"], Err(403)),
            (Version::HTTP_11, &["TLS/1.2", "websocket"], Err(403)),
            (Version::HTTP_11, &[], Ok(false)),
            (Version::HTTP_10, &["websocket"], Ok(false)),
        ];
        for (version, upgrades, expected) in table {
            let request = Request::get("/").version(version).header("connection", "upgrade");
            let request = upgrades.iter().fold(request, |request, name| request.header("upgrade", *name));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let found = wanted(&parts, &["websocket".into()]).map_err(|refusal| refusal.status);
            assert_eq!(found, expected, "{version:?} {upgrades:?}");
        }
    }

    #[test]
    fn an_upgrade_header_that_connection_does_not_name_is_ignored() {
        let request = Request::get("/").header("upgrade", "other").header("connection", "keep-alive");
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(wanted(&parts, &[]).ok(), Some(false));
    }
}
