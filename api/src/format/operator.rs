//! Pure. What operators mean, whatever they are called and wherever they stand.

use super::time::Shape;

/// What stands for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// A header of the request or, where it is missing, another one.
    Request(Field, Option<Field>),
    /// The same without what follows a question mark in it.
    RequestWithoutQuery(Field, Option<Field>),
    /// A header of the response.
    Response(Field, Option<Field>),
    /// A trailer of the response.
    Trailer(Field, Option<Field>),
    /// The path.
    Path {
        /// With what follows its question mark.
        query: bool,
        /// Which one, if it was rewritten.
        which: Which,
    },
    /// A parameter of the query.
    QueryParameter(String),
    /// All of the query.
    Query {
        /// Without percent signs.
        decoded: bool,
    },
    /// The request's id, or one of its own for a TCP connection.
    StreamId,
    /// A number that nothing else has.
    UniqueId,
    /// A moment, in a format of its own where there is one.
    Time(Moment, Option<Shape>),
    /// Time from one point to another.
    Duration(Point, Point, Precision),
    /// Milliseconds from the first byte to the last.
    Whole,
    /// Milliseconds until a connection to the endpoint was there.
    PoolReady,
    /// Milliseconds until the client's TLS handshake was made.
    Handshake,
    /// The client's version of HTTP.
    Protocol,
    /// The endpoint's version of HTTP.
    UpstreamProtocol,
    /// The response's status.
    Code,
    /// Why the response has its status.
    CodeDetails {
        /// Spaces are not replaced.
        spaces: bool,
    },
    /// What went wrong, in letters.
    Flags,
    /// What went wrong, in words.
    FlagsLong,
    /// Why the connection ended.
    TerminationDetails,
    /// Why there is no connection to the endpoint.
    TransportFailure,
    /// Bytes.
    Bytes(Counted),
    /// What is always 0 here.
    Zero,
    /// How often the request was sent.
    Attempts,
    /// All that was tried.
    Attempted(Attempted),
    /// The cluster.
    Cluster,
    /// An address.
    Address(End, Part),
    /// The endpoint's name or, where it has none, its address.
    HostName {
        /// With the port.
        port: bool,
    },
    /// The name that the client asked for.
    ServerName(ServerName),
    /// The route's name.
    Route,
    /// The name of the filter chain.
    FilterChain,
    /// The number of the client's connection.
    ConnectionId,
    /// The number of the endpoint's connection.
    UpstreamConnectionId,
    /// What a certificate says.
    Certificate(Holder, Fact),
    /// How a connection is encrypted.
    Tls(Side, Session),
    /// The status of a gRPC call.
    GrpcStatus(GrpcStatus),
    /// When the line is written.
    LogType,
    /// The text of an answer of the proxy's own.
    Body,
    /// The name of the machine.
    MachineName,
    /// A variable of the environment.
    Environment(String),
    /// The first that has a value, each with the most bytes to show.
    FirstOf(Vec<(Operator, Option<usize>)>),
    /// What never has a value here.
    Nothing,
}

/// A header, or a part of the head that is no header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:authority`, which is `host` too.
    Authority,
    /// `:scheme`
    Scheme,
    /// `:status`
    Status,
    /// Any other, in lower case.
    Header(String),
}

/// Which path is shown of one that was rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// As it came, if it was rewritten.
    Original,
    /// As it is now.
    Current,
    /// As it came.
    OriginalOrCurrent,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When the request or connection began.
    Start,
    /// When the line is written.
    Emit,
    /// From when the client's certificate is valid.
    PeerFrom,
    /// Until when it is.
    PeerUntil,
    /// From when the endpoint's certificate is valid.
    UpstreamFrom,
    /// Until when it is.
    UpstreamUntil,
}

/// A point of the way of a request or connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The first byte of the request.
    RequestBegins,
    /// The last one.
    RequestEnds,
    /// The connection to the endpoint is asked for.
    ConnectBegins,
    /// It is there.
    ConnectEnds,
    /// Its TLS handshake is made.
    Secured,
    /// The request is sent on.
    SendBegins,
    /// It is sent.
    SendEnds,
    /// The endpoint answers.
    AnswerBegins,
    /// The first byte of its answer's body.
    AnswerBodyBegins,
    /// The last one.
    AnswerEnds,
    /// The response is sent to the client.
    ResponseBegins,
    /// It is sent.
    ResponseEnds,
    /// A TCP connection begins.
    ConnectionBegins,
    /// It ends.
    ConnectionEnds,
}

/// How fine a duration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Milliseconds.
    Milli,
    /// Microseconds.
    Micro,
    /// Nanoseconds.
    Nano,
}

/// What is counted in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The request's body, or what a TCP client sent.
    Received,
    /// The response's body, or what a TCP client got.
    Sent,
    /// The request's headers, uncompressed.
    RequestHeaders,
    /// The response's headers.
    ResponseHeaders,
    /// The response's trailers.
    ResponseTrailers,
}

/// What is shown of all attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// Addresses, with or without ports.
    Hosts {
        /// With the port.
        port: bool,
    },
    /// Names, or addresses where there are none.
    Names {
        /// With the port.
        port: bool,
    },
    /// Numbers of connections.
    Connections,
}

/// Whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The endpoint, as chosen.
    Upstream,
    /// The endpoint, as reached.
    UpstreamRemote,
    /// Ours, towards the endpoint.
    UpstreamLocal,
    /// What the client wanted to reach.
    Local,
    /// Ours, towards the client.
    DirectLocal,
    /// The client, as far as it can be trusted.
    Remote,
    /// The connection's peer.
    Direct,
}

/// How much of an address.
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

/// The name that a client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerName {
    /// In TLS.
    Tls,
    /// In TLS, or the host where there is none.
    TlsOr(Host),
    /// The host.
    Host(Host),
}

/// Which host is shown of one that was rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// As it came, if it was rewritten.
    Original,
    /// As it is now.
    Current,
    /// As it came.
    OriginalOrCurrent,
}

/// Whose certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The client's.
    Peer,
    /// Ours, towards the client.
    Local,
    /// The endpoint's.
    Upstream,
}

/// What a certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// Its URIs.
    Uris,
    /// Its DNS names.
    Dns,
    /// Its addresses.
    Ips,
    /// Its email addresses.
    Emails,
    /// Whose it is.
    Subject,
    /// Who issued it.
    Issuer,
    /// Its number.
    Serial,
    /// Its SHA-256 hash.
    Sha256,
    /// Its SHA-1 hash.
    Sha1,
    /// Those of all certificates that were shown.
    ChainSha256,
    /// Those of all certificates that were shown.
    ChainSha1,
    /// The numbers of all certificates that were shown.
    ChainSerials,
    /// All of it, as PEM text that is percent-encoded.
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

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// The version of TLS.
    Version,
    /// The cipher suite, in OpenSSL's words.
    Cipher,
    /// The group in which keys were agreed on.
    Group,
    /// The name that was asked for.
    ServerName,
}

/// How a gRPC status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcStatus {
    /// `InvalidArgument`
    Camel,
    /// `INVALID_ARGUMENT`
    Snake,
    /// `3`
    Number,
}
