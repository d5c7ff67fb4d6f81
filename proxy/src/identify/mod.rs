//! Identifies the client and its protocol: inspects the first bytes of a connection, chooses its filter chain, and
//! accepts TLS, so that all later stages know both. The client's identity comes only from its verified certificate,
//! never from a header.

mod tls;
mod forwarded;

pub mod chain;
pub mod sniff;

pub use forwarded::forwarded_certificate;
pub use tls::{Refused, TlsAccepted, refused};

use crate::io::Prefixed;
use crate::snapshot::listener::ServerTls;
use api::model::listener::Inspect;
use sniff::{Inspection, Sniffed};
use std::io;

/// Inspects the first bytes of a connection to a destination port as far as the listener configures it, without
/// consuming them. `None`: the client sent too little before the timeout, and the connection continues regardless.
pub async fn inspect(
    stream: &mut Prefixed,
    configured: &Inspect,
    port: u16,
) -> Result<Option<Sniffed>, InspectError> {
    let wanted = Wanted { tls: configured.tls.contains(port), http: configured.http.contains(port) };
    if !wanted.tls && !wanted.http {
        return Ok(Some(Sniffed::default()));
    }
    let looking = look(stream, wanted);
    let Some(limit) = configured.timeout else { return looking.await.map(Some) };
    match tokio::time::timeout(limit, looking).await {
        Ok(result) => result.map(Some),
        Err(_) if configured.continue_on_timeout => Ok(None),
        Err(_) => Err(InspectError::Timeout),
    }
}

/// Continues inspection, without a timeout, until it is known whether the client uses TLS. Does not wait for more
/// plaintext, because its readers have their own timeouts.
pub async fn inspect_late(
    stream: &mut Prefixed,
    configured: &Inspect,
    port: u16,
) -> Result<Sniffed, InspectError> {
    look(stream, Wanted { tls: configured.tls.contains(port), http: false }).await
}

/// Performs the TLS handshake as a server. The handshake itself refuses bytes that are not a ClientHello.
pub async fn accept(mut stream: Prefixed, tls: &ServerTls) -> io::Result<TlsAccepted> {
    let hello = match look(&mut stream, Wanted { tls: true, http: false }).await {
        Ok(seen) => seen,
        Err(InspectError::Read(error)) => return Err(error),
        Err(InspectError::Closed | InspectError::Timeout) => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    tls::accept(stream, hello, tls).await
}

/// Why a connection ends before its protocol is known.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The client sent too little in time.
    #[error("the client did not send enough bytes to detect its protocol in time")]
    Timeout,
    /// The client closed the connection.
    #[error("the client closed the connection before it sent anything")]
    Closed,
    /// Reading from the socket failed.
    #[error("reading the first bytes failed")]
    Read(#[from] io::Error),
}

/// The protocols to look for in the first bytes.
#[derive(Clone, Copy)]
struct Wanted {
    tls: bool,
    http: bool,
}

async fn look(stream: &mut Prefixed, wanted: Wanted) -> Result<Sniffed, InspectError> {
    loop {
        match sniff::inspect(stream.seen(), wanted.tls, wanted.http) {
            Inspection::Known(seen) => return Ok(seen),
            Inspection::More => {}
        }
        let enough = (stream.seen().len() + sniff::missing(stream.seen())).min(sniff::MOST);
        let mut ended = false;
        while stream.seen().len() < enough && !ended {
            ended = stream.look(sniff::MOST).await? == 0;
        }
        if ended {
            // A partial ClientHello at the end of a stream counts as opaque bytes; an empty stream needs no service.
            return if stream.seen().is_empty() { Err(InspectError::Closed) } else { Ok(Sniffed::default()) };
        }
    }
}

/// Whether a plaintext connection uses HTTP/2, for chains that accept either version.
pub async fn is_http2(stream: &mut Prefixed) -> io::Result<bool> {
    loop {
        match sniff::http2(stream.seen()) {
            Some(answer) => return Ok(answer),
            None if stream.look(sniff::MOST).await? == 0 => return Ok(false),
            None => {}
        }
    }
}
