//! Tokens signed here with real keys, genuine and forged.

use super::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

struct Issuer {
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let pem = include_bytes!("../../../tests/data/rsa-2048.pem");
        let rsa = PrivatePkcs8KeyDer::from_pem_slice(pem).unwrap();
        Self { ec, rsa: RsaKeyPair::from_pkcs8(rsa.secret_pkcs8_der()).unwrap(), random }
    }

    fn document(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        let rsa: ring::rsa::PublicKeyComponents<Vec<u8>> = self.rsa.public_key().into();
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256",
              "x": encoded(&point[1..33]), "y": encoded(&point[33..]) },
            { "kty": "RSA", "kid": "rsa", "n": encoded(rsa.n), "e": encoded(rsa.e) },
            { "kty": "oct", "kid": "secret", "k": "c2VjcmV0" },
            { "kty": "later", "kid": "unknown" },
        ]})
    }

    fn keys(&self) -> KeySet {
        KeySet::parse(self.document().to_string().as_bytes()).unwrap()
    }

    fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = sign(signed.as_bytes());
        format!("{signed}.{}", encoded(signature))
    }

    fn es256(&self, header: &Value, claims: &Value) -> String {
        Self::signed(header, claims, |message| self.ec.sign(&self.random, message).unwrap().as_ref().to_vec())
    }

    fn rsa(&self, header: &Value, claims: &Value, encoding: &'static dyn RsaEncoding) -> String {
        Self::signed(header, claims, |message| {
            let mut signature = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(encoding, &self.random, message, &mut signature).unwrap();
            signature
        })
    }
}

fn claims(change: Value) -> Value {
    let now = NOW.unix_timestamp();
    let mut claims = json!({
        "iss": "https://issuer", "aud": ["istio-ca"], "sub": "system:serviceaccount:default:reviews",
        "iat": now, "nbf": now, "exp": now + 3600,
    });
    if let Value::Object(change) = change {
        for (key, value) in change {
            claims[key] = value;
        }
    }
    claims
}

fn es256() -> Value {
    json!({ "alg": "ES256", "kid": "ec", "typ": "JWT" })
}

fn check(token: &str, keys: &KeySet) -> Result<String, String> {
    let policy = TokenPolicy {
        issuer: "https://issuer".to_owned(),
        audience: "istio-ca".to_owned(),
        trust_domain: "cluster.local".parse().unwrap(),
    };
    verify(token, keys, &policy, NOW).map(|id| id.to_string()).map_err(|error| error.to_string())
}

const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

#[test]
fn an_honest_token_proves_its_service_account() {
    let issuer = Issuer::new();
    let keys = issuer.keys();
    assert_eq!(keys.len(), 2);
    let table = [
        issuer.es256(&es256(), &claims(json!({}))),
        issuer.es256(&json!({ "alg": "ES256" }), &claims(json!({}))),
        issuer.es256(
            &json!({ "alg": "ES256", "kid": "ec", "typ": "JOSE" }),
            &claims(json!({ "aud": "istio-ca" })),
        ),
        issuer.es256(&es256(), &claims(json!({ "aud": ["other", "istio-ca"], "nbf": null, "iat": null }))),
        issuer.rsa(&json!({ "alg": "RS256", "kid": "rsa" }), &claims(json!({})), &RSA_PKCS1_SHA256),
        issuer.rsa(&json!({ "alg": "PS512", "kid": "rsa" }), &claims(json!({})), &RSA_PSS_SHA512),
        issuer.rsa(&json!({ "alg": "RS256" }), &claims(json!({})), &RSA_PKCS1_SHA256),
    ];
    for (row, token) in table.iter().enumerate() {
        assert_eq!(check(token, &keys).as_deref(), Ok(REVIEWS), "row {row}");
    }
}

#[test]
fn a_token_with_invalid_claims_is_refused() {
    let issuer = Issuer::new();
    let now = NOW.unix_timestamp();
    let table = [
        (json!({ "exp": now }), "it has expired"),
        (json!({ "exp": now - 3600 }), "it has expired"),
        (json!({ "exp": null }), "lacks a required field"),
        (json!({ "exp": "tomorrow" }), "lacks a required field"),
        (json!({ "nbf": now + 300 }), "it is not valid yet"),
        (json!({ "iat": now + 300 }), "it is not valid yet"),
        (json!({ "aud": "other" }), "its audience is not `istio-ca`"),
        (json!({ "aud": [] }), "its audience is not `istio-ca`"),
        (json!({ "aud": null }), "lacks a required field"),
        (json!({ "iss": "https://other" }), "its issuer is `https://other`"),
        (json!({ "iss": "https://issuer/" }), "its issuer is `https://issuer/`"),
        (json!({ "sub": "system:node:a" }), "its subject is not"),
        (json!({ "sub": "system:serviceaccount:default" }), "its subject is not"),
        (json!({ "sub": "system:serviceaccount:default:a:b" }), "its subject is not"),
        (json!({ "sub": "system:serviceaccount:a/sa/b:c" }), "its subject is not"),
        (json!({ "sub": "system:serviceaccount::a" }), "its subject is not"),
        (json!({ "sub": "" }), "its subject is not"),
    ];
    for (change, reason) in table {
        let token = issuer.es256(&es256(), &claims(change.clone()));
        let error = check(&token, &issuer.keys()).unwrap_err();
        assert!(error.contains(reason), "{change}: {error}");
    }
}

