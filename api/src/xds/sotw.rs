//! Pure. The client's side of the state-of-the-world protocol, for control planes without the delta protocol.
//!
//! It translates the messages of a delta client (`client::Client`), one stream at a time: a request becomes the whole
//! list of names, and a response of a type whose list is complete becomes a difference to what the client has. The
//! protocol cannot say that a resource by name does not exist; such a resource stays missing.

use crate::model::Kind;
use crate::wire::xds::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// The translation of one stream.
#[derive(Debug, Default)]
pub struct Sotw {
    kinds: BTreeMap<Kind, Subscription>,
}

#[derive(Debug, Default)]
struct Subscription {
    wildcard: bool,
    names: BTreeSet<String>,
    /// Names of the resources that the client has, where the subscription is a wildcard.
    held: BTreeSet<String>,
    /// Version of the last accepted response.
    version: String,
    /// Nonce and version of the last response.
    last: (String, String),
}

impl Sotw {
    /// Translates a request. `None`: its type has no state-of-the-world form.
    pub fn request(&mut self, delta: DeltaDiscoveryRequest) -> Option<DiscoveryRequest> {
        let kind = Kind::from_type_url(&delta.type_url).filter(|kind| is_translated(*kind))?;
        let is_first = !self.kinds.contains_key(&kind);
        let subscription = self.kinds.entry(kind).or_default();
        let (wildcards, names): (Vec<_>, Vec<_>) =
            delta.resource_names_subscribe.into_iter().partition(|name| name == WILDCARD);
        if is_first {
            subscription.wildcard = names.is_empty() || !wildcards.is_empty();
            subscription.held = delta.initial_resource_versions.into_keys().collect();
        }
        subscription.names.extend(names);
        for name in &delta.resource_names_unsubscribe {
            subscription.names.remove(name);
        }
        let (nonce, version) = &subscription.last;
        if delta.response_nonce == *nonce && delta.error_detail.is_none() {
            subscription.version.clone_from(version);
        }
        Some(DiscoveryRequest {
            version_info: subscription.version.clone(),
            node: delta.node,
            // For a wildcard the list is empty: other names are part of everything.
            resource_names: subscription.names.iter().filter(|_| !subscription.wildcard).cloned().collect(),
            type_url: delta.type_url,
            response_nonce: subscription.last.0.clone(),
            error_detail: delta.error_detail,
            ..DiscoveryRequest::default()
        })
    }

    /// Translates a response. `None`: its type was never requested.
    pub fn response(&mut self, sotw: DiscoveryResponse) -> Option<DeltaDiscoveryResponse> {
        let kind = Kind::from_type_url(&sotw.type_url)?;
        let subscription = self.kinds.get_mut(&kind)?;
        subscription.last = (sotw.nonce.clone(), sotw.version_info.clone());
        let resources: Vec<Resource> = sotw
            .resources
            .into_iter()
            .map(|body| Resource {
                name: name(kind, &body.value),
                version: sotw.version_info.clone(),
                resource: Some(body),
                ..Resource::default()
            })
            .collect();
        let mut removed = vec![];
        if subscription.wildcard {
            let now: BTreeSet<String> = resources.iter().map(|resource| resource.name.clone()).collect();
            removed = subscription.held.difference(&now).cloned().collect();
            subscription.held = now;
        }
        Some(DeltaDiscoveryResponse {
            system_version_info: sotw.version_info,
            resources,
            type_url: sotw.type_url,
            removed_resources: removed,
            nonce: sotw.nonce,
            ..DeltaDiscoveryResponse::default()
        })
    }
}

/// Workloads are requested by address, one more with each request, which would repeat the whole list every time.
fn is_translated(kind: Kind) -> bool {
    kind != Kind::Workload
}

/// The name of an encoded resource: field 1 of each of these messages. The table of names has none.
fn name(kind: Kind, body: &[u8]) -> String {
    if kind == Kind::Names {
        return String::new();
    }
    Named::decode(body).map(|named| named.name).unwrap_or_default()
}

#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

