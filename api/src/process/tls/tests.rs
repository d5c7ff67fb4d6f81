//! In-memory handshakes between a client and a server with valid and invalid certificates.

use super::expected::{Expected, expected_servers};
use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);
type Change = fn(&mut CertificateParams);

const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn roots(authority: &CertifiedIssuer<'_, KeyPair>) -> Arc<RootCertStore> {
    roots_from_pem(authority.pem().as_bytes()).unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn leaf(authority: &CertifiedIssuer<'_, KeyPair>, change: Change) -> Own {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri(REVIEWS)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

/// Both ends' result of a handshake, after a byte each way so that both have received the other's last message.
async fn handshake(client: ClientConfig, server: Arc<ServerConfig>) -> Result<Option<SpiffeId>, String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from("any.name.is.fine").unwrap();
    let client = async {
        let mut stream =
            TlsConnector::from(Arc::new(client)).connect(name, near).await.map_err(|e| e.to_string())?;
        stream.write_all(b"?").await.map_err(|e| e.to_string())?;
        stream.read_u8().await.map_err(|e| e.to_string()).map(drop)
    };
    let server = async {
        let mut stream = TlsAcceptor::from(server).accept(far).await.map_err(|e| e.to_string())?;
        stream.read_u8().await.map_err(|e| e.to_string())?;
        stream.write_all(b"!").await.map_err(|e| e.to_string())?;
        let peer = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        Ok::<_, String>(peer.map(|leaf| peer_identity(leaf).unwrap()))
    };
    // The server's error explains a refused client, the client's a refused server.
    match tokio::join!(client, server) {
        (Ok(()), Ok(id)) => Ok(id),
        (client, server) => Err(format!("{client:?} {server:?}")),
    }
}

/// Flawed certificates that both verifiers must refuse, with a part of the server's reason to refuse a client and of the
/// client's reason to refuse a server.
fn flawed(authority: &CertifiedIssuer<'_, KeyPair>) -> Vec<(Own, &'static str, &'static str)> {
    let table: [(Change, &str, &str); 7] = [
        (|p| p.not_after = date_time_ymd(2001, 1, 1), "certificate expired", "certificate expired"),
        (|p| p.not_before = date_time_ymd(3000, 1, 1), "not valid yet", "not valid yet"),
        (
            |p| p.subject_alt_names = vec![SanType::DnsName("a.b".try_into().unwrap())],
            "has 0 URI names",
            "a server without an identity",
        ),
        (
            |p| p.subject_alt_names.push(uri("spiffe://cluster.local/other")),
            "has 2 URI names",
            "a server without an identity",
        ),
        (
            |p| p.subject_alt_names = vec![uri("spiffe://cluster.local")],
            "has no path",
            "a server without an identity",
        ),
        (|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "CaUsedAsEndEntity", "CaUsedAsEndEntity"),
        (
            |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
            "lacks digitalSignature",
            "a server without an identity",
        ),
    ];
    let mut all: Vec<_> = table
        .into_iter()
        .map(|(change, of_client, of_server)| (leaf(authority, change), of_client, of_server))
        .collect();
    // Another root with the same name: only the signature differs.
    all.push((leaf(&self::authority(), |_| {}), "BadSignature", "BadSignature"));
    all
}

/// A client's configuration that expects the server with the identity `REVIEWS`.
fn client(authority: &CertifiedIssuer<'_, KeyPair>, own: Option<Own>) -> ClientConfig {
    client_config(expected_servers(roots(authority), Expected::parse(REVIEWS).unwrap()), own).unwrap()
}

#[tokio::test]
async fn a_server_is_verified_by_its_identity_not_its_dns_name() {
    let authority = authority();
    let server = server_config_of(leaf(&authority, |_| {}));
    for (expected, accepted) in [
        (REVIEWS, true),
        ("spiffe://cluster.local/ns/default/sa/ratings", false),
        ("spiffe://cluster.local/ns/default/sa/review", false),
        ("spiffe://other.local/ns/default/sa/reviews", false),
    ] {
        let servers = expected_servers(roots(&authority), Expected::parse(expected).unwrap());
        let result = handshake(client_config(servers, None).unwrap(), server.clone()).await;
        assert_eq!(result.is_ok(), accepted, "{expected}: {result:?}");
        if let Err(reason) = result {
            assert!(reason.contains(&format!("expected `{expected}`")), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_flawed_server_is_refused() {
    let authority = authority();
    for (own, _, reason) in flawed(&authority) {
        let result = handshake(client(&authority, None), server_config_of(own)).await.unwrap_err();
        assert!(result.contains(reason), "{reason}: {result}");
    }
}

#[tokio::test]
async fn a_flawed_client_is_refused() {
    let authority = authority();
    let server = server_with_clients(&authority, "cluster.local", ClientAuth::Optional);
    for (own, reason, _) in flawed(&authority) {
        let result = handshake(client(&authority, Some(own)), server.clone()).await.unwrap_err();
        assert!(result.contains(reason), "{reason}: {result}");
    }
}

#[tokio::test]
async fn a_client_is_verified_by_its_identity_which_may_be_optional() {
    let authority = authority();
    let client = |own| client(&authority, own);
    let own = || Some(leaf(&authority, |_| {}));
    let optional = server_with_clients(&authority, "cluster.local", ClientAuth::Optional);
    let required = server_with_clients(&authority, "cluster.local", ClientAuth::Required);
    let foreign = server_with_clients(&authority, "other.local", ClientAuth::Required);
    assert_eq!(handshake(client(own()), optional.clone()).await, Ok(Some(REVIEWS.parse().unwrap())));
    assert_eq!(handshake(client(own()), required.clone()).await, Ok(Some(REVIEWS.parse().unwrap())));
    assert_eq!(handshake(client(None), optional).await, Ok(None));
    assert!(handshake(client(None), required).await.unwrap_err().contains("peer sent no certificates"));
    assert!(handshake(client(own()), foreign).await.unwrap_err().contains("not an accepted identity"));
}

#[test]
fn invalid_pem_is_reported_without_quoting_it() {
    let key = KeyPair::generate().unwrap().serialize_pem();
    let broken = key.replace("-----END PRIVATE KEY-----", "");
    assert!(certificates_from_pem(b"").unwrap_err().to_string().contains("no CERTIFICATE block"));
    assert!(certificates_from_pem(key.as_bytes()).unwrap_err().to_string().contains("no CERTIFICATE block"));
    assert!(
        private_key_from_pem(authority().pem().as_bytes())
            .unwrap_err()
            .to_string()
            .contains("no private key")
    );
    assert!(private_key_from_pem(key.as_bytes()).is_ok());
    let secret = key.lines().nth(1).unwrap();
    let domain = "cluster.local".parse().unwrap();
    assert!(!private_key_from_pem(broken.as_bytes()).unwrap_err().to_string().contains(secret));
    assert!(mesh_clients(Arc::new(RootCertStore::empty()), domain, ClientAuth::Optional).is_err());
}

fn server_config_of((chain, key): Own) -> Arc<ServerConfig> {
    server_config(chain, key, None).unwrap().config.clone()
}

fn server_with_clients(
    authority: &CertifiedIssuer<'_, KeyPair>,
    domain: &str,
    auth: ClientAuth,
) -> Arc<ServerConfig> {
    let verifier = mesh_clients(roots(authority), domain.parse().unwrap(), auth).unwrap();
    let (chain, key) = leaf(authority, |_| {});
    server_config(chain, key, Some(verifier)).unwrap().config.clone()
}