#[test]
fn a_forged_token_is_refused() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let good = claims(json!({}));
    let rsa_key = issuer.document()["keys"][1]["n"].as_str().unwrap().to_owned();
    // The classic forgery: the public key used as the secret of an HMAC.
    let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, rsa_key.as_bytes());
    let hs256 = |kid: &str| {
        Issuer::signed(&json!({ "alg": "HS256", "kid": kid }), &good, |m| {
            ring::hmac::sign(&hmac, m).as_ref().to_vec()
        })
    };
    let none = |alg: &str| Issuer::signed(&json!({ "alg": alg, "kid": "ec" }), &good, |_| vec![]);
    let crit = json!({ "alg": "ES256", "kid": "ec", "crit": ["b64"] });
    let honest = issuer.es256(&es256(), &good);
    let (_, tail) = honest.split_once('.').unwrap();
    let (claims_part, signature) = tail.split_once('.').unwrap();
    let swapped = issuer.es256(&es256(), &claims(json!({ "sub": "system:serviceaccount:default:admin" })));
    let (swapped_head, _) = swapped.rsplit_once('.').unwrap();
    let table = [
        (hs256("rsa"), "its algorithm is not one of"),
        (hs256("secret"), "its algorithm is not one of"),
        (none("none"), "its algorithm is not one of"),
        (none("None"), "its algorithm is not one of"),
        (none(""), "its algorithm is not one of"),
        (none("ES256"), "its signature is invalid"),
        (none("EdDSA"), "its algorithm is not one of"),
        (other.es256(&es256(), &good), "its signature is invalid"),
        (other.es256(&json!({ "alg": "ES256" }), &good), "its signature is invalid"),
        (
            issuer.es256(&json!({ "alg": "ES256", "kid": "gone" }), &good),
            "the issuer has no key with that id",
        ),
        (issuer.es256(&json!({ "alg": "ES256", "kid": "rsa" }), &good), "its signature is invalid"),
        (issuer.es256(&json!({ "alg": "ES384", "kid": "ec" }), &good), "its signature is invalid"),
        (
            issuer.rsa(&json!({ "alg": "PS256", "kid": "rsa" }), &good, &RSA_PKCS1_SHA256),
            "its signature is invalid",
        ),
        (issuer.es256(&crit, &good), "requires extensions"),
        (
            issuer.es256(&json!({ "alg": "ES256", "kid": "ec", "typ": "at+jwt" }), &good),
            "neither JWT nor JOSE",
        ),
        (format!("{swapped_head}.{signature}"), "its signature is invalid"),
        (format!("{}.{claims_part}.{signature}", encoded("{}")), "lacks a required field"),
        (String::new(), "does not have three parts"),
        ("a.b".to_owned(), "does not have three parts"),
        (format!("{honest}.x"), "does not have three parts"),
        ("!.!.!".to_owned(), "not base64url"),
        ("x".repeat(20_000), "longer than 16 KiB"),
    ];
    for (row, (token, reason)) in table.iter().enumerate() {
        let error = check(token, &issuer.keys()).unwrap_err();
        assert!(error.contains(reason), "row {row}: {error}");
    }
}

#[test]
fn keys_for_other_uses_and_broken_ones_are_skipped() {
    let issuer = Issuer::new();
    let mut document = issuer.document();
    document["keys"][0]["use"] = json!("enc");
    document["keys"][1]["n"] = json!("!");
    let keys = KeySet::parse(document.to_string().as_bytes()).unwrap();
    assert!(keys.is_empty());
    assert!(
        check(&issuer.es256(&es256(), &claims(json!({}))), &keys)
            .unwrap_err()
            .contains("no key with that id")
    );
    let mut short = issuer.document();
    short["keys"][0]["x"] = json!("AAAA");
    assert_eq!(KeySet::parse(short.to_string().as_bytes()).unwrap().len(), 1);
    assert!(KeySet::parse(b"{}").is_err() && KeySet::parse(b"").is_err());
    assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
}
