//! Tables of SPIFFE ids and leaf certificates, with one row for each rule.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

const ID: &str = "spiffe://cluster.local/ns/default/sa/reviews";

#[test]
fn spiffe_ids_are_accepted_and_refused_as_the_standard_requires() {
    let long_domain = format!("spiffe://{}/a", "d".repeat(255));
    let too_long_domain = format!("spiffe://{}/a", "d".repeat(256));
    let longest = format!("spiffe://d/{}", "p".repeat(2048 - 11));
    let too_long = format!("spiffe://d/{}", "p".repeat(2048 - 10));
    let table: &[(&str, bool)] = &[
        (ID, true),
        ("spiffe://cluster.local", true),
        ("SPIFFE://cluster.local/ns/a/sa/b", true),
        ("Spiffe://a_b-c.d/X/y.z/-_", true),
        (&long_domain, true),
        (&longest, true),
        ("", false),
        ("spiffe:/cluster.local/a", false),
        ("https://cluster.local/a", false),
        ("cluster.local/ns/a/sa/b", false),
        ("spiffe://", false),
        ("spiffe:///a", false),
        ("spiffe://Cluster.local/a", false),
        ("spiffe://exämple/a", false),
        (&too_long_domain, false),
        ("spiffe://user@cluster.local/a", false),
        ("spiffe://cluster.local:80/a", false),
        ("spiffe://cluster.local/a?b=c", false),
        ("spiffe://cluster.local?b=c", false),
        ("spiffe://cluster.local/a#b", false),
        ("spiffe://cluster.local#b", false),
        ("spiffe://cluster.local/a%20b", false),
        ("spiffe://cluster%2elocal/a", false),
        ("spiffe://cluster.local/", false),
        ("spiffe://cluster.local/a/", false),
        ("spiffe://cluster.local//a", false),
        ("spiffe://cluster.local/a//b", false),
        ("spiffe://cluster.local/./a", false),
        ("spiffe://cluster.local/a/..", false),
        ("spiffe://cluster.local/a b", false),
        ("spiffe://cluster.local/ä", false),
        (&too_long, false),
    ];
    for (text, expected) in table {
        assert_eq!(text.parse::<SpiffeId>().is_ok(), *expected, "{text}");
    }
}

#[test]
fn the_scheme_is_normalised_and_the_path_keeps_its_case() {
    let id: SpiffeId = "SPIFFE://d/Ns/a".parse().unwrap();
    assert_eq!(id.to_string(), "spiffe://d/Ns/a");
    assert_ne!(id, "spiffe://d/ns/a".parse().unwrap());
}

#[test]
fn a_workload_id_has_a_namespace_and_a_service_account() {
    let domain = TrustDomain::configured("team@example.org").unwrap();
    let id = SpiffeId::workload(&domain, "default", "reviews").unwrap();
    assert_eq!(id.as_str(), "spiffe://team.example.org/ns/default/sa/reviews");
    assert_eq!(id.principal(), "team.example.org/ns/default/sa/reviews");
    assert_eq!(id.trust_domain(), &domain);
    assert_eq!((id.namespace(), id.service_account()), (Some("default"), Some("reviews")));
}

#[test]
fn other_forms_have_no_namespace() {
    for text in
        ["spiffe://d", "spiffe://d/a", "spiffe://d/ns/a", "spiffe://d/ns/a/sa/b/c", "spiffe://d/ns/a/b/sa/c"]
    {
        let id: SpiffeId = text.parse().unwrap();
        assert_eq!((id.namespace(), id.service_account()), (None, None), "{text}");
    }
}

#[test]
fn a_workloads_names_cannot_contain_a_path() {
    let domain: TrustDomain = "d".parse().unwrap();
    for (namespace, account) in
        [("a/sa/b", "c"), ("a", "b/c"), ("", "b"), ("a", ""), ("..", "b"), ("a", "b?c")]
    {
        assert!(SpiffeId::workload(&domain, namespace, account).is_err(), "{namespace} {account}");
    }
}

