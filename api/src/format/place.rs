//! Pure. Where a text with operators stands, which decides the operators that it may have.

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of an access log.
    Log,
    /// The value of a header.
    Header,
    /// The body of an answer that a proxy gives itself.
    Reply,
}
