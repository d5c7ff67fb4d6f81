//! Pure. gRPC's headers and trailers.

use http::HeaderName;
use std::fmt::Write;

/// The numeric status of a call.
pub const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The error message of a call.
pub const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The gRPC status for an HTTP status.
pub fn status_of(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// Percent-encodes a message for `grpc-message`.
pub fn percent_encoded(message: &[u8]) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message {
        match byte {
            b' '..=b'~' if *byte != b'%' => out.push(*byte as char),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}