#[test]
fn a_refused_id_is_shortened_and_escaped_in_its_message() {
    let error = format!("spiffe://d/\n{}", "x".repeat(3000)).parse::<SpiffeId>().unwrap_err().to_string();
    assert!(error.len() < 300 && !error.contains('\n'), "{error}");
}

fn leaf(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(ID)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// `rcgen` always marks key usage critical, so the bit string is written out: digitalSignature alone.
fn key_usage_not_critical() -> CustomExtension {
    CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![0x03, 0x02, 0x07, 0x80])
}

#[test]
fn a_valid_leaf_has_an_identity() {
    type Change = fn(&mut CertificateParams);
    let table: [(&str, Change); 4] = [
        ("as issued", |_| {}),
        ("without extended key usage", |p| p.extended_key_usages.clear()),
        ("with DNS names too", |p| p.subject_alt_names.push(SanType::DnsName("a.b".try_into().unwrap()))),
        ("with key agreement", |p| p.key_usages.push(KeyUsagePurpose::KeyAgreement)),
    ];
    for (name, change) in table {
        assert_eq!(peer_identity(&leaf(change)).unwrap().as_str(), ID, "{name}");
    }
}

#[test]
fn an_invalid_leaf_is_refused_with_the_violated_rule() {
    type Change = fn(&mut CertificateParams);
    let table: [(Change, IdentityError); 12] = [
        (|p| p.subject_alt_names.clear(), IdentityError::UriCount(0)),
        (
            |p| p.subject_alt_names = vec![SanType::DnsName("a.b".try_into().unwrap())],
            IdentityError::UriCount(0),
        ),
        (|p| p.subject_alt_names.push(uri("spiffe://d/other")), IdentityError::UriCount(2)),
        (|p| p.subject_alt_names.push(uri("https://example.org")), IdentityError::UriCount(2)),
        (
            |p| p.subject_alt_names = vec![uri("spiffe://cluster.local")],
            IdentityError::NoPath("spiffe://cluster.local".parse().unwrap()),
        ),
        (|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), IdentityError::Authority("CA:true")),
        (
            |p| p.key_usages.push(KeyUsagePurpose::KeyCertSign),
            IdentityError::Authority("key usage keyCertSign"),
        ),
        (|p| p.key_usages.push(KeyUsagePurpose::CrlSign), IdentityError::Authority("key usage cRLSign")),
        (|p| p.key_usages.clear(), IdentityError::KeyUsage("is missing")),
        (
            |p| {
                p.key_usages.clear();
                p.custom_extensions.push(key_usage_not_critical());
            },
            IdentityError::KeyUsage("is not marked critical"),
        ),
        (
            |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
            IdentityError::KeyUsage("lacks digitalSignature"),
        ),
        (
            |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
            IdentityError::ExtendedKeyUsage("clientAuth"),
        ),
    ];
    for (row, (change, expected)) in table.into_iter().enumerate() {
        assert_eq!(peer_identity(&leaf(change)).unwrap_err(), expected, "row {row}");
    }
    let invalid =
        peer_identity(&leaf(|p| p.subject_alt_names = vec![uri("https://example.org")])).unwrap_err();
    assert!(matches!(invalid, IdentityError::Malformed { .. }), "{invalid}");
    let client = leaf(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    assert_eq!(peer_identity(&client).unwrap_err(), IdentityError::ExtendedKeyUsage("serverAuth"));
}

#[test]
fn malformed_certificates_are_refused() {
    let mut trailing = leaf(|_| {});
    trailing.push(0);
    let cut = &trailing[..trailing.len() / 2];
    for bytes in [&b""[..], b"garbage", cut, &trailing] {
        assert!(matches!(peer_identity(bytes), Err(IdentityError::NotCertificate(_))));
    }
}
