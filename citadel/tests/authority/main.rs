//! The whole authority in one process, called over gRPC as by a workload: first with a token, then with the
//! certificate that it has issued.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]
#![allow(clippy::disallowed_methods, reason = "tests measure how long a response takes")]

mod cluster;
mod faults;
mod server;

use api::certificate::{CertificateClient, IstioCertificateRequest};
use api::identity::peer_identity;
use api::process::enroll::{self, Authority};
use api::process::log::{self, Format};
use api::process::tls::expected::{Expected, expected_servers};
use api::process::tls::{self, verifier};
use api::process::{channel, ready::Readiness};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use citadel::app::App;
use citadel::config::Config;
use rcgen::{CertificateParams, KeyPair, SanType};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A token issuer with one key.
struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { key, random }
    }

    fn publish(&self, file: &Path, kid: &str) {
        let point = self.key.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let keys = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": kid, "x": x, "y": y }] });
        std::fs::write(file, keys.to_string()).unwrap();
    }

    fn token(&self, kid: &str, audience: &str, subject: &str) -> String {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let header = json!({ "alg": "ES256", "kid": kid });
        let claims = json!({ "iss": "https://issuer", "aud": [audience], "sub": subject, "exp": now + 600 });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

struct Citadel {
    folder: TempDir,
    issuer: Issuer,
    grpc: SocketAddr,
    http: SocketAddr,
    readiness: Readiness,
    drain: CancellationToken,
    run: JoinHandle<anyhow::Result<()>>,
}

impl Citadel {
    async fn start(more: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let issuer = Issuer::new();
        let path = |name: &str| folder.path().join(name).display().to_string();
        issuer.publish(&folder.path().join("keys.json"), "one");
        let (root, published, keys) = (path("root"), path("root-cert.pem"), path("keys.json"));
        let arguments = [
            "citadel",
            "--address",
            "127.0.0.1",
            "--port",
            "0",
            "--http-port",
            "0",
            "--root-dir",
            &root,
            "--publish-root",
            &published,
            "--token-issuer",
            "https://issuer",
            "--token-jwks",
            &keys,
        ];
        let config = Config::read(arguments.iter().chain(more)).unwrap();
        let app = App::bind(config, log::init("off", Format::Text)).await.unwrap();
        let (grpc, http) = (app.grpc_address().unwrap(), app.http_address().unwrap());
        let (readiness, drain) = (app.readiness(), CancellationToken::new());
        let run = tokio::spawn(app.run(drain.clone()));
        readiness.until_ready().await;
        Self { folder, issuer, grpc, http, readiness, drain, run }
    }

    fn roots(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("root-cert.pem")).unwrap()
    }

    async fn ask(
        &self,
        csr: &str,
        seconds: i64,
        token: Option<&str>,
        own: Option<Own>,
    ) -> Result<Vec<String>, Status> {
        ask((self.grpc, &self.roots()), csr, seconds, token, own).await
    }

    fn token(&self, account: &str) -> String {
        self.issuer.token("one", "istio-ca", &format!("system:serviceaccount:{account}"))
    }

    async fn page(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.http).parse().unwrap();
        String::from_utf8(citadel::control::fetch::get(&url, None, None).await.unwrap()).unwrap()
    }

    async fn stop(self) {
        self.drain.cancel();
        self.run.await.unwrap().unwrap();
    }
}

/// Requests a certificate of the authority at an address, which these roots verify.
async fn ask(
    (address, roots): (SocketAddr, &[u8]),
    csr: &str,
    seconds: i64,
    token: Option<&str>,
    own: Option<Own>,
) -> Result<Vec<String>, Status> {
    let id = |account| format!("spiffe://cluster.local/ns/istio-system/sa/{account}");
    let citadel = Expected::parse(&["citadel", "ostria-citadel"].map(id).join(",")).unwrap();
    let servers = expected_servers(tls::roots_from_pem(roots).unwrap(), citadel);
    let config = tls::client_config(servers, own).unwrap();
    let channel = channel::lazy(&address.to_string(), Some(config)).unwrap();
    let message = IstioCertificateRequest { csr: csr.to_owned(), validity_duration: seconds, metadata: None };
    let mut request = Request::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let response = CertificateClient::new(channel).create_certificate(request).await?;
    Ok(response.into_inner().cert_chain)
}

