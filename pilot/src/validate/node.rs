//! Pure. Converts a Node to where it is.

use crate::catalog::node::{self, Node};
use api::resource::object::Object;
use k8s_openapi::api::core::v1 as core;

pub(super) fn node(object: &Object, body: &core::Node) -> Node {
    let written = body.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let outside = written.filter(|address| address.type_ == "ExternalIP" && !address.address.is_empty());
    Node {
        name: object.name().to_owned(),
        locality: node::of_node(&object.labels),
        addresses: outside.map(|address| address.address.clone()).collect(),
    }
}
