//! Pure. The client's identity, from its verified certificate.

use std::sync::Arc;

/// A client with a verified certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// The SPIFFE id, if it is a workload's certificate.
    pub identity: Option<Arc<str>>,
    /// All URIs.
    pub uris: Box<[Arc<str>]>,
    /// All DNS names.
    pub dns: Box<[Box<str>]>,
    /// The subject, formatted as in RFC 2253.
    pub subject: Box<str>,
}

impl Peer {
    /// All names that a policy may match.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let uris = self.uris.iter().map(|uri| &**uri);
        uris.chain(self.dns.iter().map(|name| &**name)).chain([&*self.subject])
    }
}