/// A key, and a request for an identity that is not granted.
fn csr() -> (KeyPair, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["kubernetes.default.svc".to_owned()]).unwrap();
    let admin = "spiffe://cluster.local/ns/kube-system/sa/admin";
    params.subject_alt_names.push(SanType::URI(admin.try_into().unwrap()));
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    (key, csr)
}

fn own(chain: &[String], key: &KeyPair) -> Own {
    let (_, shown) = chain.split_last().unwrap();
    let chain = tls::certificates_from_pem(shown.concat().as_bytes()).unwrap();
    (chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

fn identity(chain: &[String]) -> String {
    peer_identity(&tls::certificates_from_pem(chain[0].as_bytes()).unwrap()[0]).unwrap().to_string()
}

fn verifies(chain: &[String], roots: &[u8]) -> bool {
    let leaf = tls::certificates_from_pem(chain[0].as_bytes()).unwrap().remove(0);
    let roots = tls::roots_from_pem(roots).unwrap();
    let end = webpki::EndEntityCert::try_from(&leaf).unwrap();
    let algorithms = tls::provider().signature_verification_algorithms.all;
    let usage = webpki::KeyUsage::client_auth();
    end.verify_for_usage(algorithms, &roots.roots, &[], UnixTime::now(), usage, None, None).is_ok()
}

const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

#[tokio::test]
async fn a_workload_gets_its_certificate_by_token_and_renews_it_by_certificate() {
    let citadel = Citadel::start(&[]).await;
    let (key, request) = csr();
    let first = citadel.ask(&request, 0, Some(&citadel.token("default:reviews")), None).await.unwrap();
    assert_eq!(identity(&first), REVIEWS);
    assert!(verifies(&first, &citadel.roots()));
    assert_eq!(first.last().unwrap().as_bytes(), citadel.roots());
    assert!(!first[0].contains("kubernetes"));

    let (next_key, next_request) = csr();
    let second = citadel.ask(&next_request, 3600, None, Some(own(&first, &key))).await.unwrap();
    assert_eq!(identity(&second), REVIEWS);
    assert_ne!(first[0], second[0]);

    // A certificate takes precedence over a token: the connection proves possession of its key.
    let other = citadel.token("default:ratings");
    let third = citadel.ask(&request, 0, Some(&other), Some(own(&second, &next_key))).await.unwrap();
    assert_eq!(identity(&third), REVIEWS);
    citadel.stop().await;
}

#[tokio::test]
async fn unauthenticated_and_unauthorized_requests_are_refused() {
    let citadel = Citadel::start(&[]).await;
    let (_, request) = csr();
    let good = citadel.token("default:reviews");
    let other_audience = citadel.issuer.token("one", "other", "system:serviceaccount:default:reviews");
    let unknown_issuer = Issuer::new().token("one", "istio-ca", "system:serviceaccount:default:reviews");
    let weak = include_str!("../data/rsa-1024.csr");
    let table: [(&str, i64, Option<&str>, Code, &str); 6] = [
        (&request, 0, None, Code::Unauthenticated, "neither a client certificate nor"),
        (&request, 0, Some("garbage"), Code::Unauthenticated, "does not have three parts"),
        (&request, 0, Some(&other_audience), Code::Unauthenticated, "audience is not `istio-ca`"),
        (&request, 0, Some(&unknown_issuer), Code::Unauthenticated, "signature is invalid"),
        ("garbage", 0, Some(&good), Code::InvalidArgument, "no PEM block"),
        (weak, 0, Some(&good), Code::InvalidArgument, "not 1024"),
    ];
    for (row, (csr, seconds, token, code, reason)) in table.into_iter().enumerate() {
        let status = citadel.ask(csr, seconds, token, None).await.unwrap_err();
        assert_eq!(status.code(), code, "row {row}: {status}");
        assert!(status.message().contains(reason), "row {row}: {status}");
    }
    let huge = "x".repeat(300 * 1024);
    assert!(citadel.ask(&huge, 0, Some(&good), None).await.is_err());
    let metrics = citadel.page("/metrics").await;
    for line in [
        "citadel_server_csr_count 6",
        "citadel_server_authentication_failure_count 4",
        "citadel_server_csr_parsing_err_count 2",
        "citadel_server_id_extraction_err_count 0",
        "citadel_server_success_cert_issuance_count 0",
        "istio_build{component=\"citadel\"",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    assert!(metrics.contains("citadel_server_root_cert_expiry_timestamp"));
    citadel.stop().await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (citadel, other) = (Citadel::start(&[]).await, Citadel::start(&[]).await);
    let (key, request) = csr();
    let foreign = other.ask(&request, 0, Some(&other.token("default:reviews")), None).await.unwrap();
    assert!(citadel.ask(&request, 0, None, Some(own(&foreign, &key))).await.is_err());
    citadel.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn dns_names_are_granted_by_configuration_only() {
    let grant = "istio-system/istiod=istiod.istio-system.svc,istiod.istio-system.svc.cluster.local";
    let citadel = Citadel::start(&["--service-account-dns", grant]).await;
    let (_, request) = csr();
    for (account, granted) in [("istio-system:istiod", true), ("default:istiod", false)] {
        let chain = citadel.ask(&request, 0, Some(&citadel.token(account)), None).await.unwrap();
        let leaf = tls::certificates_from_pem(chain[0].as_bytes()).unwrap().remove(0);
        let end = webpki::EndEntityCert::try_from(&leaf).unwrap();
        let has = |name: &str| end.verify_is_valid_for_subject_name(&name.try_into().unwrap()).is_ok();
        assert_eq!(has("istiod.istio-system.svc"), granted, "{account}");
        assert!(!has("kubernetes.default.svc"), "{account}");
    }
    citadel.stop().await;
}

#[tokio::test]
async fn an_issuer_can_rotate_its_keys_while_the_authority_runs() {
    let citadel = Citadel::start(&[]).await;
    let (_, request) = csr();
    let next = Issuer::new();
    next.publish(&citadel.folder.path().join("keys.json"), "two");
    let token = next.token("two", "istio-ca", "system:serviceaccount:default:reviews");
    let chain = citadel.ask(&request, 0, Some(&token), None).await.unwrap();
    assert_eq!(identity(&chain), REVIEWS);
    assert!(citadel.readiness.is_ready());
    citadel.stop().await;
}

#[tokio::test]
async fn an_identity_over_its_rate_limit_is_refused_and_others_are_not() {
    let citadel = Citadel::start(&["--rate-limit", "1"]).await;
    let (_, request) = csr();
    let token = citadel.token("default:reviews");
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(
            citadel
                .ask(&request, 0, Some(&token), None)
                .await
                .map_or_else(|status| status.code(), |_| Code::Ok),
        );
    }
    assert!(codes[..10].iter().all(|code| *code == Code::Ok), "{codes:?}");
    assert!(codes.contains(&Code::ResourceExhausted), "{codes:?}");
    assert!(citadel.ask(&request, 0, Some(&citadel.token("default:ratings")), None).await.is_ok());
    citadel.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_the_root_and_the_servers_own_certificate_has_its_dns_names() {
    let citadel = Citadel::start(&["--dns-names", "ca.example.org"]).await;
    let roots = tls::roots_from_pem(&citadel.roots()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for name in
        ["istiod.istio-system.svc", "citadel.istio-system.svc", "istio-ca.istio-system.svc", "ca.example.org"]
    {
        let stream = tokio::net::TcpStream::connect(citadel.grpc).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config.clone()));
        connector.connect(name.try_into().unwrap(), stream).await.expect(name);
    }
    let root_folder = citadel.folder.path().join("root");
    let before = citadel.roots();
    let again = citadel::root::folder::open(
        &root_folder,
        &"cluster.local".parse().unwrap(),
        OffsetDateTime::now_utc() + Duration::from_hours(24),
    );
    assert_eq!(again.unwrap().roots_pem().as_bytes(), before);
    citadel.stop().await;
}

#[tokio::test]
async fn a_process_enrolls_renews_and_is_never_locked_out() {
    let (citadel, other) = (Citadel::start(&[]).await, Citadel::start(&[]).await);
    let by_token = |citadel: &Citadel| {
        let token = citadel.folder.path().join("token");
        std::fs::write(&token, citadel.token("default:reviews")).unwrap();
        Authority {
            address: citadel.grpc.to_string(),
            roots: citadel.folder.path().join("root-cert.pem"),
            token: Some(token),
            server: Expected::citadel(&"cluster.local".parse().unwrap()).unwrap(),
            cluster_id: "Kubernetes".to_owned(),
            validity: Some(Duration::from_mins(10)),
        }
    };
    let with_token = by_token(&citadel);
    let without_token = Authority { token: None, ..with_token.clone() };
    let first = enroll::enroll(&with_token, None).await.unwrap();
    assert_eq!(first.identity.as_str(), REVIEWS);
    assert_eq!(first.not_after.duration_since(first.not_before).unwrap(), Duration::from_mins(12));

    let renewed = enroll::enroll(&without_token, Some(&first)).await.unwrap();
    assert_ne!(renewed.chain, first.chain);
    assert!(enroll::enroll(&without_token, None).await.is_err());

    let foreign = enroll::enroll(&by_token(&other), None).await.unwrap();
    assert!(enroll::enroll(&without_token, Some(&foreign)).await.is_err());
    let again = enroll::enroll(&with_token, Some(&foreign)).await.unwrap();
    assert_eq!(again.roots.as_bytes(), citadel.roots());
    let expired = enroll::Issued { not_after: std::time::SystemTime::UNIX_EPOCH, ..first };
    assert!(enroll::enroll(&with_token, Some(&expired)).await.is_ok());
    citadel.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_root_that_the_operator_replaces_is_taken_up_without_a_restart() {
    let (citadel, other) = (Citadel::start(&[]).await, Citadel::start(&[]).await);
    let (_, request) = csr();
    let (old, new) = (citadel.roots(), other.roots());
    let folder = citadel.folder.path().join("root");
    std::fs::write(folder.join("ca-key.pem"), "garbage").unwrap();
    let token = citadel.token("default:reviews");
    let chain = citadel.ask(&request, 0, Some(&token), None).await.unwrap();
    assert!(verifies(&chain, &old), "a broken file leaves the old root in force");

    for name in ["ca-cert.pem", "ca-key.pem", "cert-chain.pem"] {
        std::fs::copy(other.folder.path().join("root").join(name), folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("root-cert.pem"), [&new[..], &old].concat()).unwrap();
    let published = citadel.folder.path().join("root-cert.pem");
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let deadline = tokio::time::timeout(Duration::from_secs(30), async {
        while std::fs::read(&published).unwrap() == old {
            ticks.tick().await;
        }
    });
    deadline.await.expect("the folder is looked at every few seconds");
    let chain = loop {
        let chain = citadel.ask(&request, 0, Some(&token), None).await.unwrap();
        if verifies(&chain, &new) {
            break chain;
        }
    };
    assert_eq!(chain.last().unwrap().matches("BEGIN CERTIFICATE").count(), 2);
    citadel.stop().await;
    other.stop().await;
}

/// When a certificate expires, in seconds from now.
fn left(chain: &[String]) -> i64 {
    let der = tls::certificates_from_pem(chain[0].as_bytes()).unwrap().remove(0);
    let (_, leaf) = x509_parser::parse_x509_certificate(&der).unwrap();
    leaf.validity().not_after.timestamp() - OffsetDateTime::now_utc().unix_timestamp()
}

#[tokio::test]
async fn a_certificate_has_the_requested_lifetime_up_to_the_limit() {
    let (usual, raised) = (Citadel::start(&[]).await, Citadel::start(&["--max-ttl", "48h"]).await);
    let (_, request) = csr();
    let day = 24 * 3600;
    let table = [
        (0, day, day),
        (-1, day, day),
        (i64::MIN, day, day),
        (3600, 3600, 3600),
        (day + 1, day, day + 1),
        (90 * day, day, 2 * day),
        (i64::MAX, day, 2 * day),
    ];
    for (wished, expected, when_raised) in table {
        for (citadel, expected) in [(&usual, expected), (&raised, when_raised)] {
            let token = citadel.token("default:reviews");
            let life = left(&citadel.ask(&request, wished, Some(&token), None).await.unwrap());
            assert!((expected - 10..=expected).contains(&life), "{wished}: {life} instead of {expected}");
        }
    }
    usual.stop().await;
    raised.stop().await;
}

#[tokio::test]
async fn a_connection_of_a_root_that_is_removed_is_cut_and_gets_no_certificate_of_the_next() {
    use tokio::io::AsyncReadExt;
    let (citadel, other) = (Citadel::start(&[]).await, Citadel::start(&[]).await);
    let (key, request) = csr();
    let token = citadel.token("default:reviews");
    let old = citadel.ask(&request, 0, Some(&token), None).await.unwrap();
    let roots = tls::roots_from_pem(&citadel.roots()).unwrap();
    let servers = verifier::servers(move |presented| presented.leads_to(&roots));
    let config = tls::client_config(servers, Some(own(&old, &key))).unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = tokio::net::TcpStream::connect(citadel.grpc).await.unwrap();
    let mut open = connector.connect("citadel".try_into().unwrap(), stream).await.unwrap();

    let folder = citadel.folder.path().join("root");
    for name in ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"] {
        std::fs::copy(other.folder.path().join("root").join(name), folder.join(name)).unwrap();
    }
    let ends = async { while open.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(Duration::from_secs(3), ends).await.expect("the connection is cut");
    assert!(citadel.ask(&request, 0, None, Some(own(&old, &key))).await.is_err());
    let chain = citadel.ask(&request, 0, Some(&token), None).await.unwrap();
    assert!(verifies(&chain, &other.roots()), "a client with a token gets a certificate");
    citadel.stop().await;
    other.stop().await;
}

/// Thousands of silent connections and incomplete messages, from one address and from many.
#[tokio::test]
async fn silent_connections_do_not_block_certificate_requests() {
    let citadel = Citadel::start(&[]).await;
    let (_, request) = csr();
    let token = citadel.token("default:reviews");
    api::process::open_files::raise();
    let mut silent = vec![];
    for number in 0..1500_u16 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        let [high, low] = (number / 2).to_be_bytes();
        let from = if number % 2 == 0 { [127, 0, 0, 1] } else { [127, 9, high, low] };
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(citadel.grpc).await.unwrap();
        if number % 3 == 0 {
            let _ = stream.try_write(b"\x16\x03\x01\x02\x00\x01");
        }
        silent.push(stream);
    }
    let prompt = tokio::time::timeout(Duration::from_secs(2), citadel.ask(&request, 0, Some(&token), None));
    assert!(prompt.await.expect("it is served promptly").is_ok());
    drop(silent);
    citadel.stop().await;
}
