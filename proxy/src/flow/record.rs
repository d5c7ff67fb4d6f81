//! Pure. What a finished request or TCP connection leaves. Metrics and access log derive from this value alone,
//! so they can never disagree.

use super::extra::Extra;
use super::flags::Flags;
use super::peer::Peer;
use super::tls::Session;
use http::{HeaderValue, Method, Uri};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Which end of a call reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The caller's proxy.
    Source,
    /// The called one's proxy.
    Destination,
}

/// What kind of traffic it was, for the label `request_protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Traffic {
    /// HTTP of any version.
    Http,
    /// gRPC.
    Grpc,
    /// Opaque bytes.
    Tcp,
}

/// The labels of a metric as small numbers: what tells one series from another. Identifiers come from
/// `telemetry::Sink`; 0 is "unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who reports.
    pub reporter: Reporter,
    /// What kind of traffic.
    pub traffic: Traffic,
    /// The connection between the two proxies was mutual TLS.
    pub mutual_tls: bool,
    /// The called service.
    pub service: u32,
    /// The workload of the chosen endpoint (source side).
    pub workload: u32,
    /// The caller, by address (destination side).
    pub peer: u32,
    /// The other end's principal, from its certificate.
    pub principal: u32,
    /// Response code; 0 for TCP.
    pub code: u16,
    /// gRPC status; `NO_GRPC_STATUS` when there is none.
    pub grpc_status: u8,
    /// What went wrong.
    pub flags: Flags,
}

/// Stands for "no gRPC status" in a `Key`.
pub const NO_GRPC_STATUS: u8 = u8::MAX;

impl Key {
    /// A key that knows nothing but who reports what.
    pub fn unknown(reporter: Reporter, traffic: Traffic) -> Self {
        Self {
            reporter,
            traffic,
            mutual_tls: false,
            service: 0,
            workload: 0,
            peer: 0,
            principal: 0,
            code: 0,
            grpc_status: NO_GRPC_STATUS,
            flags: Flags::NONE,
        }
    }
}

/// A finished request or connection.
#[derive(Debug, Clone)]
pub struct Record {
    /// The labels of its metrics.
    pub key: Key,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// Bytes of the request (headers not counted).
    pub received: u64,
    /// Bytes of the response (headers not counted).
    pub sent: u64,
    /// gRPC messages of the request.
    pub request_messages: u64,
    /// gRPC messages of the response.
    pub response_messages: u64,
    /// Only gathered when there is a log to write.
    pub detail: Option<Box<Detail>>,
}

/// What only logs need.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    /// When it began.
    pub start: Option<SystemTime>,
    /// Method; `None` for TCP.
    pub method: Option<Method>,
    /// Path and query as they were sent on.
    pub target: Option<Uri>,
    /// `HTTP/1.1`, `HTTP/2`; `None` for TCP.
    pub protocol: Option<&'static str>,
    /// `host` or `:authority`.
    pub authority: Option<HeaderValue>,
    /// Why the response has its code, such as `via_upstream`.
    pub code_details: Option<Cow<'static, str>>,
    /// Why the connection ended.
    pub termination_details: Option<String>,
    /// Why TLS or the connection to the upstream failed.
    pub transport_failure: Option<String>,
    /// The endpoint.
    pub upstream_host: Option<SocketAddr>,
    /// Our address towards the endpoint.
    pub upstream_local: Option<SocketAddr>,
    /// Cluster name.
    pub cluster: Option<Arc<str>>,
    /// Time from the end of the request to the upstream's headers.
    pub upstream_time: Option<Duration>,
    /// Time from the first byte of the request to the upstream's headers.
    pub responded: Option<Duration>,
    /// `HTTP/1.1`, `HTTP/2`, as spoken with the upstream.
    pub upstream_protocol: Option<&'static str>,
    /// Original destination, or our address.
    pub downstream_local: Option<SocketAddr>,
    /// The client, as far as it can be trusted.
    pub downstream_remote: Option<SocketAddr>,
    /// The connection's peer.
    pub downstream_direct: Option<SocketAddr>,
    /// SNI of the client.
    pub server_name: Option<Arc<str>>,
    /// Route name.
    pub route: Option<Arc<str>>,
    /// The client, if it showed a certificate.
    pub peer: Option<Arc<Peer>>,
    /// How the client's connection is encrypted.
    pub tls: Option<Session>,
    /// Attempts made.
    pub attempts: u32,
    /// Request headers that the formats name, in the order of `telemetry::access_log` captures.
    pub request_headers: SmallVec<[Option<HeaderValue>; 6]>,
    /// Response headers that the formats name.
    pub response_headers: SmallVec<[Option<HeaderValue>; 2]>,
    /// Response trailers that the formats name.
    pub response_trailers: SmallVec<[Option<HeaderValue>; 1]>,
    /// What few logs name, if one of these does.
    pub extra: Option<Box<Extra>>,
}
