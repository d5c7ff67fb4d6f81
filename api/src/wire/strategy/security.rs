//! Arbitrary authorization policies, TLS settings and secrets.

use super::basic::{header_match, name, net, string_match, text};
use crate::model::authorization::{Action, Authorization, Permission, Policy, Principal};
use crate::model::secret::{Secret, SecretContent};
use crate::model::tls::*;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

fn permission() -> BoxedStrategy<Permission> {
    let leaf = prop_oneof![
        Just(Permission::Any),
        header_match().prop_map(Permission::Header),
        string_match().prop_map(Permission::Path),
        net().prop_map(Permission::DestinationIp),
        any::<u16>().prop_map(Permission::DestinationPort),
        (0i32..65_536, 0i32..65_536).prop_map(|(a, b)| Permission::DestinationPorts(a, b)),
        string_match().prop_map(Permission::ServerName),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Permission::And),
            vec(inner.clone(), 0..3).prop_map(Permission::Or),
            inner.prop_map(|p| Permission::Not(Box::new(p))),
        ]
    })
    .boxed()
}

fn principal() -> BoxedStrategy<Principal> {
    let leaf = prop_oneof![
        Just(Principal::Any),
        of(string_match()).prop_map(Principal::Authenticated),
        net().prop_map(Principal::DirectRemoteIp),
        net().prop_map(Principal::RemoteIp),
        header_match().prop_map(Principal::Header),
        string_match().prop_map(Principal::Path),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Principal::And),
            vec(inner.clone(), 0..3).prop_map(Principal::Or),
            inner.prop_map(|p| Principal::Not(Box::new(p))),
        ]
    })
    .boxed()
}

pub(in crate::wire) fn authorization() -> BoxedStrategy<Authorization> {
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny), Just(Action::Log)];
    let rules = (vec(permission(), 0..3), vec(principal(), 0..3));
    (action, btree_map(name(), rules, 0..4), any::<bool>())
        .prop_map(|(action, policies, shadow)| {
            let policies = policies
                .into_iter()
                .map(|(name, (permissions, principals))| Policy { name, permissions, principals })
                .collect();
            Authorization { action, policies, shadow }
        })
        .boxed()
}

pub(in crate::wire) fn tls_parameters() -> BoxedStrategy<TlsParameters> {
    let version = || of(prop_oneof![Just(TlsVersion::V1_2), Just(TlsVersion::V1_3)]);
    let given = prop_oneof![
        (name(), name()).prop_map(|(certificate, key)| CertificateSource::Files { certificate, key }),
        (text(), text()).prop_map(|(certificate, key)| CertificateSource::Inline { certificate, key }),
    ];
    let secrets = prop_oneof![Just("default".to_owned()), name()].prop_map(CertificateSource::Sds);
    let certificates = prop_oneof![vec(given, 0..3), vec(secrets, 0..3)];
    (version(), version(), vec(name(), 0..3), certificates, of(validation()))
        .prop_map(|(min, max, alpn, certificates, validation)| TlsParameters {
            min,
            max,
            alpn,
            certificates,
            validation,
        })
        .boxed()
}

fn validation() -> BoxedStrategy<Validation> {
    let roots = prop_oneof![
        prop_oneof![Just("ROOTCA".to_owned()), name()].prop_map(RootSource::Sds),
        name().prop_map(RootSource::File),
        text().prop_map(RootSource::Inline),
        Just(RootSource::None),
    ];
    let kind = prop_oneof![Just(SanKind::Dns), Just(SanKind::Uri), Just(SanKind::Ip), Just(SanKind::Email)]
        .prop_map(Some);
    let typed = (kind, string_match()).prop_map(|(kind, value)| SanMatch { kind, value });
    let untyped = string_match().prop_map(|value| SanMatch { kind: None, value });
    let names = prop_oneof![vec(typed, 0..3), vec(untyped, 0..3)];
    (roots, names).prop_map(|(roots, subject_alt_names)| Validation { roots, subject_alt_names }).boxed()
}

pub(in crate::wire) fn secret() -> BoxedStrategy<Secret> {
    let content = prop_oneof![
        (text(), text()).prop_map(|(chain, key)| SecretContent::Certificate { chain, key }),
        text().prop_map(|bundle| SecretContent::Roots { bundle }),
    ];
    (name(), content).prop_map(|(name, content)| Secret { name, content }).boxed()
}
