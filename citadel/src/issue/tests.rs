//! Issued certificates, parsed and verified as by a peer.

use super::*;
use crate::root::create;
use api::identity::peer_identity;
use api::process::tls;
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use time::macros::datetime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

const NOW: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);
const DAY: Duration = Duration::from_hours(24);

fn root() -> Root {
    create::self_signed(&"cluster.local".parse().unwrap(), &[1], NOW).unwrap().check(NOW).unwrap()
}

fn permit(ttl: Duration, dns_names: &[&str]) -> Permit {
    Permit {
        id: "spiffe://cluster.local/ns/default/sa/reviews".parse().unwrap(),
        dns_names: dns_names.iter().map(ToString::to_string).collect(),
        ttl,
    }
}

fn leaf(issued: &Issued) -> CertificateDer<'static> {
    tls::certificates_from_pem(issued.chain[0].as_bytes()).unwrap().remove(0)
}

#[test]
fn a_leaf_follows_the_profile() {
    let issued = issue(&root(), &permit(DAY, &[]), &KeyPair::generate().unwrap(), NOW).unwrap();
    let der = leaf(&issued);
    assert_eq!(peer_identity(&der).unwrap().as_str(), "spiffe://cluster.local/ns/default/sa/reviews");
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(leaf.subject().iter().count(), 0);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "the name extension is critical when the subject is empty");
    assert_eq!(names.value.general_names.len(), 1);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
    assert!(!usage.value.key_cert_sign() && !leaf.is_ca());
    assert!(leaf.basic_constraints().unwrap().unwrap().critical);
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
    assert_eq!(leaf.validity().not_before.to_datetime(), NOW - time::Duration::minutes(2));
    assert_eq!(leaf.validity().not_after.to_datetime(), NOW + DAY);
    assert_eq!(issued.not_after, NOW + DAY);
    assert_eq!(format!("{:032x}", leaf.serial), issued.serial);
    assert_eq!(leaf.raw_serial().len(), 16);
    let authority =
        X509Certificate::from_der(&tls::certificates_from_pem(issued.chain[1].as_bytes()).unwrap()[0])
            .map(|(_, root)| root.subject().to_string())
            .unwrap();
    assert_eq!(leaf.issuer().to_string(), authority);
}

#[test]
fn granted_dns_names_stand_beside_the_identity() {
    let names = ["istiod.istio-system.svc", "istiod.istio-system.svc.cluster.local"];
    let issued = issue(&root(), &permit(DAY, &names), &KeyPair::generate().unwrap(), NOW).unwrap();
    let der = leaf(&issued);
    assert!(peer_identity(&der).is_ok());
    let end = webpki::EndEntityCert::try_from(&der).unwrap();
    for name in names {
        end.verify_is_valid_for_subject_name(&name.try_into().unwrap()).unwrap();
    }
    assert!(end.verify_is_valid_for_subject_name(&"other.svc".try_into().unwrap()).is_err());
    let odd = issue(&root(), &permit(DAY, &["nä.me"]), &KeyPair::generate().unwrap(), NOW).unwrap_err();
    assert!(matches!(odd, IssueError::Profile(ProfileError::Name(_))));
}

#[test]
fn a_leaf_never_outlives_its_signer_and_an_expired_signer_signs_nothing() {
    let root = root();
    let key = KeyPair::generate().unwrap();
    let late = root.signer_not_after() - time::Duration::hours(1);
    assert_eq!(issue(&root, &permit(DAY, &[]), &key, late).unwrap().not_after, root.signer_not_after());
    let forever = permit(Duration::MAX, &[]);
    assert_eq!(issue(&root, &forever, &key, NOW).unwrap().not_after, root.signer_not_after());
    let expired = issue(&root, &permit(DAY, &[]), &key, root.signer_not_after()).unwrap_err();
    assert!(matches!(expired, IssueError::Profile(ProfileError::SignerExpired(_))));
}

#[test]
fn the_chain_verifies_to_the_root_for_both_roles() {
    let root = root();
    let issued = issue(&root, &permit(DAY, &[]), &KeyPair::generate().unwrap(), NOW).unwrap();
    assert!(issued.chain.len() == 2 && issued.chain.iter().all(|element| element.ends_with("-----\n")));
    let der = leaf(&issued);
    let end = webpki::EndEntityCert::try_from(&der).unwrap();
    let algorithms = tls::provider().signature_verification_algorithms.all;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(NOW.unix_timestamp() as u64));
    for usage in [webpki::KeyUsage::client_auth(), webpki::KeyUsage::server_auth()] {
        end.verify_for_usage(algorithms, &root.roots().roots, &[], at, usage, None, None).unwrap();
    }
}

#[test]
fn serials_are_never_the_same() {
    let (root, key) = (root(), KeyPair::generate().unwrap());
    let serials: std::collections::HashSet<String> =
        (0..50).map(|_| issue(&root, &permit(DAY, &[]), &key, NOW).unwrap().serial).collect();
    assert_eq!(serials.len(), 50);
}
