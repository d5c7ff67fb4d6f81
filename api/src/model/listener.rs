//! Pure. Listeners: where connections arrive, and how they are handled.
//!
//! Envoy: `config.listener.v3.Listener`, `HttpConnectionManager`, `TcpProxy`.

use super::access_log::{AccessLog, LogFormat};
use super::authorization::Authorization;
use super::filter::{Filter, HttpFilter};
use super::matcher::{HeaderMatch, HeaderMutations};
use super::port_set::PortSet;
use super::route::{ClusterChoice, RouteConfiguration};
use super::tls::DownstreamTls;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::time::Duration;

/// A listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Name, such as `virtualInbound` or `0.0.0.0_9080`.
    pub name: String,
    /// Address to bind, or the original destination that selects this listener.
    pub address: SocketAddr,
    /// Open a socket; otherwise a listener with `use_original_destination` hands connections over.
    pub bind_to_port: bool,
    /// Direction of the traffic.
    pub direction: Direction,
    /// Hand connections to the listener of their original destination:
    /// exact address and port first, then `0.0.0.0` and that port, then this listener itself.
    pub use_original_destination: bool,
    /// What is inspected before a filter chain is chosen.
    pub inspect: Inspect,
    /// The most specific match wins (Envoy's order: port, address, SNI, transport, ALPN, source).
    pub chains: Vec<FilterChain>,
    /// Used when no chain matches; `None`: the connection is closed.
    pub default_chain: Option<FilterChain>,
}

/// Direction of a listener's traffic, seen from the local application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Neither: a static bootstrap or a gateway.
    #[default]
    Unspecified,
    /// To the local application.
    Inbound,
    /// From the local application.
    Outbound,
}

/// What is inspected before a filter chain is chosen (Envoy's listener filters), and for which destination ports. A port
/// of a filter's `filter_disabled` is not in its set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Inspect {
    /// Ask the kernel for the original destination. The port is that of the listener.
    pub original_destination: PortSet,
    /// Peek at a TLS ClientHello for SNI and ALPN.
    pub tls: PortSet,
    /// Peek for an HTTP/1 request line or HTTP/2 preface.
    pub http: PortSet,
    /// Stop peeking after this; `None`: wait for ever.
    pub timeout: Option<Duration>,
    /// After the timeout, continue as with an unknown protocol (server-first protocols) instead of closing.
    pub continue_on_timeout: bool,
}

/// A filter chain: the condition for a connection, its TLS, and its protocol.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterChain {
    /// Name, for logs and dumps.
    pub name: String,
    /// The connections that it applies to.
    pub criteria: ChainMatch,
    /// TLS settings for terminating the connection; `None`: bytes are passed on unchanged.
    pub tls: Option<DownstreamTls>,
    /// Authorization, checked when the connection is established (`envoy.filters.network.rbac`).
    pub authorization: Vec<Authorization>,
    /// Protocol of the connection.
    pub protocol: Protocol,
}

/// The condition of a filter chain; empty fields match anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ChainMatch {
    /// Original destination port.
    pub destination_port: Option<u16>,
    /// Original destination addresses.
    pub destination: Vec<IpNet>,
    /// Peer addresses.
    pub source: Vec<IpNet>,
    /// SNI: exact or `*.suffix`.
    pub server_names: Vec<String>,
    /// TLS or not.
    pub transport: Option<Transport>,
    /// ALPN of the ClientHello, or `http/1.1` or `h2c` as detected by the HTTP inspector.
    pub application_protocols: Vec<String>,
}

/// The transport protocol that the first bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Not TLS.
    Raw,
    /// A TLS ClientHello.
    Tls,
}

/// Protocol of a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Protocol {
    /// HTTP/1 and HTTP/2.
    Http(Box<HttpConnection>),
    /// Opaque bytes.
    Tcp(TcpProxy),
}

