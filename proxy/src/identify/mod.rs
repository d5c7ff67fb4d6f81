//! Who is calling, and in which protocol: the first bytes of a connection are looked at, its filter chain is chosen,
//! and TLS is accepted. Exists so that all later stages know what they deal with. The caller's identity comes from its
//! verified certificate alone, never from a header.

mod tls;
mod forwarded;

pub mod chain;
pub mod sniff;

pub use forwarded::forwarded_certificate;
pub use tls::{Refused, TlsAccepted, refused};

use crate::io::Prefixed;
use crate::snapshot::listener::ServerTls;
use api::model::listener::Inspect;
use sniff::{Examined, Seen};
use std::io;

/// Looks at the first bytes as far as the listener asks for it. Nothing is consumed. `None`: the client has said too
/// little for as long as it may, and the connection goes on all the same.
pub async fn inspect(stream: &mut Prefixed, inspect: Inspect) -> Result<Option<Seen>, InspectError> {
    if !inspect.tls && !inspect.http {
        return Ok(Some(Seen::default()));
    }
    let looking = look(stream, inspect);
    let Some(limit) = inspect.timeout else { return looking.await.map(Some) };
    match tokio::time::timeout(limit, looking).await {
        Ok(result) => result.map(Some),
        Err(_) if inspect.continue_on_timeout => Ok(None),
        Err(_) => Err(InspectError::Timeout),
    }
}

/// Goes on looking, without a limit, until it is known whether the client speaks TLS. Plaintext is not waited for any
/// longer: who reads it has limits of its own.
pub async fn inspect_late(stream: &mut Prefixed, inspect: Inspect) -> Result<Seen, InspectError> {
    look(stream, Inspect { http: false, ..inspect }).await
}

/// Makes the TLS handshake as a server. What is no greeting is left for it to refuse.
pub async fn accept(mut stream: Prefixed, tls: &ServerTls) -> io::Result<TlsAccepted> {
    let greeting = Inspect { tls: true, http: false, ..Inspect::default() };
    let hello = match look(&mut stream, greeting).await {
        Ok(seen) => seen,
        Err(InspectError::Read(error)) => return Err(error),
        Err(InspectError::Closed | InspectError::Timeout) => return Err(io::ErrorKind::UnexpectedEof.into()),
    };
    tls::accept(stream, hello, tls).await
}

/// Why a connection ends before it is known.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The client said too little for too long.
    #[error("the client sent no complete greeting in time")]
    Timeout,
    /// The client went away.
    #[error("the client closed the connection before it sent anything")]
    Closed,
    /// The socket failed.
    #[error("reading the first bytes failed")]
    Read(#[from] io::Error),
}

async fn look(stream: &mut Prefixed, inspect: Inspect) -> Result<Seen, InspectError> {
    loop {
        match sniff::examine(stream.seen(), inspect.tls, inspect.http) {
            Examined::Known(seen) => return Ok(seen),
            Examined::More => {}
        }
        let enough = (stream.seen().len() + sniff::missing(stream.seen())).min(sniff::MOST);
        let mut ended = false;
        while stream.seen().len() < enough && !ended {
            ended = stream.look(sniff::MOST).await? == 0;
        }
        if ended {
            // Half a greeting at the end of a stream is opaque bytes; none at all is nothing to serve.
            return if stream.seen().is_empty() { Err(InspectError::Closed) } else { Ok(Seen::default()) };
        }
    }
}

/// Whether a plain connection speaks HTTP/2, for connections whose chain takes either version.
pub async fn is_http2(stream: &mut Prefixed) -> io::Result<bool> {
    loop {
        match sniff::http2(stream.seen()) {
            Some(answer) => return Ok(answer),
            None if stream.look(sniff::MOST).await? == 0 => return Ok(false),
            None => {}
        }
    }
}
