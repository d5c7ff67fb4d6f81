//! Envoy's and Istio's protobuf, and the only place that names it: model values to wire and back.
//!
//! Everything above this module uses `model`; everything on the network is Envoy xDS v3. One file per resource
//! holds both directions, and `decode` inverts `encode`. A decoder refuses an unknown field with the name of the
//! resource and the path of the field. The fields that it reads without effect are listed in `ignored`. `xds` holds
//! the messages and service stubs of the discovery protocol itself.

pub mod json;

mod listener;

mod connection;
mod listener_filter;
mod tcp;

mod cluster;

mod balancing;
mod dns;
mod outlier;
mod upstream;

mod route;

mod extra;
mod filter;
mod forward;
mod retry;

mod access_log;
mod authorization;
mod endpoint;
mod secret;
mod tls;
mod matcher;
mod path_template;
mod workload;

mod source;
mod any;
mod scalar;
mod stable;
mod refusal;
mod ignored;
mod descriptors;
mod istio;
mod target;
pub mod xds;

mod value;

use crate::model::{Kind, Resource};
use any::{pack, pack_in_order, type_name, unpack};
use refusal::Refusal;
use stable::{ASSIGNMENT, CLUSTER, ROUTES};

pub use target::Target;
pub use xds::Any;

/// A message that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?}{}{path}: {reason}", if .path.is_empty() { "" } else { ": " })]
pub struct DecodeError {
    /// Type of the resource, such as `Listener`.
    pub kind: String,
    /// Its name; empty when that could not be read.
    pub name: String,
    /// The field, such as `filter_chains[0].filters[1]`; empty for the whole resource.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Encodes a resource for a client. Equal resources have equal bytes.
pub fn encode(resource: &Resource, target: &Target) -> Any {
    match resource {
        Resource::Listener(model) => pack(&listener::encode(model, *target)),
        Resource::Route(model) => pack_in_order(&route::encode(model), &ROUTES),
        Resource::Cluster(model) => pack_in_order(&cluster::encode(model), &CLUSTER),
        Resource::Endpoints(model) => pack_in_order(&endpoint::encode(model), &ASSIGNMENT),
        Resource::Secret(model) => pack(&secret::encode(model)),
        Resource::Workload(model) => pack(&workload::encode(model)),
        Resource::Names(model) => pack(&workload::encode_names(model)),
    }
}

/// Decodes a resource from its wire form.
pub fn decode(any: &Any) -> Result<Resource, DecodeError> {
    let Some(kind) = Kind::from_type_url(&any.type_url) else {
        let reason = format!("resources of type {} are not supported", any.type_url);
        return Err(DecodeError {
            kind: short(&any.type_url),
            name: String::new(),
            path: String::new(),
            reason,
        });
    };
    let mut name = String::new();
    resource(kind, any, &mut name).map_err(|refusal| DecodeError {
        kind: short(&any.type_url),
        name,
        path: refusal.path(),
        reason: refusal.reason,
    })
}

/// Decodes a resource, and sets `name` as soon as it is known.
fn resource(kind: Kind, any: &Any, name: &mut String) -> Result<Resource, Refusal> {
    match kind {
        Kind::Listener => {
            let message = unpack::<envoy_types::pb::envoy::config::listener::v3::Listener>(any)?;
            name.clone_from(&message.name);
            listener::decode(message).map(Resource::Listener)
        }
        Kind::Route => {
            let message = unpack::<envoy_types::pb::envoy::config::route::v3::RouteConfiguration>(any)?;
            name.clone_from(&message.name);
            route::decode(message).map(Resource::Route)
        }
        Kind::Cluster => {
            let message = unpack::<envoy_types::pb::envoy::config::cluster::v3::Cluster>(any)?;
            name.clone_from(&message.name);
            cluster::decode(message).map(|c| Resource::Cluster(Box::new(c)))
        }
        Kind::Endpoints => {
            let message = unpack::<envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment>(any)?;
            name.clone_from(&message.cluster_name);
            endpoint::decode(message).map(Resource::Endpoints)
        }
        Kind::Secret => {
            let message =
                unpack::<envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret>(any)?;
            name.clone_from(&message.name);
            secret::decode(message).map(Resource::Secret)
        }
        Kind::Workload => {
            let message = unpack::<istio::Address>(any)?;
            name.clone_from(&message.workload.as_ref().map(|w| w.uid.clone()).unwrap_or_default());
            workload::decode(message).map(Resource::Workload)
        }
        Kind::Names => workload::decode_names(unpack(any)?).map(Resource::Names),
    }
}

/// The last part of a message name.
fn short(type_url: &str) -> String {
    let name = type_name(type_url);
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod strategy;
#[cfg(test)]
mod tests;
