//! Pure. The reasons for which a message is refused, and how they are reported to the peer and in the record.

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Malformed request or status line.
    #[error("the first line is not a valid HTTP/1 request or status line")]
    Line,
    /// A version other than 1.0 and 1.1.
    #[error("the HTTP version is not 1.0 or 1.1")]
    Version,
    /// A line end other than CR LF, or a CR or LF alone.
    #[error("a line does not end in CR LF, or CR stands alone")]
    LineEnd,
    /// A header name that is not a token directly followed by the colon.
    #[error("a header name is not a token, or its line is folded")]
    Name,
    /// A header value with control characters.
    #[error("a header value has a character that is not allowed")]
    Value,
    /// Malformed request target.
    #[error("the request target is not a path or a URI")]
    Target,
    /// A malformed host.
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
    /// Both a content length and a transfer coding.
    #[error("there are both content-length and transfer-encoding")]
    LengthAndCoding,
    /// A content length that is not exactly one number.
    #[error("content-length is not one number")]
    Length,
    /// A transfer coding that is not supported.
    #[error("the transfer-encoding is not just `chunked`")]
    Coding,
    /// A transfer coding in a message that must not have any, such as HTTP/1.0.
    #[error("transfer-encoding is not allowed here")]
    CodingNotAllowed,
    /// Malformed chunk framing.
    #[error("a chunk's size or end is malformed")]
    Chunk,
    /// Chunk extensions that are too large.
    #[error("the chunk extensions are too large")]
    Extensions,
    /// The connection ended within the head.
    #[error("the connection ended within the head")]
    Cut,
    /// A protocol switch that was not requested, or that came before the request was complete.
    #[error("the response switches to a protocol that was not requested, or before the end of the request")]
    Switch,
    /// The head did not arrive in time.
    #[error("the request's headers took too long")]
    Slow,
}

impl Invalid {
    /// The status code of the response to the client.
    pub fn status(self) -> u16 {
        match self {
            Self::Count | Self::Size | Self::TargetSize => 431,
            Self::Version => 426,
            Self::Coding => 501,
            Self::Slow => 408,
            _ => 400,
        }
    }

    /// The response code details; Envoy's text where Envoy has an equivalent.
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