/// The TCP proxy: passes opaque bytes to a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpProxy {
    /// Prefix of statistics.
    pub stat_prefix: String,
    /// Cluster to connect to.
    pub clusters: ClusterChoice,
    /// Close after this long without bytes in either direction; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Connection attempts before giving up, at least 1.
    pub max_connect_attempts: u32,
    /// Logs.
    pub access_log: Vec<AccessLog>,
}

/// HTTP on a connection (Envoy's `HttpConnectionManager`).
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConnection {
    /// Prefix of statistics.
    pub stat_prefix: String,
    /// Which HTTP versions are accepted.
    pub codec: Codec,
    /// The route table.
    pub routes: RouteSource,
    /// HTTP filters, in order, ending with the router.
    pub filters: Vec<HttpFilter>,
    /// Value of the `server` response header; `None` keeps the upstream's.
    pub server_name: Option<String>,
    /// Use the connection's peer as the client's address and append it to `x-forwarded-for` (edge).
    pub use_remote_address: bool,
    /// Number of trusted proxies in front (`xff_num_trusted_hops`).
    pub trusted_hops: u32,
    /// `x-forwarded-client-cert`.
    pub client_certificate: ForwardClientCertificate,
    /// Add an `x-request-id` if the request has none.
    pub generate_request_id: bool,
    /// Keep the client's `x-request-id` at an edge.
    pub preserve_request_id: bool,
    /// Resolve `.` and `..`, and unify percent-encoding (RFC 3986).
    pub normalize_path: bool,
    /// Merge adjacent slashes.
    pub merge_slashes: bool,
    /// Upgrades that are allowed, such as `websocket`.
    pub upgrades: Vec<String>,
    /// Close a stream without activity after this; `None`: never.
    pub stream_idle_timeout: Option<Duration>,
    /// Limit for receiving a whole request; `None`: none.
    pub request_timeout: Option<Duration>,
    /// Limit for receiving the request's headers; `None`: none.
    pub headers_timeout: Option<Duration>,
    /// Close a connection without requests after this; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection; `None`: none.
    pub max_connection_duration: Option<Duration>,
    /// Size of all request headers, KiB (431 beyond it).
    pub max_headers_kib: u32,
    /// Number of request headers.
    pub max_headers_count: u32,
    /// Accept HTTP/1.0 requests (426 otherwise).
    pub accept_http_10: bool,
    /// HTTP/2: concurrent streams of a connection.
    pub max_concurrent_streams: u32,
    /// Logs.
    pub access_log: Vec<AccessLog>,
    /// Settings that few listeners need.
    pub extra: HttpExtra,
}

/// Settings of HTTP connections that few listeners need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpExtra {
    /// Addresses whose requests count as internal, so that their `x-envoy-` headers are trusted.
    pub internal_addresses: Vec<IpNet>,
    /// Leave `x-forwarded-for` as it is.
    pub skip_forwarded_for: bool,
    /// Appended to `via` of requests and responses; empty: nothing.
    pub via: String,
    /// Write `server` only if the upstream's response has none.
    pub keep_server: bool,
    /// What to do with the port in the host.
    pub host_port: HostPort,
    /// Remove a trailing dot of the host.
    pub strip_host_dot: bool,
    /// What to do with `%2F` and `%5C` in paths.
    pub escaped_slashes: EscapedSlashes,
    /// What to do with headers whose names contain an underscore.
    pub underscores: Underscores,
    /// Add the request's id to the response.
    pub request_id_in_response: bool,
    /// Host of HTTP/1.0 requests without a `host` header; empty: they are refused.
    pub default_host: String,
    /// Changes to the responses that the proxy generates.
    pub local_reply: LocalReply,
}

/// What to do with the port in a request's host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HostPort {
    /// Leave it.
    #[default]
    Keep,
    /// Remove it if it is the listener's port.
    StripOwn,
    /// Remove it.
    Strip,
}

/// What to do with escaped slashes in paths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum EscapedSlashes {
    /// Leave them.
    #[default]
    Keep,
    /// Refuse the request with 400.
    Reject,
    /// Redirect to the unescaped path.
    Redirect,
    /// Unescape them and continue.
    Unescape,
}

