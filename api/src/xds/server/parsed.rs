//! Pure. Parses a request of either form of the protocol into one type.

use super::request::Request;
use crate::model::Kind;

/// A parsed request.
#[derive(Debug)]
pub(super) struct ParsedRequest {
    pub(super) kind: Kind,
    /// Nonce of the response that it acknowledges or refuses; empty: none.
    pub(super) nonce: String,
    /// The reason, if it is a NACK.
    pub(super) error: Option<String>,
    pub(super) change: Change,
    /// Resources that a reconnecting client has. The version is `None` if no server of this kind has sent it.
    pub(super) initial: Vec<(String, Option<u64>)>,
}

/// How subscriptions change.
#[derive(Debug)]
pub(super) enum Change {
    /// By added and removed names.
    Delta { subscribe: Vec<String>, unsubscribe: Vec<String> },
    /// To exactly these names. A request with the nonce of an older response is stale.
    Whole(Vec<String>),
}

impl ParsedRequest {
    /// Parses a request; `None` for a type of resource that this server does not have.
    pub(super) fn read(request: Request) -> Option<Self> {
        match request {
            Request::Delta(request) => {
                let versions = request.initial_resource_versions.into_iter();
                Some(Self {
                    kind: Kind::from_type_url(&request.type_url)?,
                    nonce: request.response_nonce,
                    error: request.error_detail.map(|status| shortened(status.message)),
                    change: Change::Delta {
                        subscribe: request.resource_names_subscribe,
                        unsubscribe: request.resource_names_unsubscribe,
                    },
                    initial: versions.map(|(name, text)| (name, parse_version(&text))).collect(),
                })
            }
            Request::Sotw(request) => Some(Self {
                kind: Kind::from_type_url(&request.type_url)?,
                nonce: request.response_nonce,
                error: request.error_detail.map(|status| shortened(status.message)),
                change: Change::Whole(request.resource_names),
                initial: vec![],
            }),
        }
    }
}

/// A resource's version as text, as messages carry it.
pub(super) fn version_text(version: u64) -> String {
    format!("{version:016x}")
}

fn parse_version(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Truncates a NACK's text, which is stored and shown and whose length the client chooses.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_DETAIL {
        text.truncate(text.floor_char_boundary(MAX_DETAIL));
        text.shrink_to_fit();
    }
    text
}

/// Bytes of a NACK's text that are kept.
const MAX_DETAIL: usize = 16 << 10;
