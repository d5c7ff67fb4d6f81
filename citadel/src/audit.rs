//! Writes one log line for each decision, under the target `audit`, so that the record of issued certificates and
//! refused requests can be kept apart from the rest of the log. Never contains a token or a key.

use crate::flow::{Caller, Issued};
use std::error::Error;
use std::net::SocketAddr;
use time::format_description::well_known::Rfc3339;

/// Logs an issued certificate.
pub fn allowed(address: SocketAddr, caller: &Caller, issued: &Issued) {
    let not_after = issued.not_after.format(&Rfc3339).unwrap_or_default();
    tracing::info!(
        target: "audit",
        decision = "allowed",
        identity = %caller.id,
        method = %caller.method,
        serial = issued.serial,
        not_after,
        %address,
        "certificate issued"
    );
}

/// Logs a refusal. `caller` is `None` if the client is not authenticated.
pub fn denied(address: SocketAddr, caller: Option<&Caller>, reason: &dyn Error) {
    let identity = caller.map_or("unknown", |caller| caller.id.as_str());
    let method = caller.map(|caller| caller.method.to_string()).unwrap_or_default();
    let reason = chain(reason);
    tracing::warn!(target: "audit", decision = "denied", identity, method, reason, %address, "certificate refused");
}

/// Formats an error with all its sources in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
