//! Connections that change their protocol, such as WebSocket: after 101 the bytes of both sides are joined.

use super::body::ResponseBody;
use super::exchange::Exchange;
use crate::flow::flags::Flags;
use crate::io::copy::{Progress, both_ways};
use crate::pipeline::refusal::Refusal;
use crate::pipeline::upstream::{Busy, Permit};
use crate::send::Returned;
use http::request::Parts;
use http::{Request, Response, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::rc::Rc;

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

/// The client's side, once it has been told.
pub(super) fn client(parts: &mut Parts) -> OnUpgrade {
    let mut request = Request::new(());
    std::mem::swap(request.extensions_mut(), &mut parts.extensions);
    hyper::upgrade::on(request)
}

/// Joins both sides, and gives back the response that tells the client.
pub(super) fn join(
    exchange: &Rc<Exchange>,
    client: OnUpgrade,
    mut response: Response<Incoming>,
    held: (Returned, Busy, Permit),
) -> Response<ResponseBody> {
    let upstream = hyper::upgrade::on(&mut response);
    let (parts, _) = response.into_parts();
    let exchange = exchange.clone();
    tokio::task::spawn_local(async move {
        let _held = held;
        let (Ok(down), Ok(up)) = tokio::join!(client, upstream) else { return };
        let (mut down, mut up) = (TokioIo::new(down), TokioIo::new(up));
        let progress = Progress::default();
        let live = exchange.connection.live.clone();
        let thread = exchange.connection.thread.clone();
        let copying = both_ways(&mut down, &mut up, &progress);
        let mut copying = std::pin::pin!(copying);
        std::future::poll_fn(|context| {
            live.touch(thread.coarse());
            if live.state(context) == crate::pipeline::live::State::Cut {
                return std::task::Poll::Ready(());
            }
            copying.as_mut().poll(context).map(drop)
        })
        .await;
        exchange.moved(progress.down(), progress.up());
        exchange.finish();
    });
    Response::from_parts(parts, ResponseBody::none())
}
