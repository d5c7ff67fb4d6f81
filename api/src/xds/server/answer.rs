//! Pure. Responses of either form of the protocol.

use super::Response;
use super::ask::version_text;
use super::watch::{Diff, Known, Watch};
use crate::model::Kind;
use crate::wire::xds::{Any, DeltaDiscoveryResponse, DiscoveryResponse, Resource};
use crate::xds::offer::{Offer, Offered};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What changes.
pub(super) fn delta(kind: Kind, diff: &Diff, nonce: &str, offer: &dyn Offer) -> Response {
    let resource = |(name, offered): &(Arc<str>, Offered)| Resource {
        name: name.to_string(),
        version: version_text(offered.version),
        resource: Some(Any::clone(&offered.body)),
        ..Resource::default()
    };
    Response::Delta(DeltaDiscoveryResponse {
        system_version_info: offer.version().to_owned(),
        resources: diff.upserts.iter().map(resource).collect(),
        type_url: kind.type_url().to_owned(),
        removed_resources: diff.removed.iter().map(ToString::to_string).collect(),
        nonce: nonce.to_owned(),
        ..DeltaDiscoveryResponse::default()
    })
}

/// Everything for clusters and listeners, because there what is missing is removed; what changes for other types.
/// What must not be removed yet is repeated as it was sent before.
pub(super) fn sotw(watch: &mut Watch, kind: Kind, diff: &Diff, nonce: &str, offer: &dyn Offer) -> Response {
    let resources = if watch.is_whole() {
        let whole = whole(watch, kind, diff, offer);
        let bodies = whole.values().map(|offered| Any::clone(&offered.body)).collect();
        watch.bodies = whole;
        bodies
    } else {
        diff.upserts.iter().map(|(_, offered)| Any::clone(&offered.body)).collect()
    };
    Response::Sotw(DiscoveryResponse {
        version_info: offer.version().to_owned(),
        resources,
        type_url: kind.type_url().to_owned(),
        nonce: nonce.to_owned(),
        ..DiscoveryResponse::default()
    })
}

fn whole(watch: &Watch, kind: Kind, diff: &Diff, offer: &dyn Offer) -> BTreeMap<Arc<str>, Offered> {
    let mut whole = BTreeMap::new();
    let held = |(name, _): &(&Arc<str>, &Known)| !diff.removed.contains(*name);
    for (name, _) in watch.known.iter().filter(held) {
        if let Some(offered) = watch.bodies.get(name) {
            whole.insert(name.clone(), offered.clone());
        }
    }
    if watch.wildcard {
        offer.each(kind, &mut |name, offered| {
            whole.insert(name.clone(), offered.clone());
        });
    }
    for name in &watch.names {
        if let Some(offered) = offer.find(kind, name) {
            whole.insert(name.clone(), offered);
        }
    }
    whole
}
