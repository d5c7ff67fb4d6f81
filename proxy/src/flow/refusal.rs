//! Pure. What a client is told instead of an upstream's response, and what the record shows of it, in Envoy's words,
//! because people and tools search for them.

use super::flags::Flags;
use std::borrow::Cow;

/// What a client is told instead of an upstream's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Status code.
    pub status: u16,
    /// The gRPC status for clients that speak gRPC, where it is not the one that stands for the status code.
    pub grpc_status: Option<u32>,
    /// Body.
    pub body: Cow<'static, str>,
    /// Response flags.
    pub flags: Flags,
    /// Response code details.
    pub details: Cow<'static, str>,
    /// Why TLS or the connection to the upstream failed.
    pub transport_failure: Option<String>,
    /// Where the client is to go instead.
    pub location: Option<String>,
}

impl Refusal {
    /// A refusal of one status.
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
