//! Accepts TLS and reads who the peer is from its verified certificate.

use crate::credentials::CredentialError;
use crate::io::Prefixed;
use crate::snapshot::listener::ServerTls;
use api::identity::peer_identity;
use rustls::CertificateError;
use rustls::server::Acceptor;
use std::io;
use std::sync::Arc;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

/// A TLS connection.
pub struct TlsAccepted {
    /// Its bytes.
    pub stream: Box<TlsStream<Prefixed>>,
    /// SNI.
    pub server_name: Option<Arc<str>>,
    /// The peer's SPIFFE id, if it showed a certificate that has one.
    pub peer: Option<Arc<str>>,
    /// The peer showed a certificate that was verified.
    pub mutual: bool,
}

/// Why a client was refused in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It shows no certificate.
    Anonymous,
    /// Its certificate does not hold.
    Untrusted,
    /// Its certificate holds, and is for nobody who is expected.
    Stranger,
}

/// Whether a failed handshake is one in which the client was refused for its certificate.
pub fn refused(error: &io::Error) -> Option<Refused> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::NoCertificatesPresented => Some(Refused::Anonymous),
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            match other.0.downcast_ref::<CredentialError>() {
                Some(CredentialError::Name { .. }) => Some(Refused::Stranger),
                _ => Some(Refused::Untrusted),
            }
        }
        rustls::Error::InvalidCertificate(_) => Some(Refused::Untrusted),
        _ => None,
    }
}

/// Makes the handshake.
pub async fn accept(stream: Prefixed, tls: &ServerTls) -> io::Result<TlsAccepted> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let config = tls.for_client(start.client_hello().alpn());
    let stream = Box::new(TlsStream::Server(start.into_stream(config).await?));
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let peer = certificate.and_then(|leaf| peer_identity(leaf).ok());
    let (mutual, peer) = (certificate.is_some(), peer.map(|id| id.as_str().into()));
    let server_name = match stream.as_ref() {
        TlsStream::Server(server) => server.get_ref().1.server_name().map(Arc::from),
        TlsStream::Client(_) => None,
    };
    Ok(TlsAccepted { stream, server_name, peer, mutual })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_client_is_told_apart_from_a_handshake_that_failed_otherwise() {
        let of = |error: rustls::Error| refused(&io::Error::other(error));
        let other = |error: CredentialError| {
            rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(error))))
        };
        let name = CredentialError::Name { found: String::new() };
        assert_eq!(of(rustls::Error::NoCertificatesPresented), Some(Refused::Anonymous));
        assert_eq!(of(CertificateError::Expired.into()), Some(Refused::Untrusted));
        assert_eq!(of(CertificateError::UnknownIssuer.into()), Some(Refused::Untrusted));
        assert_eq!(of(other(name)), Some(Refused::Stranger));
        assert_eq!(of(rustls::Error::DecryptError), None);
        assert_eq!(refused(&io::Error::other("no TLS at all")), None);
    }
}