const WILDCARD: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Resource as Model;
    use crate::model::cluster::{Cluster, Discovery};
    use crate::model::endpoint::LoadAssignment;
    use crate::model::listener::{Direction, Inspect, Listener};
    use crate::model::route::RouteConfiguration;
    use crate::model::secret::{Secret, SecretContent};
    use crate::wire::xds::nack;
    use crate::wire::{Target, encode};

    fn delta(kind: Kind) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest { type_url: kind.type_url().into(), ..DeltaDiscoveryRequest::default() }
    }

    fn clusters(names: &[&str], version: &str) -> DiscoveryResponse {
        let body = |name: &&str| {
            let cluster = Cluster::new((*name).to_owned(), Discovery::Eds((*name).into()));
            encode(&Model::Cluster(Box::new(cluster)), &Target { istio_extensions: true })
        };
        DiscoveryResponse {
            version_info: version.into(),
            resources: names.iter().map(body).collect(),
            type_url: Kind::Cluster.type_url().into(),
            nonce: format!("n{version}"),
            ..DiscoveryResponse::default()
        }
    }

    #[test]
    fn what_a_complete_list_lacks_is_removed() {
        let mut stream = Sotw::default();
        let held = [("a".to_owned(), "0".to_owned()), ("old".to_owned(), "0".to_owned())].into();
        let first = DeltaDiscoveryRequest { initial_resource_versions: held, ..delta(Kind::Cluster) };
        assert_eq!(stream.request(first).unwrap().resource_names, [""; 0]);
        let response = stream.response(clusters(&["a", "b"], "1")).unwrap();
        assert_eq!(response.removed_resources, ["old"]);
        let names: Vec<_> = response.resources.iter().map(|r| (&r.name[..], &r.version[..])).collect();
        assert_eq!(names, [("a", "1"), ("b", "1")]);
        assert_eq!(stream.response(clusters(&["b"], "2")).unwrap().removed_resources, ["a"]);
    }

    #[test]
    fn a_refusal_names_the_last_accepted_version() {
        let mut stream = Sotw::default();
        stream.request(delta(Kind::Cluster));
        for (version, error, accepted) in [("1", None, "1"), ("2", Some(nack("no")), "1"), ("3", None, "3")] {
            stream.response(clusters(&["a"], version));
            let reply = DeltaDiscoveryRequest {
                response_nonce: format!("n{version}"),
                error_detail: error.clone(),
                ..delta(Kind::Cluster)
            };
            let reply = stream.request(reply).unwrap();
            assert_eq!((reply.version_info.as_str(), reply.error_detail), (accepted, error));
            assert_eq!(reply.response_nonce, format!("n{version}"));
        }
    }

    #[test]
    fn each_request_lists_all_names() {
        let mut stream = Sotw::default();
        let mut names = |add: &[&str], drop: &[&str]| {
            let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
            let request = DeltaDiscoveryRequest {
                resource_names_subscribe: list(add),
                resource_names_unsubscribe: list(drop),
                ..delta(Kind::Endpoints)
            };
            stream.request(request).unwrap().resource_names
        };
        assert_eq!(names(&["b", "a"], &[]), ["a", "b"]);
        assert_eq!(names(&["c"], &["a"]), ["b", "c"]);
        assert_eq!(names(&[], &["b", "c"]), [""; 0]);
        assert_eq!(stream.request(delta(Kind::Workload)), None);
    }

    #[test]
    fn the_name_of_each_kind_of_resource_is_found() {
        let listener = Listener {
            name: "x".into(),
            address: "127.0.0.1:1".parse().unwrap(),
            bind_to_port: false,
            direction: Direction::Outbound,
            use_original_destination: false,
            inspect: Inspect::default(),
            chains: vec![],
            default_chain: None,
        };
        let roots = SecretContent::Roots { bundle: "pem".into() };
        for resource in [
            Model::Cluster(Box::new(Cluster::new("x", Discovery::Eds("y".into())))),
            Model::Endpoints(LoadAssignment { cluster: "x".into(), localities: vec![] }),
            Model::Listener(listener),
            Model::Route(RouteConfiguration { name: "x".into(), ..RouteConfiguration::default() }),
            Model::Secret(Secret { name: "x".into(), content: roots }),
        ] {
            let body = encode(&resource, &Target { istio_extensions: true });
            assert_eq!(name(resource.kind(), &body.value), "x", "{:?}", resource.kind());
        }
    }
}
