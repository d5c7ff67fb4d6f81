//! Pure. The values that operators stand for, independent of the operators' names and of where they are used.

use super::time::Shape;

/// The value that an operator stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// A request header or, if it is missing, an alternative one.
    Request(Field, Option<Field>),
    /// The same without the part after a question mark.
    RequestWithoutQuery(Field, Option<Field>),
    /// A response header.
    Response(Field, Option<Field>),
    /// A response trailer.
    Trailer(Field, Option<Field>),
    /// The path.
    Path {
        /// Whether to include the query.
        query: bool,
        /// Which path, if it was rewritten.
        which: Which,
    },
    /// A query parameter.
    QueryParameter(String),
    /// The whole query.
    Query {
        /// Whether to percent-decode it.
        decoded: bool,
    },
    /// The request id, or a stream id for a TCP connection.
    StreamId,
    /// A unique id.
    UniqueId,
    /// A point in time, in a custom format if there is one.
    Time(Moment, Option<Shape>),
    /// The duration from one point in time to another.
    Duration(Point, Point, Precision),
    /// Milliseconds from the first to the last byte.
    Whole,
    /// Milliseconds until the connection to the endpoint was established.
    PoolReady,
    /// Milliseconds until the client's TLS handshake was complete.
    Handshake,
    /// The HTTP version of the client.
    Protocol,
    /// The HTTP version of the endpoint.
    UpstreamProtocol,
    /// The status code of the response.
    Code,
    /// The response code details.
    CodeDetails {
        /// Whether to keep spaces instead of replacing them.
        spaces: bool,
    },
    /// The response flags, short.
    Flags,
    /// The response flags, long.
    FlagsLong,
    /// The connection termination details.
    TerminationDetails,
    /// The upstream transport failure reason.
    TransportFailure,
    /// A number of bytes.
    Bytes(Counted),
    /// A value that is always 0 here.
    Zero,
    /// The number of attempts.
    Attempts,
    /// The endpoints or connections of all attempts.
    Attempted(Attempted),
    /// The cluster's name.
    Cluster,
    /// An address.
    Address(End, Part),
    /// The endpoint's hostname or, without one, its address.
    HostName {
        /// Whether to include the port.
        port: bool,
    },
    /// The server name that the client requested.
    ServerName(ServerName),
    /// The route's name.
    Route,
    /// The filter chain's name.
    FilterChain,
    /// The id of the client's connection.
    ConnectionId,
    /// The id of the connection to the endpoint.
    UpstreamConnectionId,
    /// A field of a certificate.
    Certificate(CertificateOwner, Fact),
    /// A property of a connection's TLS session.
    Tls(Side, Session),
    /// The status of a gRPC call.
    GrpcStatus(GrpcStatus),
    /// The access log type, which says when the line is written.
    LogType,
    /// The body of a local reply.
    Body,
    /// The hostname of the machine.
    MachineName,
    /// An environment variable.
    Environment(String),
    /// The first operator that has a value, each with its maximum length.
    FirstOf(Vec<(Operator, Option<usize>)>),
    /// A value that is never available here.
    Nothing,
}

/// A header or pseudo-header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:authority`, also `host`.
    Authority,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
    /// Any other header, in lower case.
    Header(String),
}

/// Which path to use if it was rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The original one, if it was rewritten.
    Original,
    /// The current one.
    Current,
    /// The original one.
    OriginalOrCurrent,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When the request or connection began.
    Start,
    /// When the line is written.
    Emit,
    /// Start of the validity of the client's certificate.
    PeerFrom,
    /// End of that validity.
    PeerUntil,
    /// Start of the validity of the endpoint's certificate.
    UpstreamFrom,
    /// End of that validity.
    UpstreamUntil,
}

/// A point in the lifetime of a request or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The request's first byte was received.
    RequestBegins,
    /// The request's last byte was received.
    RequestEnds,
    /// The proxy started to connect to the endpoint.
    ConnectBegins,
    /// The connection to the endpoint was established.
    ConnectEnds,
    /// The TLS handshake with the endpoint was complete.
    Secured,
    /// The first byte of the request was sent to the endpoint.
    SendBegins,
    /// The last byte of the request was sent to the endpoint.
    SendEnds,
    /// The response's headers were received.
    UpstreamResponseBegins,
    /// The first byte of the response's body was received.
    UpstreamBodyBegins,
    /// The last byte of the response was received.
    UpstreamResponseEnds,
    /// The first byte of the response was sent to the client.
    ResponseBegins,
    /// The last byte of the response was sent to the client.
    ResponseEnds,
    /// A TCP connection began.
    ConnectionBegins,
    /// The TCP connection ended.
    ConnectionEnds,
}

/// The unit of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Milliseconds.
    Milli,
    /// Microseconds.
    Micro,
    /// Nanoseconds.
    Nano,
}

/// The part of the traffic whose bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The request's body, or the bytes that a TCP client sent.
    Received,
    /// The response's body, or the bytes sent to a TCP client.
    Sent,
    /// The request's headers, uncompressed.
    RequestHeaders,
    /// The response's headers.
    ResponseHeaders,
    /// The response's trailers.
    ResponseTrailers,
}

/// What to list for all attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// Addresses, with or without ports.
    Hosts {
        /// Whether to include the port.
        port: bool,
    },
    /// Hostnames, or addresses if there are none.
    Names {
        /// Whether to include the port.
        port: bool,
    },
    /// Connection ids.
    Connections,
}

/// Which address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The chosen endpoint.
    Upstream,
    /// The address that was connected to.
    UpstreamRemote,
    /// The local address of the connection to the endpoint.
    UpstreamLocal,
    /// The destination that the client requested.
    Local,
    /// The local address of the client's connection.
    DirectLocal,
    /// The client, from trusted headers if there are any.
    Remote,
    /// The peer of the client's connection.
    Direct,
}

/// Which part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Address and port.
    Whole,
    /// The address.
    Ip,
    /// The network of this many bits.
    Network(u8),
    /// The port.
    Port,
}

/// The server name that a client requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerName {
    /// SNI.
    Tls,
    /// SNI, or the host without SNI.
    TlsOr(Host),
    /// The host.
    Host(Host),
}

/// Which host to use if it was rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The original one, if it was rewritten.
    Original,
    /// The current one.
    Current,
    /// The original one.
    OriginalOrCurrent,
}

/// Which certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateOwner {
    /// The client's.
    Peer,
    /// The proxy's, for the client.
    Local,
    /// The endpoint's.
    Upstream,
}

/// A field of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// URI subject alternative names.
    Uris,
    /// DNS subject alternative names.
    Dns,
    /// IP subject alternative names.
    Ips,
    /// Email subject alternative names.
    Emails,
    /// Subject.
    Subject,
    /// Issuer.
    Issuer,
    /// Serial number.
    Serial,
    /// SHA-256 fingerprint.
    Sha256,
    /// SHA-1 fingerprint.
    Sha1,
    /// The fingerprints of the whole chain.
    ChainSha256,
    /// The fingerprints of the whole chain.
    ChainSha1,
    /// The serial numbers of the whole chain.
    ChainSerials,
    /// The certificate as percent-encoded PEM.
    Pem,
}

/// Which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The endpoint's.
    Upstream,
}

/// A property of a connection's TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// TLS version.
    Version,
    /// The cipher suite's OpenSSL name.
    Cipher,
    /// The group of the key exchange.
    Group,
    /// SNI.
    ServerName,
}

/// The format of a gRPC status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcStatus {
    /// `InvalidArgument`
    Camel,
    /// `INVALID_ARGUMENT`
    Snake,
    /// `3`
    Number,
}
