//! Signing requests of every kind, valid and invalid, made by openssl and by hand.

use super::*;
use base64::Engine;
use rcgen::{CertificateParams, KeyPair, SanType};

fn ask(csr: &str) -> Result<Requested, RequestError> {
    parse(&IstioCertificateRequest { csr: csr.to_owned(), ..Default::default() })
}

fn wrapped(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

fn own() -> (Vec<u8>, String) {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI("spiffe://d/ns/a/sa/b".try_into().unwrap())];
    let csr = params.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    (csr.der().to_vec(), csr.pem().unwrap())
}

#[test]
fn requests_by_openssl_are_accepted_when_strong_and_refused_when_weak() {
    let table = [
        (include_str!("../../tests/data/ec-prime256v1.csr"), None),
        (include_str!("../../tests/data/ec-secp384r1.csr"), None),
        (include_str!("../../tests/data/ed25519.csr"), None),
        (include_str!("../../tests/data/rsa-2048.csr"), None),
        (include_str!("../../tests/data/rsa-2048-pss.csr"), None),
        (include_str!("../../tests/data/rsa-2048-sha1.csr"), Some("its algorithm is weak")),
        (include_str!("../../tests/data/rsa-1024.csr"), Some("2048 to 8192 bits, not 1024")),
        (include_str!("../../tests/data/ec-secp521r1.csr"), Some("P-256 or P-384")),
    ];
    for (row, (csr, refused)) in table.into_iter().enumerate() {
        match (ask(csr), refused) {
            (Ok(_), None) => {}
            (Err(error), Some(reason)) => assert!(error.to_string().contains(reason), "row {row}: {error}"),
            (result, _) => panic!("row {row}: {result:?}"),
        }
    }
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let (der, _) = own();
    let mut forged = der.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert!(matches!(ask(&wrapped(&forged)), Err(RequestError::Signature(_))));
    let (mut renamed, at) = (der.clone(), der.windows(9).position(|window| window == b"spiffe://").unwrap());
    renamed[at + 9] = b'e';
    assert!(matches!(ask(&wrapped(&renamed)), Err(RequestError::Signature(_))));
    assert!(ask(&wrapped(&der)).is_ok());
}

#[test]
fn malformed_requests_are_refused() {
    let (der, pem) = own();
    let trailing = [&der[..], &[0]].concat();
    let table = [
        String::new(),
        "garbage".to_owned(),
        wrapped(b""),
        wrapped(b"garbage"),
        wrapped(&der[..der.len() / 2]),
        wrapped(&trailing),
        pem.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        pem.replace("-----END", "-----"),
    ];
    for (row, csr) in table.iter().enumerate() {
        assert!(matches!(ask(csr), Err(RequestError::Malformed(_))), "row {row}");
    }
}

#[test]
fn every_cut_and_every_flipped_byte_is_survived() {
    let (der, _) = own();
    for at in 0..der.len() {
        let mut flipped = der.clone();
        flipped[at] ^= 0xff;
        assert!(ask(&wrapped(&flipped)).is_err(), "byte {at}");
        assert!(ask(&wrapped(&der[..at])).is_err(), "cut at {at}");
    }
}

#[test]
fn a_request_without_a_lifetime_gets_the_default() {
    let (_, csr) = own();
    for (wished, ttl) in
        [(i64::MIN, None), (-1, None), (0, None), (1, Some(1)), (i64::MAX, Some(i64::MAX as u64))]
    {
        let message = IstioCertificateRequest { csr: csr.clone(), validity_duration: wished, metadata: None };
        assert_eq!(parse(&message).unwrap().ttl, ttl.map(Duration::from_secs));
    }
}
