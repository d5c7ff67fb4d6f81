//! Pure. A request of either form of the protocol, read into what it means.

use super::Request;
use crate::model::Kind;

/// What a request means.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) kind: Kind,
    /// Which response it answers; empty: none.
    pub(super) nonce: String,
    /// The answer is a refusal, for this reason.
    pub(super) error: Option<String>,
    pub(super) change: Change,
    /// What a returning client has; versions this server never gives are `None`.
    pub(super) initial: Vec<(String, Option<u64>)>,
}

/// How subscriptions change.
#[derive(Debug)]
pub(super) enum Change {
    /// By names that come and go.
    Delta { subscribe: Vec<String>, unsubscribe: Vec<String> },
    /// To exactly these names; a request that answers an older response is out of date.
    Whole(Vec<String>),
}

impl Ask {
    /// `None`: a type of resource that this server does not have.
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

/// A resource's version as the wire has it.
pub(super) fn version_text(version: u64) -> String {
    format!("{version:016x}")
}

fn parse_version(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// The beginning of a refusal's text: it is kept and shown, and the client chooses how long it is.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_DETAIL {
        text.truncate(text.floor_char_boundary(MAX_DETAIL));
        text.shrink_to_fit();
    }
    text
}

/// Bytes of a refusal that are kept.
const MAX_DETAIL: usize = 16 << 10;
