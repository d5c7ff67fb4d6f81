//! Signatures made with OpenSSL (`vectors.json`), one for each algorithm, intact and tampered with.

use super::*;
use serde_json::Value;

fn vectors() -> (KeySet, Vec<(Algorithm, String)>) {
    let document: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let keys = KeySet::parse(document.to_string().as_bytes()).unwrap();
    let token = |algorithm: &Algorithm| document["tokens"][algorithm.name()].as_str().unwrap().to_owned();
    (keys, Algorithm::ALL.iter().map(|algorithm| (*algorithm, token(algorithm))).collect())
}

fn verified(token: &str, keys: &KeySet) -> Result<(), String> {
    let compact = Compact::parse(token).map_err(|error| error.to_string())?;
    compact.verify(keys, Algorithm::ALL).map_err(|error| error.to_string())
}

#[test]
fn each_algorithm_verifies_what_openssl_signed_with_it() {
    let (keys, tokens) = vectors();
    assert_eq!(keys.len(), 4);
    for (algorithm, token) in tokens {
        let compact = Compact::parse(&token).unwrap();
        assert_eq!(compact.verify(&keys, Algorithm::ALL), Ok(()), "{algorithm}");
        let payload: Value = serde_json::from_slice(&compact.payload).unwrap();
        assert_eq!(payload["sub"], algorithm.name());
    }
}

#[test]
fn a_signature_verifies_only_for_its_own_message_key_and_algorithm() {
    let (keys, tokens) = vectors();
    for (algorithm, token) in &tokens {
        let compact = Compact::parse(token).unwrap();
        for (other, foreign) in &tokens {
            if other == algorithm {
                continue;
            }
            let renamed = Compact {
                header: Header { alg: other.name().to_owned(), ..compact.header.clone() },
                ..compact.clone()
            };
            assert_eq!(
                renamed.verify(&keys, Algorithm::ALL),
                Err(KeyError::Signature),
                "{algorithm} as {other}"
            );
            let foreign = Compact::parse(foreign).unwrap();
            let moved = Compact { signature: foreign.signature, ..compact.clone() };
            assert_eq!(moved.verify(&keys, Algorithm::ALL), Err(KeyError::Signature), "{algorithm}, {other}");
        }
        let mut flipped = compact.clone();
        flipped.signature[9] ^= 1;
        assert_eq!(flipped.verify(&keys, Algorithm::ALL), Err(KeyError::Signature), "{algorithm}");
        flipped.signature.clear();
        assert_eq!(flipped.verify(&keys, Algorithm::ALL), Err(KeyError::Signature), "{algorithm}");
    }
}

#[test]
fn only_the_algorithms_that_the_caller_accepts_are_tried() {
    let (keys, tokens) = vectors();
    for (algorithm, token) in tokens {
        let compact = Compact::parse(&token).unwrap();
        let error = compact.verify(&keys, &[]).unwrap_err();
        assert_eq!(error, KeyError::Algorithm { accepted: &[] });
        let accepted: &[Algorithm] = &[Algorithm::Es256, Algorithm::Ps512];
        assert_eq!(compact.verify(&keys, accepted).is_ok(), accepted.contains(&algorithm), "{algorithm}");
    }
}

#[test]
fn symmetric_and_unsigned_tokens_never_verify() {
    let (keys, _) = vectors();
    for algorithm in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "ES256K", "es256", "ES512"] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{algorithm}"}}"#));
        for signature in ["", "AAAA"] {
            let error = verified(&format!("{header}.e30.{signature}"), &keys).unwrap_err();
            assert!(error.starts_with("its algorithm is not one of RS256, RS384"), "{algorithm}: {error}");
        }
    }
}

#[test]
fn a_malformed_token_is_refused_with_the_reason() {
    let critical = format!("{}.e30.AAAA", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","crit":["b64"]}"#));
    let table = [
        ("", CompactError::Parts),
        ("a.b", CompactError::Parts),
        ("a.b.c.d", CompactError::Parts),
        ("!.e30.AAAA", CompactError::Base64),
        ("e30=.e30.AAAA", CompactError::Base64),
        ("e30.e30.AAAA", CompactError::Header),
        ("bm90IGpzb24.e30.AAAA", CompactError::Header),
        (critical.as_str(), CompactError::Critical),
    ];
    for (token, error) in table {
        assert_eq!(Compact::parse(token), Err(error), "{token}");
    }
}

#[test]
fn unusable_keys_are_skipped() {
    let document: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let count = |change: fn(&mut Value)| {
        let mut document = document.clone();
        change(&mut document["keys"]);
        KeySet::parse(document.to_string().as_bytes()).unwrap().len()
    };
    assert_eq!(count(|_| {}), 4);
    assert_eq!(count(|keys| keys[0]["use"] = "enc".into()), 3);
    assert_eq!(count(|keys| keys[0]["kty"] = "oct".into()), 3);
    assert_eq!(count(|keys| keys[1]["crv"] = "secp256k1".into()), 3);
    assert_eq!(count(|keys| keys[2]["x"] = "AAAA".into()), 3);
    assert_eq!(count(|keys| keys[3]["x"] = "AAAA".into()), 3);
    assert_eq!(count(|keys| keys[3]["crv"] = "X25519".into()), 3);
    assert!(KeySet::parse(b"{}").is_err() && KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
}
