//! Pure. A response made by the proxy instead of an upstream's, and what the record shows of it, with Envoy's wording,
//! because people and tools search for it.

use super::flags::Flags;
use std::borrow::Cow;

/// A response made by the proxy instead of an upstream's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Status code.
    pub status: u16,
    /// The gRPC status for gRPC clients, if it differs from the one that the status code maps to.
    pub grpc_status: Option<u32>,
    /// Body.
    pub body: Cow<'static, str>,
    /// Response flags.
    pub flags: Flags,
    /// Response code details.
    pub details: Cow<'static, str>,
    /// Why TLS or the connection to the upstream failed.
    pub transport_failure: Option<String>,
    /// The `location` header of a redirect.
    pub location: Option<String>,
}

impl Refusal {
    /// A refusal without the optional fields.
    pub fn new(status: u16, body: &'static str, flags: Flags, details: &'static str) -> Self {
        Self {
            status,
            grpc_status: None,
            body: body.into(),
            flags,
            details: details.into(),
            transport_failure: None,
            location: None,
        }
    }
}
