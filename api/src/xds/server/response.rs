//! Pure. Responses of either form of the protocol, and their encoding: large resources are not copied into a response,
//! and a response is encoded only as fast as its client reads it.

use super::client_state::ClientVersion;
use super::parsed::version_text;
use super::request::Mode;
use super::watch::{Diff, Watch};
use crate::model::Kind;
use crate::wire::xds::{DeltaDiscoveryResponse, DiscoveryResponse, Resource};
use crate::xds::offer::Offer;
use crate::xds::table::Offered;
use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A response, in the form of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The form of the protocol.
    pub mode: Mode,
    /// The type of its resources.
    pub kind: Kind,
    /// The offer's version.
    pub version: String,
    /// The nonce, which the client's ACK or NACK repeats.
    pub nonce: String,
    /// Added and changed resources.
    pub resources: Vec<(Arc<str>, Offered)>,
    /// Names of removed resources; in the delta form only.
    pub removed: Vec<Arc<str>>,
}

/// A response with the changes.
pub(super) fn delta(kind: Kind, diff: &Diff, nonce: &str, offer: &dyn Offer) -> Response {
    Response {
        mode: Mode::Delta,
        kind,
        version: offer.version().to_owned(),
        nonce: nonce.to_owned(),
        resources: diff.upserts.clone(),
        removed: diff.removed.clone(),
    }
}

/// A response with all resources for clusters and listeners, because clients remove the missing ones; a response with
/// the changes for other types. Resources that must not be removed yet are repeated as they were sent before.
pub(super) fn sotw(watch: &Watch, kind: Kind, diff: &Diff, nonce: &str, offer: &dyn Offer) -> Response {
    let resources = if watch.is_whole() { whole(watch, kind, diff, offer) } else { diff.upserts.clone() };
    Response {
        mode: Mode::Sotw,
        kind,
        version: offer.version().to_owned(),
        nonce: nonce.to_owned(),
        resources,
        removed: vec![],
    }
}

fn whole(watch: &Watch, kind: Kind, diff: &Diff, offer: &dyn Offer) -> Vec<(Arc<str>, Offered)> {
    let holding = &watch.holding;
    let mut whole = BTreeMap::new();
    for (name, known) in holding.all_known().filter(|(name, _)| !diff.removed.contains(*name)) {
        if let ClientVersion::Sent(offered) = known {
            whole.insert(name.clone(), offered);
        }
    }
    if holding.wildcard() {
        offer.each(kind, &mut |name, offered| {
            whole.insert(name.clone(), offered.clone());
        });
    }
    for name in holding.names() {
        if let Some(offered) = offer.find(kind, name) {
            whole.insert(name.clone(), offered);
        }
    }
    whole.into_iter().collect()
}

impl Response {
    /// The type of its resources.
    pub fn type_url(&self) -> &'static str {
        self.kind.type_url()
    }

    /// The response, where the session's mode is delta.
    pub fn into_delta(self) -> Option<DeltaDiscoveryResponse> {
        let resource = |(name, offered): &(Arc<str>, Offered)| Resource {
            name: name.to_string(),
            version: version_text(offered.version),
            resource: Some(offered.body()),
            ..Resource::default()
        };
        (self.mode == Mode::Delta).then(|| DeltaDiscoveryResponse {
            system_version_info: self.version,
            resources: self.resources.iter().map(resource).collect(),
            type_url: self.kind.type_url().to_owned(),
            removed_resources: self.removed.iter().map(ToString::to_string).collect(),
            nonce: self.nonce,
            ..DeltaDiscoveryResponse::default()
        })
    }

    /// The response, where the session's mode is state of the world.
    pub fn into_sotw(self) -> Option<DiscoveryResponse> {
        (self.mode == Mode::Sotw).then(|| DiscoveryResponse {
            version_info: self.version,
            resources: self.resources.iter().map(|(_, offered)| offered.body()).collect(),
            type_url: self.kind.type_url().to_owned(),
            nonce: self.nonce,
            ..DiscoveryResponse::default()
        })
    }

    /// Size of its resources in bytes.
    pub fn size(&self) -> usize {
        self.resources.iter().map(|(_, offered)| offered.entry.len()).sum()
    }

    /// Length of the encoded message in bytes.
    pub fn encoded_len(&self) -> usize {
        let heads: usize = match self.mode {
            Mode::Sotw => 0,
            Mode::Delta => self.resources.iter().map(|(name, offered)| head_len(name, offered)).sum(),
        };
        let texts = [&self.version, self.type_url(), &self.nonce].into_iter();
        let texts: usize = texts.chain(self.removed.iter().map(AsRef::as_ref)).map(text_len).sum();
        texts + heads + self.size()
    }

    /// The encoded message, in parts.
    pub fn into_parts(self) -> Parts {
        Parts { response: self, written: None, large: None }
    }
}

/// The parts of a response that are not written yet.
#[derive(Debug)]
pub struct Parts {
    response: Response,
    /// How many of the resources and then of the removed names are written; `None`: not even the fields before them.
    written: Option<usize>,
    /// The body of the last written resource, if that is still to be written.
    large: Option<Bytes>,
}

impl Iterator for Parts {
    type Item = Bytes;

