//! The peer of a connection.

use crate::identity::SpiffeId;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The peer of a connection; an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The address that the connection comes from.
    pub address: SocketAddr,
    /// The client's certificate chain, which the TLS configuration has verified; empty if it sent none.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// The identity in the chain's leaf.
    pub identity: Option<SpiffeId>,
}

impl Peer {
    /// When the peer's certificate expires; `None` if it sent none.
    pub fn not_after(&self) -> Option<SystemTime> {
        let (_, leaf) = X509Certificate::from_der(self.certificates.first()?).ok()?;
        let end = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default();
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(end))
    }
}
