//! A recording: a file of length-delimited `DeltaDiscoveryResponse` messages, one for each type, with the resources in
//! the order of their names.

use std::collections::BTreeMap;
use std::path::Path;

use api::model::Kind;
use api::wire::xds::{Any, DeltaDiscoveryResponse};
use prost::Message;

/// The resources of a recording, by type and name.
pub type Recording = BTreeMap<Kind, BTreeMap<String, Any>>;

/// Reads a recording.
pub fn load(from: &Path) -> Recording {
    let bytes = std::fs::read(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    let mut rest = &bytes[..];
    let mut recording = Recording::new();
    while !rest.is_empty() {
        let response = DeltaDiscoveryResponse::decode_length_delimited(&mut rest).expect("it is a recording");
        let kind = Kind::from_type_url(&response.type_url).expect("its types are those of the mesh");
        let named = response.resources.into_iter().filter_map(|r| Some((r.name, r.resource?)));
        recording.entry(kind).or_default().extend(named);
    }
    recording
}
