//! Pure. The record of a finished request or TCP connection. Metrics and access logs derive from this value alone, so
//! they cannot disagree.

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

/// Which end of a call reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The caller's proxy.
    Source,
    /// The called workload's proxy.
    Destination,
}

/// The kind of traffic, for the label `request_protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Traffic {
    /// HTTP of any version.
    Http,
    /// gRPC.
    Grpc,
    /// Opaque bytes.
    Tcp,
}

/// The labels of a metric as small numbers, which identify its series. `telemetry::Sink` assigns the numbers; 0 is
/// "unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The reporting end.
    pub reporter: Reporter,
    /// The kind of traffic.
    pub traffic: Traffic,
    /// Whether the connection between the two proxies used mutual TLS.
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
    /// Response flags.
    pub flags: Flags,
}

/// The value of `Key::grpc_status` without a gRPC status.
pub const NO_GRPC_STATUS: u8 = u8::MAX;

impl Key {
    /// A key with all other labels unknown.
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

    /// Names and values of the labels that do not describe a workload or a service. The pattern names every field, so
    /// that a field without a label does not compile.
    pub fn outcome(&self) -> Vec<(&'static str, Cow<'static, str>)> {
        let Self {
            reporter,
            traffic,
            mutual_tls,
            code,
            grpc_status,
            flags,
            // `telemetry` has the texts of these.
            service: _,
            workload: _,
            peer: _,
            principal: _,
        } = *self;
        let protocol = match traffic {
            Traffic::Http => "http",
            Traffic::Grpc => "grpc",
            Traffic::Tcp => "tcp",
        };
        let policy = match (reporter, mutual_tls) {
            (Reporter::Source, _) => "unknown",
            (Reporter::Destination, true) => "mutual_tls",
            (Reporter::Destination, false) => "none",
        };
        let mut labels = vec![("request_protocol", protocol.into())];
        if traffic != Traffic::Tcp {
            // For an HTTP request the gRPC status is empty, not "unknown".
            let grpc = if grpc_status == NO_GRPC_STATUS { String::new() } else { grpc_status.to_string() };
            labels.push(("response_code", code.to_string().into()));
            labels.push(("grpc_response_status", grpc.into()));
        }
        labels.push(("response_flags", flags.to_string().into()));
        labels.push(("connection_security_policy", policy.into()));
        labels
    }
}

/// A finished request or connection.
#[derive(Debug, Clone)]
pub struct Record {
    /// The labels of its metrics.
    pub key: Key,
    /// Time from the first byte of the request to the last byte of the response.
    pub duration: Duration,
    /// Bytes of the request without headers.
    pub received: u64,
    /// Bytes of the response without headers.
    pub sent: u64,
    /// gRPC messages of the request.
    pub request_messages: u64,
    /// gRPC messages of the response.
    pub response_messages: u64,
    /// Data for access logs, gathered only where there is one.
    pub detail: Option<Box<Detail>>,
}

/// Data that only access logs use.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    /// When the request or connection began.
    pub start: Option<SystemTime>,
    /// Method; `None` for TCP.
    pub method: Option<Method>,
    /// Path and query as sent upstream.
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
    /// The proxy's address on the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// Cluster name.
    pub cluster: Option<Arc<str>>,
    /// Time from the end of the request to the upstream's headers.
    pub upstream_time: Option<Duration>,
    /// Time from the first byte of the request to the upstream's headers.
    pub responded: Option<Duration>,
    /// `HTTP/1.1` or `HTTP/2`, as used with the upstream.
    pub upstream_protocol: Option<&'static str>,
    /// The original destination, or the proxy's address.
    pub downstream_local: Option<SocketAddr>,
    /// The client's address, from trusted forwarding headers.
    pub downstream_remote: Option<SocketAddr>,
    /// The connection's peer.
    pub downstream_direct: Option<SocketAddr>,
    /// SNI of the client.
    pub server_name: Option<Arc<str>>,
    /// Route name.
    pub route: Option<Arc<str>>,
    /// The client's identity, if it sent a certificate.
    pub peer: Option<Arc<Peer>>,
    /// TLS version and cipher of the client's connection.
    pub tls: Option<Session>,
    /// Number of attempts.
    pub attempts: u32,
    /// Request headers that the log formats use, in the order of the captures of `telemetry::access_log`.
    pub request_headers: SmallVec<[Option<HeaderValue>; 6]>,
    /// Response headers that the log formats use.
    pub response_headers: SmallVec<[Option<HeaderValue>; 2]>,
    /// Response trailers that the log formats use.
    pub response_trailers: SmallVec<[Option<HeaderValue>; 1]>,
    /// Data for rarely used log operators, if a log uses any.
    pub extra: Option<Box<Extra>>,
}
