//! Pure. Where connections arrive and what is done with them.
//!
//! Envoy: `config.listener.v3.Listener`, `HttpConnectionManager`, `TcpProxy`.

use super::access_log::{AccessLog, LogFormat};
use super::authorization::Authorization;
use super::filter::{Filter, HttpFilter};
use super::matcher::{HeaderMatch, HeaderMutations};
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
    /// Address to bind, or to be found by original destination.
    pub address: SocketAddr,
    /// Open a socket; otherwise connections are handed over by `use_original_destination` listeners.
    pub bind_to_port: bool,
    /// Whose traffic it is.
    pub direction: Direction,
    /// Hand connections to the listener of their original destination:
    /// exact address and port first, then `0.0.0.0` and that port, then this listener itself.
    pub use_original_destination: bool,
    /// What is found out before a chain is chosen.
    pub inspect: Inspect,
    /// The most specific match wins (Envoy's order: port, address, SNI, transport, ALPN, source).
    pub chains: Vec<FilterChain>,
    /// When none matches; `None`: the connection is closed.
    pub default_chain: Option<FilterChain>,
}

/// Whose traffic a listener takes.
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

/// What is found out about a connection before a chain is chosen (Envoy's listener filters).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Inspect {
    /// Ask the kernel for the original destination.
    pub original_destination: bool,
    /// Peek at a TLS ClientHello for SNI and ALPN.
    pub tls: bool,
    /// Peek for an HTTP/1 request line or HTTP/2 preface.
    pub http: bool,
    /// Give up peeking after this; `None`: wait for ever.
    pub timeout: Option<Duration>,
    /// After the timeout go on as for an unknown protocol (server-first protocols), instead of closing.
    pub continue_on_timeout: bool,
}

/// Conditions, transport and protocol of connections.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterChain {
    /// Name, for logs and dumps.
    pub name: String,
    /// When it applies.
    pub criteria: ChainMatch,
    /// TLS is terminated here; `None`: bytes are taken as they come.
    pub tls: Option<DownstreamTls>,
    /// Checked when the connection is made (`envoy.filters.network.rbac`).
    pub authorization: Vec<Authorization>,
    /// What the bytes mean.
    pub protocol: Protocol,
}

/// When a chain applies; empty fields match anything.
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
    /// ALPN of the ClientHello, or `http/1.1`, `h2c` found by the HTTP inspector.
    pub application_protocols: Vec<String>,
}

/// What the first bytes looked like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Not TLS.
    Raw,
    /// A TLS ClientHello.
    Tls,
}

/// What the bytes of a connection mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Protocol {
    /// HTTP/1 and HTTP/2.
    Http(Box<HttpConnection>),
    /// Opaque bytes.
    Tcp(TcpProxy),
}

/// Opaque bytes to a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpProxy {
    /// Prefix of statistics.
    pub stat_prefix: String,
    /// Where to.
    pub clusters: ClusterChoice,
    /// Close after this long without bytes either way; `None`: never.
    pub idle_timeout: Option<Duration>,
    /// Connection attempts before giving up, at least 1.
    pub max_connect_attempts: u32,
    /// Logs.
    pub access_log: Vec<AccessLog>,
}

/// HTTP on a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConnection {
    /// Prefix of statistics.
    pub stat_prefix: String,
    /// Which HTTP versions are taken.
    pub codec: Codec,
    /// Where requests go.
    pub routes: RouteSource,
    /// What happens before the router, in order.
    pub filters: Vec<HttpFilter>,
    /// `server` response header: `None` passes the upstream's on.
    pub server_name: Option<String>,
    /// Use the connection's peer as the client's address and append it to `x-forwarded-for` (edge).
    pub use_remote_address: bool,
    /// Trusted proxies in front.
    pub trusted_hops: u32,
    /// `x-forwarded-client-cert`.
    pub client_certificate: ForwardClientCertificate,
    /// Make an `x-request-id` where there is none.
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
    /// HTTP/2: streams at once.
    pub max_concurrent_streams: u32,
    /// Logs.
    pub access_log: Vec<AccessLog>,
    /// Settings that few listeners need.
    pub extra: HttpExtra,
}

/// Settings of HTTP connections that few listeners need.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpExtra {
    /// Addresses whose requests come from inside, so that their `x-envoy-` headers are believed.
    pub internal_addresses: Vec<IpNet>,
    /// Leave `x-forwarded-for` as it is.
    pub skip_forwarded_for: bool,
    /// Appended to `via` on both ways; empty: nothing.
    pub via: String,
    /// Write `server` only where the upstream wrote none.
    pub keep_server: bool,
    /// What to do with the port in the host.
    pub host_port: HostPort,
    /// Remove a dot at the end of the host.
    pub strip_host_dot: bool,
    /// What to do with `%2F` and `%5C` in paths.
    pub escaped_slashes: EscapedSlashes,
    /// What to do with headers whose name holds an underscore.
    pub underscores: Underscores,
    /// Tell the client the request's id.
    pub request_id_in_response: bool,
    /// Host of HTTP/1.0 requests that name none; empty: they are refused.
    pub default_host: String,
    /// Changes to the proxy's own answers.
    pub local_reply: LocalReply,
}

/// What to do with the port in a request's host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HostPort {
    /// Leave it.
    #[default]
    Keep,
    /// Remove it where it is the listener's.
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
    /// Redirect to the path with slashes.
    Redirect,
    /// Go on with slashes.
    Unescape,
}

/// What to do with headers whose name holds an underscore.
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

/// Changes to the answers that the proxy gives itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalReply {
    /// The first that applies is used.
    pub mappers: Vec<ReplyMapper>,
    /// Format of all bodies that no mapper formats.
    pub format: Option<ReplyFormat>,
}

/// Another answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyMapper {
    /// When it applies.
    pub filter: ReplyFilter,
    /// Another status.
    pub status: Option<u16>,
    /// Another body.
    pub body: Option<String>,
    /// Another format.
    pub format: Option<ReplyFormat>,
    /// Headers to write.
    pub headers: HeaderMutations,
}

/// When an answer is changed.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyFilter {
    /// By status.
    Status(Comparison, u32),
    /// Any of these response flags; none: any at all.
    Flags(Vec<String>),
    /// By a header of the request.
    Header(HeaderMatch),
    /// All of these.
    And(Vec<Self>),
    /// One of these.
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
    /// Other than.
    Other,
}

/// How a body is written.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplyFormat {
    /// Text with operators, or a JSON object of them.
    pub format: LogFormat,
    /// What is not there leaves nothing instead of a dash, and no key in JSON.
    pub omit_empty: bool,
    /// `content-type`; empty: as the format says.
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

/// Which HTTP versions are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Found out by ALPN or preface.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// Where the routes of a connection come from.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteSource {
    /// Given here.
    Inline(RouteConfiguration),
    /// Route discovery under this name.
    Rds(String),
}

/// What to do with `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ForwardClientCertificate {
    /// How the client's header and our knowledge combine.
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

/// How the client's `x-forwarded-client-cert` and our knowledge combine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ForwardMode {
    /// Remove it.
    #[default]
    Sanitize,
    /// Keep it on mTLS connections.
    ForwardOnly,
    /// Append our element on mTLS connections.
    AppendForward,
    /// Replace it with our element on mTLS connections.
    SanitizeSet,
    /// Always keep it.
    AlwaysForwardOnly,
}
