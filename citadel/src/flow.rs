//! Pure. The values that pass from one stage to the next: who asks, for what, what is allowed, what was issued. Exists
//! so that stages know these and not each other.

use api::identity::SpiffeId;
use rcgen::SubjectPublicKeyInfo;
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;

/// Who asks, as its credentials prove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The proven identity.
    pub id: SpiffeId,
    /// What proved it.
    pub method: Method,
}

/// What proved a caller's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A token of the configured issuer.
    Token,
    /// The caller's current certificate: it renews.
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

/// What a checked signing request comes to: a key whose owner signed it, and a wish for a lifetime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The public key to certify.
    pub key: SubjectPublicKeyInfo,
    /// The wished lifetime; `None` for the default.
    pub ttl: Option<Duration>,
}

/// What the caller may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The identity in the certificate: the caller's own.
    pub id: SpiffeId,
    /// DNS names that the authority's configuration grants to this identity.
    pub dns_names: Vec<String>,
    /// The lifetime.
    pub ttl: Duration,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// PEM texts: leaf first, root last.
    pub chain: Vec<String>,
    /// The serial number, in hexadecimal.
    pub serial: String,
    /// When it ends.
    pub not_after: OffsetDateTime,
}
