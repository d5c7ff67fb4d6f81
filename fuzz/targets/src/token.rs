//! Tokens of unauthenticated clients and of a malicious issuer: arbitrary text, which must never prove an identity,
//! and arbitrary claims with a valid signature, which prove an identity only if all claims are valid.

use crate::words;
use api::jws::algorithm::Algorithm;
use api::jws::key_set::KeySet;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use citadel::authenticate::token::{TokenPolicy, verify};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::OnceLock;
use time::OffsetDateTime;
use time::macros::datetime;

/// See the module. The first byte chooses: a whole token, claims to sign, a header and claims to sign, a set of keys.
pub fn run(data: &[u8]) {
    let Some((choice, rest)) = words::choice(data, 4) else { return };
    let Some(text) = words::text(rest) else { return };
    match choice {
        0 => assert!(check(text).is_err(), "a token was forged"),
        1 => signed(r#"{"alg":"ES256","kid":"ec","typ":"JWT"}"#, text),
        2 => {
            let (header, claims) = text.split_once('\n').unwrap_or((text, "{}"));
            signed(header, claims);
        }
        _ => keys(text),
    }
}

fn signed(header: &str, claims: &str) {
    let issuer = Issuer::get();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = issuer.key.sign(&issuer.random, signed.as_bytes()).expect("the key signs");
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()));
    let Ok(id) = check(&token) else { return };
    let claims_read: Claims = serde_json::from_str(claims).expect("claims that prove an identity are JSON");
    assert_eq!(claims_read.iss, ISSUER);
    let listed = claims_read.aud.as_array().is_some_and(|all| all.contains(&AUDIENCE.into()));
    assert!(listed || claims_read.aud == AUDIENCE, "{}", claims_read.aud);
    assert!(
        claims_read.exp.as_f64().is_some_and(|end| end > NOW.unix_timestamp() as f64),
        "{}",
        claims_read.exp
    );
    let account = id.namespace().zip(id.service_account()).expect("a token proves a service account");
    assert_eq!(claims_read.sub, format!("system:serviceaccount:{}:{}", account.0, account.1));
    let header: Header = serde_json::from_str(header).expect("a header of a good token is JSON");
    assert!(header.crit.is_none(), "an extension that must be understood is not");
}

/// The claims that matter. The others may be any JSON, such as a number that fits no type.
#[derive(Deserialize)]
struct Claims {
    iss: Value,
    aud: Value,
    sub: Value,
    exp: Value,
}

#[derive(Deserialize)]
struct Header {
    crit: Option<Value>,
}

/// An arbitrary key set never verifies this signature.
fn keys(json: &str) {
    let Ok(set) = KeySet::parse(json.as_bytes()) else { return };
    for algorithm in Algorithm::ALL {
        assert!(set.verify(None, *algorithm, b"message", &[7; 256]).is_err());
        assert!(set.verify(Some("ec"), *algorithm, b"message", &[0; 64]).is_err());
    }
}

fn check(token: &str) -> Result<api::identity::SpiffeId, String> {
    let issuer = Issuer::get();
    let verified = verify(token, &issuer.keys, &issuer.policy, NOW);
    verified.map_err(|error| {
        let claims_read = error.to_string();
        assert!(!claims_read.is_empty());
        claims_read
    })
}

struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
    keys: KeySet,
    policy: TokenPolicy,
}

impl Issuer {
    fn get() -> &'static Self {
        static ISSUER: OnceLock<Issuer> = OnceLock::new();
        ISSUER.get_or_init(Self::new)
    }

    fn new() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key can be made");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).expect("the key just made");
        let point = key.public_key().as_ref();
        let set = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        }]});
        let keys = KeySet::parse(set.to_string().as_bytes()).expect("the set just made");
        let policy = TokenPolicy {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            trust_domain: "cluster.local".parse().expect("a trust domain"),
        };
        Self { key, random, keys, policy }
    }
}

const ISSUER: &str = "https://issuer";
const AUDIENCE: &str = "istio-ca";
const NOW: OffsetDateTime = datetime!(2026-11-21 12:00:00 UTC);
