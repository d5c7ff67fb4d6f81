//! Pure. Holding of a request's body until it has arrived completely.
//!
//! Envoy: `extensions.filters.http.buffer.v3.Buffer`, for a listener, and `BufferPerRoute` for a route.

/// Envoy's name of the filter.
pub const NAME: &str = "envoy.filters.http.buffer";

/// Requests are forwarded once their body has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// The longest body; a request with a longer one is refused with 413.
    pub max_request_bytes: u32,
}
