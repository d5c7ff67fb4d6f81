//! Invalid requests and the responses to them: invalid tokens of all kinds, requests for other identities,
//! certificates that prove nothing. Each is refused with the reason, or gets only what the caller's own identity
//! allows.

use super::*;
use rcgen::Issuer as Signer;
use serde_json::Value;

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn claims(change: &Value) -> Value {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let mut claims = json!({
        "iss": "https://issuer", "aud": ["istio-ca"], "sub": "system:serviceaccount:default:reviews", "exp": now + 600
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

impl Issuer {
    fn signed(&self, change: &Value) -> String {
        let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": "one" })), part(&claims(change)));
        let signature = self.key.sign(&self.random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token whose "signature" is an HMAC with the public key as its secret.
    fn hashed(&self) -> String {
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.key.public_key().as_ref());
        let signed =
            format!("{}.{}", part(&json!({ "alg": "HS256", "kid": "one" })), part(&claims(&json!({}))));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&secret, signed.as_bytes())))
    }
}

#[tokio::test]
async fn a_token_that_proves_nothing_here_gets_nothing_and_its_holder_learns_why() {
    let citadel = Citadel::start(&[]).await;
    let (_, request) = csr();
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims(&json!({}))));
    let table = [
        (citadel.issuer.signed(&json!({ "aud": ["vault", "istio-ca-2"] })), "its audience is not `istio-ca`"),
        (citadel.issuer.signed(&json!({ "exp": now - 1 })), "it has expired"),
        (citadel.issuer.signed(&json!({ "nbf": now + 3600 })), "it is not valid yet"),
        (citadel.issuer.signed(&json!({ "iss": "https://other" })), "its issuer is `https://other`"),
        (citadel.issuer.signed(&json!({ "sub": "system:node:one" })), "its subject is not"),
        (Issuer::new().signed(&json!({})), "its signature is invalid"),
        (citadel.issuer.hashed(), "its algorithm is not one of"),
        (unsigned, "its algorithm is not one of"),
    ];
    for (token, reason) in &table {
        let status = citadel.ask(&request, 0, Some(token), None).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{reason}: {status}");
        assert!(status.message().contains(reason), "{reason}: {status}");
        assert!(!status.message().contains(token.as_str()), "a token is a secret: {status}");
    }
    let metrics = citadel.page("/metrics").await;
    let refused = format!("citadel_server_authentication_failure_count {}", table.len());
    assert!(metrics.contains(&refused), "{metrics}");
    assert!(metrics.contains("citadel_server_success_cert_issuance_count 0"), "{metrics}");
    citadel.stop().await;
}

#[tokio::test]
async fn a_certificate_always_has_the_callers_identity_and_is_never_a_ca() {
    let citadel = Citadel::start(&[]).await;
    let token = citadel.token("default:reviews");
    let asked = include_str!("../data/authority.csr");
    let chain = citadel.ask(asked, 0, Some(&token), None).await.unwrap();
    assert_eq!(identity(&chain), REVIEWS);
    let der = tls::certificates_from_pem(chain[0].as_bytes()).unwrap().remove(0);
    let (_, leaf) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(!leaf.is_ca() && leaf.subject().iter().count() == 0);
    assert!(!leaf.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert_eq!(leaf.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 1);
    citadel.stop().await;
}

#[tokio::test]
async fn a_request_that_is_garbage_or_costs_too_much_is_refused_soon() {
    let citadel = Citadel::start(&[]).await;
    let token = citadel.token("default:reviews");
    let (_, good) = csr();
    let wrapped = |text: &str| {
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    };
    let half: String = good
        .lines()
        .take(3)
        .chain(["-----END CERTIFICATE REQUEST-----"])
        .fold(String::new(), |text, line| text + line + "\n");
    let table = [
        (String::new(), "no PEM block"),
        ("\0\u{1f4a9}".repeat(1000), "no PEM block"),
        (wrapped("////"), "not a PKCS#10 request"),
        (half, "cannot be read"),
        // An element with a declared length of 4 GB.
        (wrapped("MIT/////AAAA"), "not a PKCS#10 request"),
        (include_str!("../data/rsa-8200.csr").to_owned(), "2048 to 8192 bits, not 8200"),
        (wrapped(&"QUJD".repeat(20_000)), "not a PKCS#10 request"),
    ];
    for (request, reason) in &table {
        let begin = std::time::Instant::now();
        let status = citadel.ask(request, 0, Some(&token), None).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{reason}: {status}");
        assert!(status.message().contains(reason), "{reason}: {status}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{reason} took {:?}", begin.elapsed());
    }
    assert!(citadel.ask(&good, 0, Some(&token), None).await.is_ok(), "and then all is well");
    citadel.stop().await;
}

#[tokio::test]
async fn a_certificate_that_has_expired_or_is_of_another_domain_renews_nothing() {
    let citadel = Citadel::start(&[]).await;
    let folder = citadel.folder.path().join("root");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let signing = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
    let signer = Signer::from_ca_cert_pem(&read("ca-cert.pem"), signing).unwrap();
    let signed = |id: &str, end: i64| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.not_before = OffsetDateTime::now_utc() - Duration::from_hours(1);
        params.not_after = OffsetDateTime::now_utc() + time::Duration::seconds(end);
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &signer).unwrap().pem(), read("root-cert.pem")];
        own(&chain, &key)
    };
    let (_, request) = csr();
    assert!(citadel.ask(&request, 0, None, Some(signed(REVIEWS, 60))).await.is_ok(), "the means are good");
    for (what, shown) in [
        ("expired", signed(REVIEWS, -1)),
        ("of another domain", signed("spiffe://other.example/ns/default/sa/reviews", 60)),
        ("of nobody", signed("https://reviews.example", 60)),
    ] {
        let status = citadel.ask(&request, 0, None, Some(copy(&shown))).await.unwrap_err();
        assert_ne!(status.code(), Code::Ok, "{what}: {status}");
        let token = citadel.token("default:reviews");
        let both = citadel.ask(&request, 0, Some(&token), Some(shown)).await;
        assert!(both.is_err(), "a connection that begins with a lie ends: {what}");
    }
    citadel.stop().await;
}

fn copy(own: &Own) -> Own {
    (own.0.clone(), own.1.clone_key())
}
