//! TLS with SPIFFE identities: the crypto provider of all processes, PEM parsing, and verifiers that require a valid
//! chain and an accepted identity: `mesh_clients` for servers, `expected` for clients of the control plane.
//!
//! A verifier has the roots of one trust domain, so a peer's chain is never verified with another domain's roots.

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

/// Parses the certificates of a PEM text, in order; at least one.
pub fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| TlsError::Pem(e.to_string()))?;
    if certificates.is_empty() {
        return Err(TlsError::Pem("it has no CERTIFICATE block".to_owned()));
    }
    Ok(certificates)
}

/// Parses the first private key of a PEM text: PKCS#8, PKCS#1 or SEC1.
pub fn private_key_from_pem(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            TlsError::Pem("it has no private key block".to_owned())
        }
        // The parser's other messages may quote lines of the key.
        _ => TlsError::Pem("its private key block is malformed".to_owned()),
    })
}

/// Parses the certificates of a PEM text as trust anchors.
pub fn roots_from_pem(pem: &[u8]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_from_pem(pem)? {
        roots.add(certificate)?;
    }
    Ok(Arc::new(roots))
}

/// A server's TLS configuration. The client verifier is kept beside rustls's configuration, which does not expose it,
/// so that clients can be verified again while their connections are open.
#[derive(Debug)]
pub struct Serving {
    /// For handshakes.
    pub config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

impl Serving {
    /// Verifies a client's chain again. Fails if a handshake with it would fail now.
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

/// Creates a server's configuration for HTTP/2 and HTTP/1.1, with its chain and its client verifier (`None`: clients
/// are not authenticated).
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
    // No session resumption: a resumed session could outlive the client's certificate. Connections are long-lived
    // here, so full handshakes cost little.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(Serving { config: Arc::new(config), clients }))
}

/// Creates a client's configuration, with its server verifier and, if the server requests one, its certificate. Sets
/// no ALPN protocols.
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

/// Verifies clients by their chain, with the roots of one trust domain, and by their identity, which must belong to that
/// trust domain.
pub fn mesh_clients(
    roots: Arc<RootCertStore>,
    domain: TrustDomain,
    auth: ClientAuth,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let chain = client_chain(roots)?;
    Ok(verifier::clients(auth, move |presented| {
        chain.verify_client_cert(presented.leaf, presented.intermediates, presented.now)?;
        let id = peer_identity(presented.leaf).map_err(refused)?;
        if *id.trust_domain() == domain { Ok(()) } else { Err(refused(TlsError::NotAccepted(id))) }
    }))
}

/// Verifies the chains of clients only, not their identities.
pub fn client_chain(roots: Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .clear_root_hint_subjects()
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Roots(error.to_string()))
}

/// Why TLS cannot be set up, or a peer is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The text is not the expected PEM.
    #[error("invalid PEM: {0}")]
    Pem(String),
    /// The root certificates are unusable.
    #[error("the root certificates are unusable: {0}")]
    Roots(String),
    /// The chain or the key is invalid, or they do not match.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
    /// The chain is valid, but the identity is not accepted.
    #[error("the peer is `{0}`, which is not an accepted identity here")]
    NotAccepted(SpiffeId),
    /// The chain is valid, but the server is not the expected one.
    #[error("the server is {found}; expected {expected}")]
    NotExpected {
        /// The server's identity.
        found: String,
        /// The expected server.
        expected: String,
    },
    /// The certificate has no valid identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Wraps our reason in rustls's error, which prints only the `Debug` of its content.
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
