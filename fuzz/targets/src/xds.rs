//! Discovery responses: bytes of each resource type for the decoder, and the accepted resources for the proxy. The
//! first byte chooses the type; with the last choice, the bytes are a whole response. Decoding inverts encoding.

use crate::{exercise, words};
use api::model::{Kind, Resource};
use api::wire::json::Schema;
use api::wire::xds::{Any, DeltaDiscoveryResponse, DiscoveryResponse, NodeInfo};
use api::wire::{self, Target};
use api::xds::client::Client;
use prost::Message;
use std::sync::OnceLock;

/// See the module.
pub fn run(data: &[u8]) {
    let kinds = Kind::ALL;
    let Some((choice, bytes)) = words::choice(data, kinds.len() as u8 + 1) else { return };
    match kinds.get(usize::from(choice)) {
        Some(kind) => resource(&Any { type_url: kind.type_url().to_owned(), value: bytes.to_vec() }),
        None => response(bytes),
    }
}

/// A resource: decoded, encoded and decoded again, dumped, and applied.
fn resource(any: &Any) {
    drop(schema().to_json(any));
    if let Some(resource) = decoded(any) {
        exercise::apply(vec![resource]);
    }
}

fn decoded(any: &Any) -> Option<Resource> {
    let first = match wire::decode(any) {
        Ok(resource) => resource,
        Err(error) => {
            assert!(!error.kind.is_empty() && !error.reason.is_empty(), "{error:?} says too little");
            return None;
        }
    };
    survives_the_wire(&first);
    Some(first)
}

/// Decoding inverts encoding, and equal values have equal bytes.
pub fn survives_the_wire(resource: &Resource) {
    let encoded = wire::encode(resource, &Target { istio_extensions: true });
    let decoded = wire::decode(&encoded).unwrap_or_else(|error| panic!("{error}\nof {resource:?}"));
    assert_eq!(*resource, decoded);
    assert_eq!(encoded, wire::encode(&decoded, &Target { istio_extensions: true }), "of {resource:?}");
}

/// A whole response, in either form of the protocol.
fn response(bytes: &[u8]) {
    if let Ok(response) = DiscoveryResponse::decode(bytes) {
        response.resources.iter().for_each(resource);
    }
    let Ok(response) = DeltaDiscoveryResponse::decode(bytes) else { return };
    let mut client = Client::new(NodeInfo::default(), &Kind::ALL);
    drop(client.connected());
    let Some(received) = client.receive(response) else { return };
    let mut rejected = vec![];
    let mut resources = vec![];
    for (name, body) in &received.upserts {
        match wire::decode(body) {
            Ok(resource) => resources.push(resource),
            Err(error) => rejected.push((name.clone(), error.to_string())),
        }
    }
    exercise::apply(resources);
    let response = client.acknowledge(&received, &rejected);
    assert_eq!(response.error_detail.is_some(), !rejected.is_empty());
}

/// The descriptors are large, so they are built once.
pub fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(Schema::load)
}
