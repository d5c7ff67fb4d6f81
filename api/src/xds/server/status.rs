//! Pure. What a session has sent and what of it was accepted, for status pages.

/// Synchronisation status of a client for one type, for status pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Number of subscribed names.
    pub subscribed: usize,
    /// Whether the client has a wildcard subscription.
    pub wildcard: bool,
    /// Number of resources that the client has.
    pub resources: usize,
    /// Nonce of the newest response; empty before the first.
    pub nonce_sent: String,
    /// Nonce of the newest response that was accepted.
    pub nonce_acked: String,
    /// The offer's version in the newest response.
    pub version_sent: String,
    /// The offer's version in the newest response that was accepted.
    pub version_acked: String,
    /// The newest NACK, until a later response is accepted.
    pub nack: Option<Nack>,
}

/// A client's NACK of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nack {
    /// Nonce of the refused response.
    pub nonce: String,
    /// Resources of the response that the client's error text names; all of them if it names none.
    pub names: Vec<String>,
    /// The client's error text.
    pub detail: String,
}
