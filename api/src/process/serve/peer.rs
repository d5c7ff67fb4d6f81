//! Who is at the other end of a connection.

use crate::identity::SpiffeId;
use rustls::pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Who is at the other end of a connection; an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The chain the client showed, already verified by the TLS configuration; empty without one.
    pub certificates: Arc<[CertificateDer<'static>]>,
    /// The identity in the chain's leaf.
    pub identity: Option<SpiffeId>,
}

impl Peer {
    /// When the peer's certificate ends; `None` when it showed none.
    pub fn not_after(&self) -> Option<SystemTime> {
        let (_, leaf) = X509Certificate::from_der(self.certificates.first()?).ok()?;
        let end = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or_default();
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(end))
    }
}
