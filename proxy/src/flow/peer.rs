//! Pure. What the verified certificate of a client says of it.

use std::sync::Arc;

/// A client that showed a certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The SPIFFE id, where the certificate is one of a workload.
    pub identity: Option<Arc<str>>,
    /// All URIs.
    pub uris: Box<[Arc<str>]>,
    /// All DNS names.
    pub dns: Box<[Box<str>]>,
    /// The subject, as RFC 2253 writes it.
    pub subject: Box<str>,
}

impl Peer {
    /// Every name by which a policy may know the client.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let uris = self.uris.iter().map(|uri| &**uri);
        uris.chain(self.dns.iter().map(|name| &**name)).chain([&*self.subject])
    }
}
