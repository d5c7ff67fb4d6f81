//! Arbitrary resources, for the property that decoding inverts encoding.
//!
//! Only valid values in normal form are generated: lower-case header names, limits that are not zero, one kind of
//! certificate source in a TLS context, policies and log fields sorted by name.

pub(super) mod basic;
mod cluster;
mod listener;
mod route;
pub(super) mod security;

use crate::model::Resource;
use cluster::{assignment, cluster, names, workload};
use listener::listener;
use proptest::prelude::*;
use route::route_configuration;
use security::secret;

pub(super) fn resource() -> BoxedStrategy<Resource> {
    prop_oneof![
        listener().prop_map(Resource::Listener),
        route_configuration().prop_map(Resource::Route),
        cluster().prop_map(|c| Resource::Cluster(Box::new(c))),
        assignment().prop_map(Resource::Endpoints),
        secret().prop_map(Resource::Secret),
        workload().prop_map(Resource::Workload),
        names().prop_map(Resource::Names),
    ]
    .boxed()
}
