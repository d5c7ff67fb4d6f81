//! Pure. Where a format string is used, which decides the operators that it may have.

/// Where a format string is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// An access log line.
    Log,
    /// A header's value.
    Header,
    /// The body of a local reply.
    Reply,
}
