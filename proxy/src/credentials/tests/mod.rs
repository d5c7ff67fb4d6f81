//! Handshakes with certificates that are rotated, expired or issued for another name.

#![allow(clippy::disallowed_methods, reason = "certificates of tests begin and end around now")]

mod resumption;

use super::*;
use api::model::matcher::{Pattern, StringMatch};
use api::model::secret::SecretContent;
use api::model::tls::{
    CertificateSource, DownstreamTls, RootSource, SanKind, SanMatch, TlsParameters, TlsVersion, UpstreamTls,
    Validation,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::{TlsAcceptor, TlsConnector};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    fn roots(&self) -> SecretContent {
        SecretContent::Roots { bundle: self.pem.clone() }
    }

    fn leaf(&self, names: &[SanType]) -> SecretContent {
        self.signed(names, |_| {})
    }

    fn signed(&self, names: &[SanType], change: impl FnOnce(&mut CertificateParams)) -> SecretContent {
        let mut params = CertificateParams::new(vec![]).unwrap();
        change(&mut params);
        params.subject_alt_names = names.to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        SecretContent::Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }

    fn workload(&self, account: &str) -> SecretContent {
        self.leaf(&[uri(&format!("spiffe://cluster.local/ns/default/sa/{account}"))])
    }

    fn until(&self, account: &str, end: SystemTime) -> SecretContent {
        let names = [uri(&format!("spiffe://cluster.local/ns/default/sa/{account}"))];
        self.signed(&names, |params| params.not_after = end.into())
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn accept_name(kind: SanKind, pattern: Pattern) -> SanMatch {
    SanMatch { kind: Some(kind), value: StringMatch { pattern, ignore_case: false } }
}

fn mesh(names: Vec<SanMatch>) -> TlsParameters {
    TlsParameters {
        alpn: vec!["istio-h2".into(), "h2".into()],
        certificates: vec![CertificateSource::Sds("default".into())],
        validation: Some(Validation { roots: RootSource::Sds("ROOTCA".into()), subject_alt_names: names }),
        ..TlsParameters::default()
    }
}

fn upstream(common: TlsParameters) -> UpstreamTls {
    UpstreamTls {
        common,
        sni: "outbound_.9080_._.reviews.default.svc.cluster.local".into(),
        ..UpstreamTls::default()
    }
}

fn store(authority: &Authority, account: &str) -> Arc<Store> {
    let store = Store::new();
    store.set("default", &authority.workload(account)).unwrap();
    store.set("ROOTCA", &authority.roots()).unwrap();
    store
}

/// The result of one handshake over a pipe on each side, after one byte was sent each way.
async fn handshake(
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
    name: rustls::pki_types::ServerName<'static>,
) -> (std::io::Result<Option<String>>, std::io::Result<rustls::HandshakeKind>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await?;
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        stream.write_all(&byte).await?;
        stream.flush().await?;
        Ok(stream.get_ref().1.server_name().map(str::to_owned))
    };
    let client = async {
        let mut stream = TlsConnector::from(client).connect(name, near).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        stream.read_exact(&mut [0]).await?;
        stream.get_ref().1.handshake_kind().ok_or_else(|| std::io::Error::other("no handshake"))
    };
    tokio::join!(server, client)
}

fn outcome(
    server_tls: &DownstreamTls,
    server_store: &Arc<Store>,
    client_tls: &UpstreamTls,
    client_store: &Arc<Store>,
) -> (std::io::Result<Option<String>>, std::io::Result<rustls::HandshakeKind>) {
    let server = server_config(server_tls, server_store).unwrap().config;
    let client = client_config(client_tls, client_store).unwrap();
    let name = server_name(client_tls, Some("reviews:9080"), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(handshake(server, client, name))
}

/// The configurations of a server and a client of one mesh, for tests of protocols over TLS. If `known` is false,
/// the client trusts the server, but presents a certificate that the server does not trust.
pub(crate) fn meeting(version: TlsVersion, known: bool) -> (Server, Arc<rustls::ClientConfig>) {
    let authority = Authority::new();
    let (reviews, page) = (store(&authority, "reviews"), store(&authority, "productpage"));
    if !known {
        page.set("default", &Authority::new().workload("productpage")).unwrap();
    }
    let (mut server, mut client) = (strict(), expecting("reviews"));
    for common in [&mut server.common, &mut client.common] {
        (common.min, common.max) = (Some(version), Some(version));
    }
    (server_config(&server, &reviews).unwrap(), client_config(&client, &page).unwrap())
}

fn strict() -> DownstreamTls {
    DownstreamTls { common: mesh(vec![]), require_client_certificate: true }
}

fn expecting(account: &str) -> UpstreamTls {
    let id = format!("spiffe://cluster.local/ns/default/sa/{account}");
    upstream(mesh(vec![accept_name(SanKind::Uri, Pattern::Exact(id))]))
}

#[test]
fn the_exchange_of_peer_metadata_is_never_agreed_on() {
    let authority = Authority::new();
    let store = store(&authority, "reviews");
    let (mut server, mut client) = (strict(), expecting("reviews"));
    for (common, last) in [(&mut server.common, "h2"), (&mut client.common, "istio")] {
        common.alpn = vec!["istio-peer-exchange".into(), last.into()];
    }
    let server = server_config(&server, &store).unwrap().config;
    let client = client_config(&client, &store).unwrap();
    assert_eq!(
        (&server.alpn_protocols[..], &client.alpn_protocols[..]),
        (&[b"h2".to_vec()][..], &[b"istio".to_vec()][..])
    );
}

#[test]
fn workloads_of_one_mesh_connect_and_the_server_sees_their_sni() {
    let authority = Authority::new();
    let (reviews, page) = (store(&authority, "reviews"), store(&authority, "productpage"));
    let (server, client) = outcome(&strict(), &reviews, &expecting("reviews"), &page);
    client.unwrap();
    assert_eq!(server.unwrap().as_deref(), Some("outbound_.9080_._.reviews.default.svc.cluster.local"));
}

#[test]
fn a_server_with_another_identity_is_refused_by_name() {
    let authority = Authority::new();
    let (other, page) = (store(&authority, "intruder"), store(&authority, "productpage"));
    let (_, client) = outcome(&strict(), &other, &expecting("reviews"), &page);
    let error = client.unwrap_err().to_string();
    assert!(error.contains("sa/intruder"), "{error}");
}

#[test]
fn a_client_without_a_certificate_is_refused_with_an_alert() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let page = |secret: Option<SecretContent>| {
        let store = store(&authority, "productpage");
        match secret {
            Some(secret) => store.set("default", &secret).unwrap(),
            None => store.remove("default"),
        }
        store
    };
    let hour = std::time::Duration::from_secs(3600);
    let named = |name: &str| vec![accept_name(SanKind::Uri, Pattern::Exact(name.to_owned()))];
    let picky = DownstreamTls {
        common: mesh(named("spiffe://cluster.local/ns/default/sa/ingress")),
        require_client_certificate: true,
    };
    let table = [
        (&strict(), page(Some(foreign.workload("productpage"))), "BadSignature"),
        (&strict(), page(Some(authority.until("productpage", SystemTime::now() - hour))), "xpired"),
        (&strict(), page(None), "no certificate"),
        (&strict(), page(Some(authority.leaf(&[dns("page.example.com")]))), "UriCount(0)"),
        (&picky, page(Some(authority.workload("productpage"))), "sa/productpage"),
    ];
    let reviews = store(&authority, "reviews");
    for (server, client, reason) in table {
        let error = outcome(server, &reviews, &expecting("reviews"), &client).0.unwrap_err();
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
}

#[test]
fn an_expired_server_certificate_or_one_of_another_root_is_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let page = store(&authority, "productpage");
    let hour = std::time::Duration::from_secs(3600);
    for (secret, reason) in [
        (authority.until("reviews", SystemTime::now() - hour), "xpired"),
        (foreign.workload("reviews"), "BadSignature"),
    ] {
        let server = store(&authority, "reviews");
        server.set("default", &secret).unwrap();
        let error = outcome(&strict(), &server, &expecting("reviews"), &page).1.unwrap_err().to_string();
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_certificate_without_a_workload_identity_is_refused() {
    let authority = Authority::new();
    let reviews = store(&authority, "reviews");
    let named = store(&authority, "productpage");
    named.set("default", &authority.leaf(&[dns("productpage.example.com")])).unwrap();
    let (server, _) = outcome(&strict(), &reviews, &expecting("reviews"), &named);
    let error = server.unwrap_err().to_string();
    assert!(error.contains("UriCount(0)"), "{error}");
}

#[test]
fn a_rotation_serves_the_next_handshake_of_the_same_configuration() {
    let (authority, later) = (Authority::new(), Authority::new());
    let (reviews, page) = (store(&authority, "reviews"), store(&authority, "productpage"));
    let server = server_config(&strict(), &reviews).unwrap().config;
    let tls = expecting("reviews");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let name = || server_name(&tls, None, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let meet = || {
        let client = client_config(&tls, &page).unwrap();
        runtime.block_on(handshake(server.clone(), client, name())).1.is_ok()
    };
    assert!(meet());
    for store in [&reviews, &page] {
        store.set("ROOTCA", &later.roots()).unwrap();
    }
    assert!(!meet(), "both still show certificates of the authority that is trusted no more");
    reviews.set("default", &later.workload("reviews")).unwrap();
    page.set("default", &later.workload("productpage")).unwrap();
    assert!(meet());
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    let authority = Authority::new();
    let (reviews, page) = (store(&authority, "reviews"), store(&authority, "productpage"));
    let server = server_config(&strict(), &reviews).unwrap().config;
    let tls = expecting("reviews");
    let client = client_config(&tls, &page).unwrap();
    let name = server_name(&tls, None, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kind = || runtime.block_on(handshake(server.clone(), client.clone(), name.clone())).1.unwrap();
    assert_eq!(kind(), rustls::HandshakeKind::Full);
    assert_eq!(kind(), rustls::HandshakeKind::Resumed);
}

#[test]
fn an_edge_chooses_its_certificate_by_sni_and_clients_check_the_dialled_host() {
    let authority = Authority::new();
    let edge = Store::new();
    edge.set("kubernetes://one", &authority.leaf(&[dns("one.example.com")])).unwrap();
    edge.set("kubernetes://two", &authority.leaf(&[dns("*.two.example.com")])).unwrap();
    let certificates =
        ["kubernetes://one", "kubernetes://two"].map(|name| CertificateSource::Sds(name.into())).into();
    let server = DownstreamTls {
        common: TlsParameters { certificates, ..TlsParameters::default() },
        require_client_certificate: false,
    };
    let clients = Store::new();
    clients.set("ROOTCA", &authority.roots()).unwrap();
    let SecretContent::Roots { bundle } = authority.roots() else { unreachable!() };
    let validation = Validation { roots: RootSource::Inline(bundle), subject_alt_names: vec![] };
    let dial = |sni: &str, validation: Validation| UpstreamTls {
        common: TlsParameters { validation: Some(validation), ..TlsParameters::default() },
        sni: sni.into(),
        auto_sni: false,
        auto_san: true,
    };
    for (host, good) in [("one.example.com", true), ("a.two.example.com", true), ("three.example.com", false)]
    {
        let (_, client) = outcome(&server, &edge, &dial(host, validation.clone()), &clients);
        assert_eq!(client.is_ok(), good, "{host}: {client:?}");
    }
    let names = vec![accept_name(SanKind::Dns, Pattern::Exact("b.two.example.com".into()))];
    let mut tls = dial("b.two.example.com", Validation { subject_alt_names: names, ..validation });
    tls.auto_san = false;
    outcome(&server, &edge, &tls, &clients).1.unwrap();
}

#[test]
fn a_missing_secret_fails_the_handshake_by_its_name() {
    let authority = Authority::new();
    let (reviews, page) = (store(&authority, "reviews"), store(&authority, "productpage"));
    page.remove("ROOTCA");
    let (_, client) = outcome(&strict(), &reviews, &expecting("reviews"), &page);
    let error = client.unwrap_err().to_string();
    assert!(error.contains("Missing(\"ROOTCA\")"), "{error}");
}

#[test]
fn names_are_compared_as_envoy_does() {
    let table = [
        (
            SanKind::Uri,
            Pattern::Prefix("spiffe://cluster.local/".into()),
            "uri",
            "spiffe://cluster.local/ns/a/sa/b",
            true,
        ),
        (SanKind::Uri, Pattern::Exact("spiffe://a".into()), "dns", "spiffe://a", false),
        (SanKind::Dns, Pattern::Exact("a.example.com".into()), "dns", "*.example.com", true),
        (SanKind::Dns, Pattern::Exact("a.b.example.com".into()), "dns", "*.example.com", false),
        (SanKind::Dns, Pattern::Suffix(".example.com".into()), "dns", "a.example.com", true),
        (SanKind::Ip, Pattern::Exact("10.0.0.1".into()), "ip_address", "10.0.0.1", true),
        (SanKind::Uri, Pattern::Regex("spiffe://.*/sa/x".into()), "uri", "spiffe://d/ns/n/sa/x", true),
        (SanKind::Uri, Pattern::Regex("spiffe://.*/sa/x".into()), "uri", "spiffe://d/ns/n/sa/xy", false),
        (SanKind::Email, Pattern::Contains("@example".into()), "email", "me@example.com", true),
    ];
    for (kind, pattern, found_kind, found, expected) in table {
        let check = verify::NameCheck::compile(&accept_name(kind, pattern.clone())).unwrap();
        assert_eq!(check.accepts(found_kind, found), expected, "{pattern:?} {found}");
    }
}

#[test]
fn file_secrets_are_read_again_when_they_change_and_a_broken_file_keeps_the_last_good_one() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let write = |content: &SecretContent, age: u64| {
        let SecretContent::Certificate { chain, key } = content else { unreachable!() };
        for (name, text) in [("chain.pem", chain), ("key.pem", key)] {
            std::fs::write(path(name), text).unwrap();
            let file = std::fs::File::options().write(true).open(path(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age)).unwrap();
        }
    };
    write(&authority.workload("first"), 1000);
    let store = Store::new();
    let common = TlsParameters {
        certificates: vec![CertificateSource::Files { certificate: path("chain.pem"), key: path("key.pem") }],
        ..TlsParameters::default()
    };
    server_config(&DownstreamTls { common, ..DownstreamTls::default() }, &store).unwrap();
    let account = || store.dump()[0].subject_alt_names[0].1.clone();
    assert!(account().ends_with("/first"));
    assert!(store.reload_files().is_empty());
    write(&authority.workload("second"), 2000);
    assert!(store.reload_files().is_empty());
    assert!(account().ends_with("/second"));
    write(&SecretContent::Certificate { chain: "broken".into(), key: "broken".into() }, 3000);
    assert_eq!(store.reload_files().len(), 1);
    assert!(account().ends_with("/second"));
}

#[test]
fn settings_that_make_no_sense_are_refused_with_their_field() {
    let store = Store::new();
    let backwards = TlsParameters {
        min: Some(TlsVersion::V1_3),
        max: Some(TlsVersion::V1_2),
        certificates: vec![CertificateSource::Sds("default".into())],
        ..TlsParameters::default()
    };
    let table = [
        (backwards, "common_tls_context.tls_params"),
        (TlsParameters::default(), "common_tls_context.tls_certificates"),
    ];
    for (common, field) in table {
        let error = server_config(&DownstreamTls { common, ..DownstreamTls::default() }, &store).unwrap_err();
        assert!(error.to_string().starts_with(field), "{error}");
    }
    let mismatched = SecretContent::Certificate { chain: "x".into(), key: "y".into() };
    assert!(store.set("default", &mismatched).unwrap_err().to_string().contains("`default`"));
}

#[test]
fn the_server_name_is_the_sni_then_the_requests_host_then_the_address() {
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    let table = [
        ("a.example.com", true, Some("b.example.com:80"), "a.example.com"),
        ("", true, Some("b.example.com:80"), "b.example.com"),
        ("", true, Some("[::1]:80"), "::1"),
        ("", false, Some("b.example.com"), "10.0.0.1"),
        ("", true, None, "10.0.0.1"),
    ];
    for (sni, auto_sni, host, expected) in table {
        let tls = UpstreamTls { sni: sni.into(), auto_sni, ..UpstreamTls::default() };
        assert_eq!(server_name(&tls, host, address).to_str(), expected);
    }
}
