//! Requests a process's own certificate: creates a key and a CSR, authenticates with its projected token or its
//! current certificate, and calls the certificate authority. Exists because proxies, pilot and `ostria up` enroll in
//! the same way. The key never leaves the process.

use crate::certificate::{CertificateClient, IstioCertificateRequest};
use crate::identity::SpiffeId;
use crate::process::channel;
use crate::process::tls::expected::{Expected, expected_servers};
use crate::process::tls::{self, TlsError};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tonic::Request;
use tonic::metadata::MetadataValue;

/// The certificate authority and how to authenticate to it.
#[derive(Debug, Clone)]
pub struct Authority {
    /// `host:port` of the certificate service.
    pub address: String,
    /// PEM file with the mesh's trust anchors, read for each request.
    pub roots: PathBuf,
    /// File with the projected token, read for each request; `None`: only the current certificate is sent.
    pub token: Option<PathBuf>,
    /// Identities that the authority may have. The token is sent to no other server.
    pub server: Expected,
    /// `clusterid` metadata, which selects the token issuer at the authority.
    pub cluster_id: String,
    /// The requested validity; `None`: the authority's default.
    pub validity: Option<Duration>,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// PEM chain, leaf first, without the root.
    pub chain: String,
    /// PEM key (PKCS#8). Never printed.
    pub key: String,
    /// PEM trust anchors.
    pub roots: String,
    /// Start of its validity.
    pub not_before: SystemTime,
    /// End of its validity.
    pub not_after: SystemTime,
    /// The identity in it.
    pub identity: SpiffeId,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issued({}, [redacted])", self.identity)
    }
}

/// Why enrolment failed.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// A required file cannot be read.
    #[error("cannot read {file}: {source}")]
    File {
        /// Its path.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A key or certificate is invalid, or they do not match.
    #[error("cannot set up TLS to the certificate authority")]
    Tls(#[from] TlsError),
    /// The key or the CSR could not be made.
    #[error("cannot create the certificate request: {0}")]
    Csr(#[from] rcgen::Error),
    /// The address is invalid.
    #[error("{0}")]
    Address(String),
    /// The authority did not respond, or refused the request.
    #[error("the certificate authority at {address} returned {}: {message}", code.description())]
    Authority {
        /// Its address.
        address: String,
        /// gRPC status.
        code: tonic::Code,
        /// Its reason.
        message: String,
    },
    /// The response is not a usable certificate.
    #[error("the certificate authority's response is invalid: {0}")]
    Response(String),
}

/// Requests a certificate: with the token, and over mTLS with the current certificate while it is valid.
///
/// An authority that has changed its root refuses connections with a certificate of the old root. Then the token alone
/// is tried, so that the process need not be restarted.
pub async fn enroll(authority: &Authority, current: Option<&Issued>) -> Result<Issued, EnrollError> {
    let sent = current.filter(|current| current.not_after > now());
    match request_certificate(authority, sent).await {
        Err(EnrollError::Authority { code, .. })
            if sent.is_some() && authority.token.is_some() && is_connection_failure(code) =>
        {
            request_certificate(authority, None).await
        }
        response => response,
    }
}

/// Whether a code stands for a lost or refused connection rather than a refusal by the service.
fn is_connection_failure(code: tonic::Code) -> bool {
    use tonic::Code::{Cancelled, Internal, Unavailable, Unknown};
    matches!(code, Cancelled | Internal | Unavailable | Unknown)
}

#[expect(clippy::disallowed_methods, reason = "part of the shell: renewal itself is decided by `renewal`")]
fn now() -> SystemTime {
    SystemTime::now()
}

async fn request_certificate(authority: &Authority, current: Option<&Issued>) -> Result<Issued, EnrollError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    // The authority ignores names in the request: it takes the identity from the caller.
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key)?.pem()?;

    let mut request = Request::new(IstioCertificateRequest {
        csr,
        validity_duration: authority.validity.map_or(0, |v| i64::try_from(v.as_secs()).unwrap_or(i64::MAX)),
        metadata: None,
    });
    request.set_timeout(LIMIT);
    add_credentials(&mut request, authority)?;

    let mut client = CertificateClient::new(channel(authority, current)?);
    let response = client.create_certificate(request).await.map_err(|status| EnrollError::Authority {
        address: authority.address.clone(),
        code: status.code(),
        message: status.message().to_owned(),
    })?;
    issued(&response.into_inner().cert_chain, key.serialize_pem())
}

