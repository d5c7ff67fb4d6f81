//! Pure. The values that pass from one stage to the next: the client, its request, the permit, the issued certificate.
//! Stages know these types and not each other.

use api::identity::SpiffeId;
use rcgen::SubjectPublicKeyInfo;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

/// The client of a request, as its credentials prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The proven identity.
    pub id: SpiffeId,
    /// The kind of credentials that proved it.
    pub method: Method,
}

/// The kind of credentials that proved a client's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A token of the configured issuer.
    Token,
    /// The client's current certificate, which it renews.
    Certificate,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "token",
            Self::Certificate => "certificate",
        })
    }
}

/// A checked signing request: a public key, whose holder signed the request, and a requested lifetime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The public key to certify.
    pub key: SubjectPublicKeyInfo,
    /// The requested lifetime; `None`: the default.
    pub ttl: Option<Duration>,
}

/// What the client may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The identity in the certificate: the client's own.
    pub id: SpiffeId,
    /// DNS names that the authority's configuration grants to this identity.
    pub dns_names: Vec<String>,
    /// The lifetime.
    pub ttl: Duration,
}

/// An issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The chain in PEM: the leaf first, the root last.
    pub chain: Vec<String>,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// The end of its validity.
    pub not_after: OffsetDateTime,
}
