//! Accepts TLS and reads the peer's identity from its verified certificate.

use super::forwarded::client;
use super::sniff::Sniffed;
use crate::credentials::CredentialError;
use crate::flow::peer::Peer;
use crate::flow::tls::Session;
use crate::io::{Prefixed, Tls};
use crate::snapshot::listener::ServerTls;
use rustls::CertificateError;
use rustls_pki_types::ServerName;
use std::io;
use std::sync::Arc;

/// An accepted TLS connection.
pub struct TlsAccepted {
    /// The decrypted stream.
    pub stream: Box<Tls>,
    /// SNI.
    pub server_name: Option<Arc<str>>,
    /// The client, from its verified certificate, if it sent one.
    pub client: Option<Arc<Peer>>,
    /// TLS version and cipher.
    pub session: Option<Session>,
}

/// Why the server refused a client's certificate in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The client sent no certificate.
    Anonymous,
    /// The certificate is not valid or not signed by a trusted root.
    Untrusted,
    /// The certificate is valid, but its identity is not one of the accepted names.
    WrongName,
}

/// Whether a handshake failed because of the client's certificate, and why.
pub fn refused(error: &io::Error) -> Option<Refused> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::NoCertificatesPresented => Some(Refused::Anonymous),
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            match other.0.downcast_ref::<CredentialError>() {
                Some(CredentialError::Name { .. }) => Some(Refused::WrongName),
                _ => Some(Refused::Untrusted),
            }
        }
        rustls::Error::InvalidCertificate(_) => Some(Refused::Untrusted),
        _ => None,
    }
}

/// Performs the handshake. The ClientHello is needed first because the server configuration depends on the ALPN that
/// it offers.
pub(super) async fn accept(stream: Prefixed, hello: Sniffed, tls: &ServerTls) -> io::Result<TlsAccepted> {
    let offered = Some(&hello.protocols).filter(|protocols| !protocols.is_empty());
    let config = tls.for_client(offered.map(|protocols| protocols.iter().map(Vec::as_slice)));
    let stream = Box::new(Tls::accept(config, stream).await?);
    let client = stream.peer_certificates().first().map(|leaf| Arc::new(client(leaf)));
    let session = stream.agreed();
    Ok(TlsAccepted { stream, server_name: hello.server_name.and_then(dns_name), client, session })
}

/// The SNI if it is a DNS name. IP addresses are not allowed (RFC 6066, 3), but some clients send them.
fn dns_name(name: String) -> Option<Arc<str>> {
    match ServerName::try_from(name.as_str()) {
        Ok(ServerName::DnsName(_)) => Some(name.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::tests::meeting;
    use crate::io::copy::tests::sockets;
    use api::model::tls::TlsVersion;
    use tokio::io::AsyncWriteExt;

    #[test]
    fn a_refused_client_is_distinguished_from_other_handshake_failures() {
        let of = |error: rustls::Error| refused(&io::Error::other(error));
        let other = |error: CredentialError| {
            rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(error))))
        };
        let name = CredentialError::Name { found: String::new() };
        assert_eq!(of(rustls::Error::NoCertificatesPresented), Some(Refused::Anonymous));
        assert_eq!(of(CertificateError::Expired.into()), Some(Refused::Untrusted));
        assert_eq!(of(CertificateError::UnknownIssuer.into()), Some(Refused::Untrusted));
        assert_eq!(of(other(name)), Some(Refused::WrongName));
        assert_eq!(of(rustls::Error::DecryptError), None);
        assert_eq!(refused(&io::Error::other("no TLS at all")), None);
    }

    #[tokio::test]
    async fn a_client_is_authenticated_by_the_handshake_and_served_without_mesh_alpn() {
        for (offered, agreed, sni) in [
            (&["h2"][..], Some("h2"), "reviews.example"),
            (&["other", "istio-h2"], Some("istio-h2"), "Reviews.Example"),
            (&["other"], None, "reviews.example"),
            (&[], None, "10.0.0.1"),
        ] {
            let (server, client) = meeting(TlsVersion::V1_3, true);
            let mut without_alpn = rustls::ServerConfig::clone(&server.config);
            without_alpn.alpn_protocols.clear();
            let tls =
                ServerTls { config: server.config, without_alpn: Arc::new(without_alpn), own: server.own };
            let mut client = rustls::ClientConfig::clone(&client);
            client.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let (near, far) = sockets().await;
            let name = ServerName::try_from(sni).unwrap();
            let connect = Tls::connect(Arc::new(client), name.to_owned(), Prefixed::new(near));
            let (near, accepted) = tokio::join!(connect, crate::identify::accept(Prefixed::new(far), &tls));
            let accepted = accepted.unwrap();
            let expected = (!sni.starts_with('1')).then_some("reviews.example");
            assert_eq!(accepted.server_name.as_deref(), expected);
            assert_eq!(near.unwrap().alpn(), agreed.map(str::as_bytes));
            assert_eq!(accepted.stream.alpn(), agreed.map(str::as_bytes));
            assert_eq!(accepted.session.unwrap().version, "TLSv1.3");
            let identity = accepted.client.and_then(|client| client.identity.clone());
            assert_eq!(identity.as_deref(), Some("spiffe://cluster.local/ns/default/sa/productpage"));
        }
    }

    #[tokio::test]
    async fn an_invalid_client_hello_is_refused() {
        let (server, _) = meeting(TlsVersion::V1_3, true);
        let (config, own) = (server.config, server.own);
        let tls = ServerTls { without_alpn: config.clone(), config, own };
        for (bytes, kind) in [
            (&b""[..], io::ErrorKind::UnexpectedEof),
            (b"\x16\x03\x01\x00", io::ErrorKind::UnexpectedEof),
            (b"GET / HTTP/1.1\r\n\r\n", io::ErrorKind::InvalidData),
        ] {
            let (mut near, far) = sockets().await;
            near.write_all(bytes).await.unwrap();
            near.shutdown().await.unwrap();
            let result = crate::identify::accept(Prefixed::new(far), &tls).await;
            assert_eq!(result.err().map(|error| error.kind()), Some(kind), "{}", bytes.escape_ascii());
        }
    }
}