/// When to renew a certificate that was `received` now: after half of the remaining validity, shifted by `jitter` (-1
/// to 1) hundredths of it. The start of the validity does not count, because authorities backdate it to allow for
/// clock skew: half of a short validity would have passed at once.
pub fn renewal(received: SystemTime, not_after: SystemTime, jitter: f64) -> SystemTime {
    let life = not_after.duration_since(received).unwrap_or_default();
    received + life.mul_f64((0.5 + 0.01 * jitter.clamp(-1.0, 1.0)).clamp(0.0, 1.0))
}

fn channel(
    authority: &Authority,
    current: Option<&Issued>,
) -> Result<tonic::transport::Channel, EnrollError> {
    let roots = tls::roots_from_pem(&read(&authority.roots)?)?;
    let own = current.map(key_pair).transpose()?;
    let config = tls::client_config(expected_servers(roots, authority.server.clone()), own)?;
    channel::lazy(&authority.address, Some(config)).map_err(EnrollError::Address)
}

/// The chain and key of an issued certificate, for a TLS configuration.
pub fn key_pair(issued: &Issued) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    Ok((
        tls::certificates_from_pem(issued.chain.as_bytes())?,
        tls::private_key_from_pem(issued.key.as_bytes())?,
    ))
}

fn add_credentials<T>(request: &mut Request<T>, authority: &Authority) -> Result<(), EnrollError> {
    if let Some(file) = &authority.token {
        let token = read(file)?;
        let token = String::from_utf8_lossy(&token);
        let value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| EnrollError::Address(format!("{} does not hold a token", file.display())))?;
        request.metadata_mut().insert("authorization", value);
    }
    if let Ok(value) = MetadataValue::try_from(&authority.cluster_id) {
        request.metadata_mut().insert("clusterid", value);
    }
    Ok(())
}

/// Reads the response: the leaf first, the root (or bundle of roots) last.
fn issued(response: &[String], key: String) -> Result<Issued, EnrollError> {
    let unusable = |why: String| EnrollError::Response(why);
    let [chain @ .., roots] = response else { return Err(unusable("it is empty".into())) };
    if chain.is_empty() {
        return Err(unusable("it holds a single certificate; a leaf and a root are needed".into()));
    }
    let chain = chain.iter().map(|c| c.trim_end().to_owned() + "\n").collect::<String>();
    let leaf = tls::certificates_from_pem(chain.as_bytes())?.swap_remove(0);
    tls::roots_from_pem(roots.as_bytes())?;
    let identity = crate::identity::peer_identity(&leaf).map_err(|e| unusable(e.to_string()))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&leaf).map_err(|e| unusable(e.to_string()))?;
    let at = |time: x509_parser::time::ASN1Time| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(time.timestamp().max(0) as u64)
    };
    let validity = parsed.validity();
    Ok(Issued {
        not_before: at(validity.not_before),
        not_after: at(validity.not_after),
        chain,
        key,
        roots: roots.clone(),
        identity,
    })
}

fn read(file: &PathBuf) -> Result<Vec<u8>, EnrollError> {
    std::fs::read(file).map_err(|source| EnrollError::File { file: file.clone(), source })
}

/// Timeout of a request.
const LIMIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_at_half_of_the_remaining_validity_with_one_percent_jitter() {
        let (start, end) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
        for (jitter, seconds) in [(0.0, 500), (1.0, 510), (-1.0, 490), (9.0, 510)] {
            assert_eq!(renewal(start, end, jitter), start + Duration::from_secs(seconds), "{jitter}");
        }
        assert_eq!(renewal(end, start, 0.0), end, "a life that ends before it starts is over at once");
    }

    #[test]
    fn a_response_without_a_root_is_refused() {
        assert!(issued(&[], String::new()).is_err());
        assert!(issued(&["x".into()], String::new()).is_err());
        assert!(issued(&["x".into(), "y".into()], String::new()).is_err());
    }
}
