//! In-memory handshakes between a client and a server with valid and invalid certificates.

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

/// Flawed certificates that both verifiers must refuse, with a part of the reason.
fn flawed(authority: &CertifiedIssuer<'_, KeyPair>) -> Vec<(Own, &'static str)> {
    let table: [(Change, &str); 7] = [
        (|p| p.not_after = date_time_ymd(2001, 1, 1), "certificate expired"),
        (|p| p.not_before = date_time_ymd(3000, 1, 1), "not valid yet"),
        (|p| p.subject_alt_names = vec![SanType::DnsName("a.b".try_into().unwrap())], "has 0 URI names"),
        (|p| p.subject_alt_names.push(uri("spiffe://cluster.local/other")), "has 2 URI names"),
        (|p| p.subject_alt_names = vec![uri("spiffe://cluster.local")], "has no path"),
        (|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "CaUsedAsEndEntity"),
        (|p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment], "lacks digitalSignature"),
    ];
    let mut all: Vec<_> =
        table.into_iter().map(|(change, reason)| (leaf(authority, change), reason)).collect();
    // Another root with the same name: only the signature differs.
    all.push((leaf(&self::authority(), |_| {}), "BadSignature"));
    all
}

#[tokio::test]
async fn a_server_is_verified_by_its_identity_not_its_dns_name() {
    let authority = authority();
    let server = server_config_of(leaf(&authority, |_| {}));
    let domain = |text: &str| Accept::TrustDomain(text.parse().unwrap());
    let exact = |text: &str| Accept::Ids(vec![IdPattern::Exact(text.parse().unwrap())]);
    let prefix = |text: &str| Accept::Ids(vec![IdPattern::Prefix(text.to_owned())]);
    let table = [
        (Accept::Any, true),
        (domain("cluster.local"), true),
        (domain("other.local"), false),
        (exact(REVIEWS), true),
        (exact("spiffe://cluster.local/ns/default/sa/ratings"), false),
        (exact("spiffe://cluster.local/ns/default/sa/review"), false),
        (prefix("spiffe://cluster.local/ns/default/"), true),
        (prefix("spiffe://cluster.local/ns/other/"), false),
        (Accept::Ids(vec![]), false),
        (Accept::Check(Arc::new(|id| id.service_account() == Some("reviews"))), true),
        (Accept::Check(Arc::new(|_| false)), false),
    ];
    for (accept, expected) in table {
        let presented = format!("{accept:?}");
        let client = client_config(mesh_servers(roots(&authority), accept), None).unwrap();
        let result = handshake(client, server.clone()).await;
        assert_eq!(result.is_ok(), expected, "{presented}: {result:?}");
        if let Err(reason) = result {
            assert!(reason.contains("not an accepted identity"), "{reason}");
        }
    }
}

#[tokio::test]
async fn a_flawed_server_is_refused() {
    let authority = authority();
    for (own, reason) in flawed(&authority) {
        let client = client_config(mesh_servers(roots(&authority), Accept::Any), None).unwrap();
        let result = handshake(client, server_config_of(own)).await.unwrap_err();
        assert!(result.contains(reason), "{reason}: {result}");
    }
}

#[tokio::test]
async fn a_flawed_client_is_refused() {
    let authority = authority();
    let server = server_with_clients(&authority, Accept::Any, ClientAuth::Optional);
    for (own, reason) in flawed(&authority) {
        let verifier = mesh_servers(roots(&authority), Accept::Any);
        let client = client_config(verifier, Some(own)).unwrap();
        let result = handshake(client, server.clone()).await.unwrap_err();
        assert!(result.contains(reason), "{reason}: {result}");
    }
}

#[tokio::test]
async fn a_client_is_verified_by_its_identity_which_may_be_optional() {
    let authority = authority();
    let client = |own| client_config(mesh_servers(roots(&authority), Accept::Any), own).unwrap();
    let own = || Some(leaf(&authority, |_| {}));
    let optional = server_with_clients(&authority, Accept::Any, ClientAuth::Optional);
    let required = server_with_clients(&authority, Accept::Any, ClientAuth::Required);
    let foreign =
        server_with_clients(&authority, Accept::TrustDomain("d".parse().unwrap()), ClientAuth::Required);
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
    assert!(!private_key_from_pem(broken.as_bytes()).unwrap_err().to_string().contains(secret));
    assert!(mesh_clients(Arc::new(RootCertStore::empty()), Accept::Any, ClientAuth::Optional).is_err());
}

fn server_config_of((chain, key): Own) -> Arc<ServerConfig> {
    server_config(chain, key, None).unwrap().config.clone()
}

fn server_with_clients(
    authority: &CertifiedIssuer<'_, KeyPair>,
    accept: Accept,
    auth: ClientAuth,
) -> Arc<ServerConfig> {
    let verifier = mesh_clients(roots(authority), accept, auth).unwrap();
    let (chain, key) = leaf(authority, |_| {});
    server_config(chain, key, Some(verifier)).unwrap().config.clone()
}