/// What to do with headers whose names contain an underscore.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Underscores {
    /// Pass them on.
    #[default]
    Allow,
    /// Refuse the request with 400.
    Reject,
    /// Remove them.
    Drop,
}

/// Changes to the responses that the proxy generates (`LocalReplyConfig`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalReply {
    /// The first mapper whose filter matches is used.
    pub mappers: Vec<ReplyMapper>,
    /// Format of bodies for which no mapper sets one.
    pub format: Option<ReplyFormat>,
}

/// A change to a generated response; `None` in a field keeps the original.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyMapper {
    /// The responses that it applies to.
    pub filter: ReplyFilter,
    /// Replaces the status.
    pub status: Option<u16>,
    /// Replaces the body.
    pub body: Option<String>,
    /// Replaces the format.
    pub format: Option<ReplyFormat>,
    /// Headers to write.
    pub headers: HeaderMutations,
}

/// The condition for changing a generated response.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyFilter {
    /// By status.
    Status(Comparison, u32),
    /// Any of these response flags; if the list is empty, any flag at all.
    Flags(Vec<String>),
    /// By a request header.
    Header(HeaderMatch),
    /// All of these.
    And(Vec<Self>),
    /// At least one of these.
    Or(Vec<Self>),
}

/// How numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Equal.
    Equal,
    /// At least.
    AtLeast,
    /// At most.
    AtMost,
    /// Not equal.
    Other,
}

/// Format of a response body.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyFormat {
    /// Text with operators, or a JSON object of them.
    pub format: LogFormat,
    /// Omit missing values: text has nothing in place of the dash, and JSON has no key.
    pub omit_empty: bool,
    /// Value of `content-type`; empty: derived from the format.
    pub content_type: String,
}

impl HttpConnection {
    /// Envoy's defaults.
    pub fn new(stat_prefix: impl Into<String>, routes: RouteSource) -> Self {
        Self {
            stat_prefix: stat_prefix.into(),
            codec: Codec::Auto,
            routes,
            filters: vec![Filter::Router.into()],
            server_name: Some("envoy".into()),
            use_remote_address: false,
            trusted_hops: 0,
            client_certificate: ForwardClientCertificate::default(),
            generate_request_id: true,
            preserve_request_id: false,
            normalize_path: false,
            merge_slashes: false,
            upgrades: vec![],
            stream_idle_timeout: Some(Duration::from_secs(300)),
            request_timeout: None,
            headers_timeout: None,
            idle_timeout: Some(Duration::from_secs(3600)),
            max_connection_duration: None,
            max_headers_kib: 60,
            max_headers_count: 100,
            accept_http_10: false,
            max_concurrent_streams: 1024,
            access_log: vec![],
            extra: HttpExtra::default(),
        }
    }
}

/// Which HTTP versions are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Detected by ALPN or by the HTTP/2 preface.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// Where the routes of a connection come from.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteSource {
    /// Part of the listener's own configuration.
    Inline(RouteConfiguration),
    /// Route discovery under this name.
    Rds(String),
}

/// What to do with `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ForwardClientCertificate {
    /// How the client's header and the proxy's own element combine.
    pub mode: ForwardMode,
    /// Add `Subject`.
    pub subject: bool,
    /// Add `URI`.
    pub uri: bool,
    /// Add `DNS`.
    pub dns: bool,
    /// Add `Cert`.
    pub cert: bool,
    /// Add `Chain`.
    pub chain: bool,
}

/// How the client's `x-forwarded-client-cert` and the proxy's own element combine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ForwardMode {
    /// Remove it.
    #[default]
    Sanitize,
    /// Keep it on mTLS connections.
    ForwardOnly,
    /// Append the proxy's element on mTLS connections.
    AppendForward,
    /// Replace it with the proxy's element on mTLS connections.
    SanitizeSet,
    /// Always keep it.
    AlwaysForwardOnly,
}
