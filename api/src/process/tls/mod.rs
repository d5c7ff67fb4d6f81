//! TLS with SPIFFE identities: the one crypto provider of all processes, reading PEM, and verifiers that hold a peer
//! to a valid chain and exactly one acceptable identity. DNS names are never looked at here, because inside a
//! mesh a name says where a connection goes and the identity says who answered.
//!
//! A verifier knows the roots of one trust domain: a peer's chain is never tried against another domain's roots.

pub mod expected;

pub mod verifier;

mod crypto;

pub use crypto::provider;
pub use verifier::ClientAuth;

use crate::identity::{IdentityError, SpiffeId, TrustDomain, peer_identity};
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{CertificateError, ClientConfig, OtherError, RootCertStore, ServerConfig};
use std::fmt;
use std::sync::Arc;

/// Every certificate in a PEM text, in order; at least one.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| TlsError::Pem(e.to_string()))?;
    if certificates.is_empty() {
        return Err(TlsError::Pem("it holds no CERTIFICATE block".to_owned()));
    }
    Ok(certificates)
}

/// The first private key in a PEM text: PKCS#8, PKCS#1 or SEC1.
pub fn private_key_from_pem(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            TlsError::Pem("it holds no private key block".to_owned())
        }
        // The parser's other messages may quote lines of the key.
        _ => TlsError::Pem("its private key block cannot be read".to_owned()),
    })
}

/// The certificates of a PEM text as roots to verify against.
pub fn roots_from_pem(pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_from_pem(pem)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(roots))
}

/// How a server shows itself, and how it verifies clients. The verifier is kept beside rustls's configuration, which
/// does not give it back, so that clients can be verified again while their connections are open.
#[derive(Debug)]
pub struct Serving {
    /// For handshakes.
    pub config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Serving {
    /// Fails unless a client that shows this chain would be let in now.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), rustls::Error> {
        match (&self.clients, chain) {
            (Some(clients), [leaf, intermediates @ ..]) => {
                clients.verify_client_cert(leaf, intermediates, now).map(drop)
            }
            (Some(clients), []) if clients.client_auth_mandatory() => {
                Err(rustls::Error::NoCertificatesPresented)
            }
            (None, _) | (Some(_), []) => Ok(()),
        }
    }
}

/// A server's configuration for HTTP/2 and HTTP/1.1: its chain, and how clients are verified (`None`: not at all).
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> Result<Arc<Serving>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients.clone() {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would carry a client's certificate past its end. Connections here live long, so that little
    // is lost by verifying each.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(Serving { config: Arc::new(config), clients }))
}

/// A client's configuration: how the server is verified, and the chain and key it shows when asked. No ALPN is set.
pub fn client_config(
    servers: Arc<dyn ServerCertVerifier>,
    own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(servers);
    Ok(match own {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    })
}

/// Which identities a verifier accepts once the chain holds.
#[derive(Clone)]
pub enum Accept {
    /// Every identity under the roots.
    Any,
    /// Every identity of one trust domain.
    TrustDomain(TrustDomain),
    /// An identity that matches one of these; none matches an empty list.
    Ids(Vec<IdPattern>),
    /// Whatever the predicate says.
    Check(Arc<dyn Fn(&SpiffeId) -> bool + Send + Sync>),
}

/// One accepted identity, or a family of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdPattern {
    /// This id and no other.
    Exact(SpiffeId),
    /// Ids that start with this text. End it with `/`, or `…/ns/a` accepts `…/ns/ab` too.
    Prefix(String),
}

impl Accept {
    /// True when the identity is accepted.
    pub fn accepts(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Any => true,
            Self::TrustDomain(domain) => id.trust_domain() == domain,
            Self::Ids(patterns) => patterns.iter().any(|pattern| match pattern {
                IdPattern::Exact(exact) => exact == id,
                IdPattern::Prefix(prefix) => id.as_str().starts_with(prefix.as_str()),
            }),
            Self::Check(check) => check(id),
        }
    }

    fn verify(&self, certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
        let id = peer_identity(certificate).map_err(refused)?;
        if self.accepts(&id) { Ok(()) } else { Err(refused(TlsError::NotAccepted(id))) }
    }
}

impl fmt::Debug for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::TrustDomain(domain) => write!(f, "TrustDomain({domain})"),
            Self::Ids(patterns) => f.debug_tuple("Ids").field(patterns).finish(),
            Self::Check(_) => f.write_str("Check"),
        }
    }
}

/// Verifies servers by their chain, with the roots of one trust domain, and by their identity, whatever name was
/// dialled.
pub fn mesh_servers(roots: Arc<RootCertStore>, accept: Accept) -> Arc<dyn ServerCertVerifier> {
    verifier::servers(move |shown| {
        shown.leads_to(&roots)?;
        accept.verify(shown.leaf)
    })
}

/// Verifies clients by their chain, with the roots of one trust domain, and by their identity.
pub fn mesh_clients(
    roots: Arc<RootCertStore>,
    accept: Accept,
    auth: ClientAuth,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let chain = client_chain(roots)?;
    Ok(verifier::clients(auth, move |shown| {
        chain.verify_client_cert(shown.leaf, shown.intermediates, shown.now)?;
        accept.verify(shown.leaf)
    }))
}

/// Checks the chains of clients, and nothing else of them.
pub fn client_chain(roots: Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .clear_root_hint_subjects()
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Roots(error.to_string()))
}

/// What keeps TLS from being set up, or a peer from being accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The text is not the PEM that was expected.
    #[error("not the PEM that is needed: {0}")]
    Pem(String),
    /// The roots cannot verify anybody.
    #[error("the root certificates cannot be used: {0}")]
    Roots(String),
    /// Chain and key do not work, or not together.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
    /// The chain holds, and the identity is not one of those expected.
    #[error("the peer is `{0}`, which is not an accepted identity here")]
    NotAccepted(SpiffeId),
    /// The chain holds, and the server is another than the one that was called.
    #[error("the server is {found}; expected is {expected}")]
    NotExpected {
        /// Who it is.
        found: String,
        /// Who was called.
        expected: String,
    },
    /// The certificate carries no acceptable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Our reason inside rustls's error, which prints only the `Debug` of what it wraps.
#[derive(thiserror::Error)]
#[error(transparent)]
struct Refused(TlsError);

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

fn refused(error: impl Into<TlsError>) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(Refused(error.into())))).into()
}

#[cfg(test)]
mod tests;
