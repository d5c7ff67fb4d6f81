//! Lookup of kinds by names on the command line and by the heads of objects.

use super::*;
use crate::resource::descriptor::{GATEWAY, NETWORKING};
use std::collections::BTreeSet;

#[test]
fn kinds_are_known_by_group_version_and_name() {
    let table = [
        ("v1", "Service", "Served(Service)"),
        ("apps/v1", "Deployment", "Served(Deployment)"),
        ("v1", "Deployment", "WrongGroup(Deployment)"),
        ("apps/v1beta1", "Deployment", "WrongVersion(Deployment)"),
        ("networking.istio.io/v1alpha3", "Gateway", "Served(IstioGateway)"),
        ("networking.istio.io/v1beta1", "VirtualService", "Served(VirtualService)"),
        ("networking.istio.io/v2", "VirtualService", "WrongVersion(VirtualService)"),
        ("security.istio.io/v1", "PeerAuthentication", "Served(PeerAuthentication)"),
        ("security.istio.io/v1alpha3", "PeerAuthentication", "WrongVersion(PeerAuthentication)"),
        ("networking.istio.io/v1", "VirtualServise", "Unknown"),
        ("", "", "Unknown"),
    ];
    for (api_version, kind, expected) in table {
        assert_eq!(format!("{:?}", known(api_version, kind)), expected, "{api_version} {kind}");
    }
    for (api_version, kind) in
        [("security.istio.io/v1", "AuthorizationPolicy"), ("gateway.networking.k8s.io/v1", "Gateway")]
    {
        assert!(matches!(known(api_version, kind), KindLookup::Unserved(_)), "{api_version} {kind}");
    }
}

#[test]
fn names_select_the_same_kinds_as_in_kubectl() {
    let table = [
        ("pods", "Pod."),
        ("po", "Pod."),
        ("Pod", "Pod."),
        ("pods.v1.", "Pod."),
        ("VirtualService", "VirtualService.networking.istio.io"),
        ("vs", "VirtualService.networking.istio.io"),
        ("deploy", "Deployment.apps"),
        ("deployments.apps", "Deployment.apps"),
        ("deployments.v1.apps", "Deployment.apps"),
        ("virtualservices.networking.istio.io", "VirtualService.networking.istio.io"),
        ("virtualservices.v1beta1.networking.istio.io", "VirtualService.networking.istio.io"),
        ("virtualservices.networking", "VirtualService.networking.istio.io"),
        // The Gateway API's kind has the same name; the group distinguishes them.
        ("gateways", "Gateway.networking.istio.io"),
        ("gateway", "Gateway.networking.istio.io"),
        ("gw", "Gateway.networking.istio.io"),
        ("gtw", "Gateway.gateway.networking.k8s.io"),
        ("gateways.gateway.networking.k8s.io", "Gateway.gateway.networking.k8s.io"),
        ("gateways.networking.istio.io", "Gateway.networking.istio.io"),
        ("netpol", "NetworkPolicy.networking.k8s.io"),
    ];
    for (word, expected) in table {
        let found = named(word).map(|kind| format!("{}.{}", kind.kind, kind.group));
        assert_eq!(found.as_deref(), Some(expected), "{word}");
    }
    for word in
        ["widgets", "pods.apps", "virtualservices.v9.networking.istio.io", "deployments.", "", ".apps"]
    {
        assert!(named(word).is_none(), "{word}");
    }
}

#[test]
fn categories_select_their_kinds() {
    let all: Vec<&str> = in_category("all").map(|kind| kind.plural).collect();
    assert_eq!(all, ["services", "pods", "deployments", "statefulsets", "replicasets", "jobs"]);
    let istio: BTreeSet<&str> = in_category("istio-io").map(|kind| kind.kind).collect();
    assert!(istio.contains("Gateway") && istio.contains("PeerAuthentication"), "{istio:?}");
    assert_eq!(in_category("vs").count(), 0);
}

#[test]
fn kinds_are_unique_within_a_group_and_both_gateways_exist() {
    let mut names = BTreeSet::new();
    for kind in descriptors() {
        for name in [kind.plural.to_owned(), kind.singular()]
            .iter()
            .chain(&kind.short.iter().map(ToString::to_string).collect::<Vec<_>>())
        {
            let once =
                names.insert((kind.group, name.clone())) || *name == kind.plural || *name == kind.singular();
            assert!(once, "{name} of {} is taken", kind.group);
        }
        assert_eq!(kind.plural, kind.plural.to_lowercase());
    }
    let names = [NETWORKING, GATEWAY].map(|group| shown(of(group, "Gateway").unwrap()));
    assert_eq!(names, ["Gateway", "Gateway.gateway.networking.k8s.io"]);
}

#[test]
fn every_row_parses_its_own_kind() {
    for kind in Kind::all() {
        let api_version = kind.descriptor().api_version(kind.descriptor().storage());
        assert!(
            matches!(known(&api_version, kind.name()), KindLookup::Served(found) if found == kind),
            "{kind}"
        );
    }
}
