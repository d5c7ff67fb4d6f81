//! Accepts TLS and reads who the peer is from its verified certificate.

use super::forwarded::client;
use crate::credentials::CredentialError;
use crate::flow::peer::Peer;
use crate::io::Prefixed;
use crate::snapshot::listener::ServerTls;
use rustls::server::Acceptor;
use rustls::{CertificateError, CipherSuite, ProtocolVersion};
use std::io;
use std::sync::Arc;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

/// A TLS connection.
pub struct TlsAccepted {
    /// Its bytes.
    pub stream: Box<TlsStream<Prefixed>>,
    /// SNI.
    pub server_name: Option<Arc<str>>,
    /// The client, if it showed a certificate, which was verified.
    pub client: Option<Arc<Peer>>,
    /// Version and cipher suite, in OpenSSL's words.
    pub cipher: Option<(&'static str, &'static str)>,
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
    let client = certificate.map(|leaf| Arc::new(client(leaf)));
    let suite = session.negotiated_cipher_suite().map(|suite| cipher(suite.suite()));
    let cipher = session.protocol_version().map(version).zip(suite);
    let server_name = match stream.as_ref() {
        TlsStream::Server(server) => server.get_ref().1.server_name().map(Arc::from),
        TlsStream::Client(_) => None,
    };
    Ok(TlsAccepted { stream, server_name, client, cipher })
}

fn version(version: ProtocolVersion) -> &'static str {
    if version == ProtocolVersion::TLSv1_3 { "TLSv1.3" } else { "TLSv1.2" }
}

/// The suites that are ever offered.
fn cipher(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or_default(),
    }
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
