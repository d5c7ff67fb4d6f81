//! Client certificates on connections that are older than the roots in force.

use super::*;
use crate::jwks;
use crate::root::create;
use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);
const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

fn root(serial: u8) -> Root {
    create::self_signed(&"cluster.local".parse().unwrap(), &[serial], NOW).unwrap().check(NOW).unwrap()
}

/// A certificate valid for an hour.
fn certificate(root: &Root, name: &str) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (NOW, NOW + Duration::from_hours(1));
    root.sign(&params, &KeyPair::generate().unwrap()).unwrap().der().clone()
}

async fn proven(
    shown: Option<CertificateDer<'static>>,
    authorization: Option<&str>,
    root: &Root,
    now: OffsetDateTime,
) -> Result<Caller, AuthenticationError> {
    let certificates: std::sync::Arc<[_]> = shown.into_iter().collect();
    // The identity that the server took from the certificate when the connection was opened.
    let identity = (!certificates.is_empty()).then(|| REVIEWS.parse().unwrap());
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), certificates, identity };
    let (_writer, keys) = jwks::channel();
    let policy = TokenPolicy {
        issuer: "i".to_owned(),
        audience: "a".to_owned(),
        trust_domain: "cluster.local".parse().unwrap(),
    };
    let verifiers = Verifiers { keys: Some((keys, policy)), reviewer: None };
    caller(Credentials { peer: &peer, authorization }, root, &verifiers, now).await
}

#[tokio::test]
async fn a_certificate_proves_its_identity_to_the_roots_in_force_and_in_its_time() {
    let (old, new) = (root(1), root(2));
    let shown = certificate(&old, REVIEWS);
    let ask = async |shown, root, now| proven(Some(shown), None, root, now).await;
    let known = ask(shown.clone(), &old, NOW).await.unwrap();
    assert_eq!((known.id.as_str(), known.method), (REVIEWS, Method::Certificate));
    let untrusted = ask(shown.clone(), &new, NOW).await.unwrap_err();
    assert!(matches!(untrusted, AuthenticationError::CertificateUntrusted(_)), "{untrusted}");
    let late = ask(shown, &old, NOW + Duration::from_hours(1) + Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(late, AuthenticationError::CertificateExpired);
    let error = ask(certificate(&old, "https://reviews.example"), &old, NOW).await.unwrap_err();
    assert!(matches!(error, AuthenticationError::CertificateUntrusted(_)), "{error}");
}

#[tokio::test]
async fn beside_a_certificate_that_proves_nothing_the_token_has_to() {
    let (old, new) = (root(1), root(2));
    let shown = certificate(&old, REVIEWS);
    let refused = proven(Some(shown), Some("Bearer x.y.z"), &new, NOW).await.unwrap_err();
    assert!(matches!(refused, AuthenticationError::Token(_)), "{refused}");
    assert_eq!(proven(None, None, &new, NOW).await.unwrap_err(), AuthenticationError::Missing);
}
