//! Serves HTTP on a client's connection, in either version. Each request passes through the stages route, policy,
//! balance and send on its own. The connection drains when its listener is removed or the proxy drains.

mod multiplexed;
mod serial;

mod request;

mod forward;

mod attempt;
mod mirror;
mod upgrade;

mod message;

mod filters;
mod cluster_request;

mod connect;

mod reply;

mod body;

mod exchange;

mod head_changes;
mod headers;
mod levels;
mod timer;

mod survey;

use super::downstream::Downstream;
use super::live::State;
use crate::identify::is_http2;
use crate::io::Stream;
use api::model::listener::{Codec, HttpConnection};
use std::rc::Rc;
use std::time::Duration;

/// Serves a connection until it ends.
pub(super) async fn serve(stream: Stream, connection: Rc<Downstream>) {
    let settings = &connection.http().model;
    let version = version(stream, settings.codec, first_bytes_timeout(settings));
    let Some(Some((stream, http2))) = connection.live.before(State::Closing, version).await else { return };
    if http2 {
        connection.live.announce_drain_at_once();
        multiplexed::serve(stream, connection).await;
    } else {
        serial::serve(stream, connection).await;
    }
}

/// How long to wait for the client's first bytes.
pub(super) fn first_bytes_timeout(settings: &HttpConnection) -> Duration {
    settings.idle_timeout.unwrap_or(FIRST_BYTES_TIMEOUT).min(FIRST_BYTES_TIMEOUT)
}

/// Detects the client's HTTP version; `None`: the client disconnected.
async fn version(stream: Stream, codec: Codec, first_bytes_timeout: Duration) -> Option<(Stream, bool)> {
    match (codec, stream.alpn()) {
        (Codec::Http1, _) | (Codec::Auto, Some(b"http/1.1" | b"http/1.0")) => return Some((stream, false)),
        (Codec::Http2, _) | (Codec::Auto, Some(b"h2")) => return Some((stream, true)),
        (Codec::Auto, _) => {}
    }
    match stream {
        Stream::Plain(mut plain) => {
            let http2 = tokio::time::timeout(first_bytes_timeout, is_http2(&mut plain)).await.ok()?.ok()?;
            Some((Stream::Plain(plain), http2))
        }
        // Without ALPN the bytes inside TLS are not inspected. Such clients use HTTP/1.1.
        Stream::Tls(tls) => Some((Stream::Tls(tls), false)),
    }
}

/// Applies even if the idle timeout is longer.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(60);