    /// The next part, about as long as a few frames. A large resource is a part of its own, because all clients share
    /// its bytes.
    fn next(&mut self) -> Option<Bytes> {
        if let Some(large) = self.large.take() {
            return Some(large);
        }
        let mut part = BytesMut::new();
        if self.written.is_none() {
            put_text(VERSION_FIELD, &self.response.version, &mut part);
            put_text(TYPE_FIELD, self.response.type_url(), &mut part);
            put_text(NONCE_FIELD, &self.response.nonce, &mut part);
        }
        let mut written = self.written.unwrap_or_default();
        while part.len() < PART && self.large.is_none() && self.put(written, &mut part) {
            written += 1;
        }
        self.written = Some(written);
        if part.is_empty() { self.large.take() } else { Some(part.freeze()) }
    }
}

impl Parts {
    /// Writes one of the resources or removed names; returns false if the index is past the end.
    fn put(&mut self, at: usize, part: &mut BytesMut) -> bool {
        let Response { mode, resources, removed, .. } = &self.response;
        if let Some((name, offered)) = resources.get(at) {
            if *mode == Mode::Delta {
                encode_key(RESOURCES_FIELD, WireType::LengthDelimited, part);
                encode_varint(resource_len(name, offered) as u64, part);
                put_text(RESOURCE_NAME_FIELD, name, part);
                put_text(RESOURCE_VERSION_FIELD, &version_text(offered.version), part);
            }
            if offered.entry.len() < LARGE {
                part.put_slice(&offered.entry);
            } else {
                self.large = Some(Bytes::from_owner(offered.entry.clone()));
            }
            return true;
        }
        let Some(name) = removed.get(at - resources.len()) else { return false };
        put_text(REMOVED_FIELD, name, part);
        true
    }
}

/// Length of a `Resource` of the delta form, without its field key and length.
fn resource_len(name: &str, offered: &Offered) -> usize {
    text_len(name) + text_len(&version_text(offered.version)) + offered.entry.len()
}

/// Length of the fields before a resource's body in the delta form.
fn head_len(name: &str, offered: &Offered) -> usize {
    let resource = resource_len(name, offered);
    KEY + encoded_len_varint(resource as u64) + resource - offered.entry.len()
}

fn put_text(field: u32, text: &str, part: &mut BytesMut) {
    if !text.is_empty() {
        encode_key(field, WireType::LengthDelimited, part);
        encode_varint(text.len() as u64, part);
        part.put_slice(text.as_bytes());
    }
}

fn text_len(text: &str) -> usize {
    if text.is_empty() { 0 } else { KEY + encoded_len_varint(text.len() as u64) + text.len() }
}

/// Bytes of the key of a field whose number is below 16.
const KEY: usize = 1;
/// Bytes after which a part ends: two HTTP/2 frames, because a part stays in memory until its client reads it.
const PART: usize = 32 << 10;
/// Resources of at least this many bytes are not copied into a part.
const LARGE: usize = 16 << 10;

/// Numbers of fields that both forms of the protocol have.
const VERSION_FIELD: u32 = 1;
const RESOURCES_FIELD: u32 = 2;
const TYPE_FIELD: u32 = 4;
const NONCE_FIELD: u32 = 5;
/// `DeltaDiscoveryResponse.removed_resources`.
const REMOVED_FIELD: u32 = 6;
/// `Resource.version`.
const RESOURCE_VERSION_FIELD: u32 = 1;
const RESOURCE_NAME_FIELD: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::xds::Any;
    use prost::Message;

    fn response(mode: Mode, sizes: &[usize]) -> Response {
        let resource = |(at, size): (usize, &usize)| {
            let any = Any { type_url: "type.example/x".into(), value: vec![at as u8; *size] };
            (Arc::from(format!("resource-{at}")), Offered::new(&any))
        };
        Response {
            mode,
            kind: Kind::Cluster,
            version: "7".into(),
            nonce: "3".into(),
            resources: sizes.iter().enumerate().map(resource).collect(),
            removed: if mode == Mode::Delta { vec!["gone".into(), "away".into()] } else { vec![] },
        }
    }

    #[test]
    fn the_parts_equal_the_generated_encoding_except_for_the_order_of_fields() {
        for sizes in [&[][..], &[0], &[100, 0, 3], &[LARGE, 5, 3 * LARGE, LARGE], &[1000; 200], &[PART; 3]] {
            let delta = response(Mode::Delta, sizes);
            let bytes = delta.clone().into_parts().collect::<Vec<_>>().concat();
            assert_eq!(bytes.len(), delta.encoded_len(), "{sizes:?}");
            assert_eq!(DeltaDiscoveryResponse::decode(&bytes[..]).ok(), delta.into_delta());
            let sotw = response(Mode::Sotw, sizes);
            let bytes = sotw.clone().into_parts().collect::<Vec<_>>().concat();
            assert_eq!(bytes.len(), sotw.encoded_len(), "{sizes:?}");
            assert_eq!(DiscoveryResponse::decode(&bytes[..]).ok(), sotw.into_sotw());
        }
    }

    #[test]
    fn only_parts_with_shared_bytes_are_large() {
        let response = response(Mode::Delta, &[1000, 5000, LARGE - 100, 5000, 4 * LARGE, 1000, 9000, 20_000]);
        let shared: Vec<*const u8> =
            response.resources.iter().map(|(_, offered)| offered.entry.as_ptr()).collect();
        for part in response.into_parts() {
            assert!(!part.is_empty());
            assert!(part.len() <= PART + LARGE || shared.contains(&part.as_ptr()), "{}", part.len());
        }
    }
}
