//! Pure. What is wrong with a message, as the peer is told and the record shows it.

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Request or status line.
    #[error("the first line is not that of an HTTP/1 message")]
    Line,
    /// A version other than 1.0 and 1.1.
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
    /// Lines end in CR and LF, and neither stands alone.
    #[error("a line does not end in CR LF, or CR stands alone")]
    LineEnd,
    /// Header names are tokens, right before the colon.
    #[error("a header name is not a token, or its line is folded")]
    Name,
    /// Header values have no control characters.
    #[error("a header value has a character that is not allowed")]
    Value,
    /// The request target.
    #[error("the request target is not a path or a URI")]
    Target,
    /// The host.
    #[error("the host header is not the name of a host")]
    Host,
    /// More than one host.
    #[error("there is more than one host header")]
    Hosts,
    /// Too many headers.
    #[error("there are too many headers")]
    Count,
    /// Too many bytes of headers.
    #[error("the headers are too large")]
    Size,
    /// Too many bytes before the first line ends.
    #[error("the request target is too long")]
    TargetSize,
    /// Two lengths of one message.
    #[error("content-length and transfer-encoding do not go together")]
    LengthAndCoding,
    /// No one number.
    #[error("content-length is not one number")]
    Length,
    /// A transfer coding that is not known here.
    #[error("the transfer-encoding is not chunked alone")]
    Coding,
    /// HTTP/1.0 knows no transfer codings.
    #[error("transfer-encoding is not allowed here")]
    CodingNotAllowed,
    /// Chunk framing.
    #[error("a chunk's size or end is malformed")]
    Chunk,
    /// Chunk extensions.
    #[error("the chunk extensions are too large")]
    Extensions,
    /// The connection ended amid the head.
    #[error("the connection ended amid the head")]
    Cut,
    /// A switch of the protocol that nobody asked for, or before the request was through.
    #[error("the answer switches to a protocol that was not asked for, or before the request is through")]
    Switch,
    /// The head did not come in time.
    #[error("the request's headers took too long")]
    Slow,
}

impl Invalid {
    /// The status that tells a client.
    pub fn status(self) -> u16 {
        match self {
            Self::Count | Self::Size | Self::TargetSize => 431,
            Self::Version => 426,
            Self::Coding => 501,
            Self::Slow => 408,
            _ => 400,
        }
    }

    /// The response code details, in Envoy's words where it has some.
    pub fn details(self) -> &'static str {
        match self {
            Self::Count => "http1.too_many_headers",
            Self::Size | Self::TargetSize => "http1.headers_too_large",
            Self::Value => "http1.invalid_characters",
            Self::Target => "http1.invalid_url",
            Self::Host => "http.invalid_authority",
            Self::Hosts => "http1.multiple_host_headers",
            Self::LengthAndCoding => "http1.content_length_and_chunked_not_allowed",
            Self::Length => "http1.invalid_content_length",
            Self::Coding => "http1.invalid_transfer_encoding",
            Self::CodingNotAllowed => "http1.transfer_encoding_not_allowed",
            Self::Version => "low_version",
            Self::Line
            | Self::LineEnd
            | Self::Name
            | Self::Chunk
            | Self::Extensions
            | Self::Cut
            | Self::Switch => "http1.codec_error",
            Self::Slow => "request_header_timeout",
        }
    }
}
