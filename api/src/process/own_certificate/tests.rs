//! Rotation of the mesh's roots, at every possible moment.

use super::*;
use crate::certificate::{self, CertificateService, IstioCertificateRequest, IstioCertificateResponse};
use crate::process::serve;
use crate::process::tls::expected::Expected;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use std::sync::Mutex;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::{Request, Response, Status};

/// A root certificate with its key.
struct Root(CertifiedIssuer<'static, KeyPair>);

impl Root {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn sign(&self, id: &str, key: &impl rcgen::PublicKeyData) -> String {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.signed_by(key, &self.0).unwrap().pem()
    }

    /// A certificate of a workload with its key.
    fn workload(&self, account: &str) -> Issued {
        let key = KeyPair::generate().unwrap();
        let identity = format!("spiffe://cluster.local/ns/{account}");
        Issued {
            chain: self.sign(&identity, &key),
            key: key.serialize_pem(),
            roots: String::new(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH,
            identity: identity.parse().unwrap(),
        }
    }

    /// The TLS settings of an authority with this root that trusts only this root.
    fn server(&self) -> Arc<Serving> {
        let (chain, key) = enroll::key_pair(&self.workload("istio-system/sa/citadel")).unwrap();
        let roots = tls::roots_from_pem(self.pem().as_bytes()).unwrap();
        let clients = mesh_clients(roots, "cluster.local".parse().unwrap(), ClientAuth::Optional).unwrap();
        tls::server_config(chain, key, Some(clients)).unwrap()
    }
}

/// A certificate authority that the test controls, and the files that the server reads.
struct Mesh {
    folder: TempDir,
    address: String,
    responses: Arc<Responses>,
    tls: watch::Sender<Arc<Serving>>,
}

struct Responses {
    signer: Mutex<Arc<Root>>,
    /// The roots returned with a certificate.
    bundle: Mutex<String>,
    /// The content that the roots file gets at the next response.
    meanwhile: Mutex<Option<String>>,
    file: std::path::PathBuf,
}

struct Service(Arc<Responses>);

#[tonic::async_trait]
impl CertificateService for Service {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let csr = rcgen::CertificateSigningRequestParams::from_pem(&request.get_ref().csr).unwrap();
        let signer = self.0.signer.lock().unwrap().clone();
        let leaf = signer.sign("spiffe://cluster.local/ns/istio-system/sa/istiod", &csr.public_key);
        if let Some(roots) = self.0.meanwhile.lock().unwrap().take() {
            std::fs::write(&self.0.file, roots).unwrap();
        }
        let bundle = self.0.bundle.lock().unwrap().clone();
        Ok(Response::new(IstioCertificateResponse { cert_chain: vec![leaf, bundle] }))
    }
}

impl Mesh {
    async fn new(root: &Arc<Root>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "token").unwrap();
        let responses = Arc::new(Responses {
            signer: Mutex::new(root.clone()),
            bundle: Mutex::new(root.pem()),
            meanwhile: Mutex::default(),
            file: folder.path().join("root-cert.pem"),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let service = certificate::server(Service(responses.clone()), 100_000);
        let router = tonic::service::Routes::new(service).into_axum_router();
        let (tls, current) = watch::channel(root.server());
        tokio::spawn(serve::https(listener, router, current, CancellationToken::new()));
        let mesh = Self { folder, address, responses, tls };
        mesh.publish(&root.pem());
        mesh
    }

    fn publish(&self, roots: &str) {
        std::fs::write(&self.responses.file, roots).unwrap();
    }

    fn authority(&self) -> Authority {
        Authority {
            address: self.address.clone(),
            roots: self.responses.file.clone(),
            token: Some(self.folder.path().join("token")),
            server: Expected::citadel(&domain()).unwrap(),
            cluster_id: "Kubernetes".into(),
            validity: None,
        }
    }
}

/// Whether the server and a client accept each other, when the client's certificate is of one root and it trusts another.
async fn handshake(server: Arc<Serving>, of: &Root, trusts: &Root) -> (bool, bool) {
    let roots = tls::roots_from_pem(trusts.pem().as_bytes()).unwrap();
    let own = enroll::key_pair(&of.workload("shop/sa/web")).unwrap();
    let servers = tls::verifier::servers(move |presented| presented.leads_to(&roots));
    let client = tls::client_config(servers, Some(own)).unwrap();
    let (near, far) = tokio::io::duplex(64 * 1024);
    let name = rustls::pki_types::ServerName::try_from("server").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (client, server) =
        tokio::join!(connector.connect(name, near), TlsAcceptor::from(server.config.clone()).accept(far));
    (server.is_ok(), client.is_ok())
}

async fn admits(server: &Arc<Serving>, of: &Root, shown: &Root) -> bool {
    handshake(server.clone(), of, shown).await.0
}

fn domain() -> TrustDomain {
    "cluster.local".parse().unwrap()
}

fn clients() -> [Clients; 1] {
    [Clients::Mesh(domain())]
}

fn both(one: &Root, other: &Root) -> String {
    one.pem() + &other.pem()
}

/// Advances time so that the file is checked again; the resulting work takes real time.
async fn look_again() {
    tokio::time::pause();
    tokio::time::advance(LOOK_AGAIN + Duration::from_millis(1)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn roots_that_change_during_a_signing_request_are_noticed() {
    let (old, new) = (Arc::new(Root::new("old")), Root::new("new"));
    let mesh = Mesh::new(&old).await;
    *mesh.responses.meanwhile.lock().unwrap() = Some(both(&old, &new));
    let (own, _) = obtain(&mesh.authority(), &clients(), None).await.unwrap();
    tokio::time::pause();
    let noticed = tokio::time::timeout(LOOK_AGAIN * 2, other_roots(&mesh.authority(), &own.roots)).await;
    assert_eq!(noticed.unwrap(), both(&old, &new).into_bytes());
}

#[tokio::test]
async fn clients_are_verified_with_the_roots_of_the_file_whatever_the_authority_returns() {
    let (old, new) = (Arc::new(Root::new("old")), Root::new("new"));
    let mesh = Mesh::new(&old).await;
    let (one, two) = (old.pem(), both(&old, &new));
    // A root that was just added, and one that was just removed.
    for (file, bundle, admitted) in [(&two, &one, true), (&one, &two, false)] {
        mesh.publish(file);
        mesh.responses.bundle.lock().unwrap().clone_from(bundle);
        let (_, [config]) = obtain(&mesh.authority(), &clients(), None).await.unwrap();
        assert!(admits(&config, &old, &old).await);
        assert_eq!(admits(&config, &new, &old).await, admitted);
    }
}

#[tokio::test]
async fn a_removed_root_is_not_trusted_and_clients_of_the_next_root_are_served() {
    let (old, new) = (Arc::new(Root::new("old")), Arc::new(Root::new("new")));
    let mesh = Mesh::new(&old).await;
    let kept = keep(mesh.authority(), clients(), CancellationToken::new()).await.unwrap();
    let [mut config] = kept.serving;
    assert_eq!(handshake(config.borrow_and_update().clone(), &old, &old).await, (true, true));
    // From here the authority accepts no certificate of the old root, not even the server's.
    *mesh.responses.signer.lock().unwrap() = new.clone();
    mesh.responses.bundle.lock().unwrap().clone_from(&new.pem());
    mesh.tls.send_replace(new.server());
    mesh.publish(&new.pem());
    look_again().await;
    let served = async {
        loop {
            config.changed().await.unwrap();
            let now = config.borrow_and_update().clone();
            assert!(!admits(&now, &old, &old).await);
            if handshake(now, &new, &new).await == (true, true) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), served).await.expect("a client of the next root is served");
}

#[tokio::test]
async fn a_removed_root_is_not_trusted_even_while_the_authority_is_down() {
    let (old, new) = (Arc::new(Root::new("old")), Root::new("new"));
    let mesh = Mesh::new(&old).await;
    let (own, [config]) = obtain(&mesh.authority(), &clients(), None).await.unwrap();
    // A bound port on which no process listens.
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let away = Authority { address: refusing.local_addr().unwrap().to_string(), ..mesh.authority() };
    let (send, mut config) = watch::channel(config);
    let (trust, trusted) = watch::channel(Arc::from(old.pem().into_bytes()));
    let own = Arc::new(own);
    let publish = Publish { serving: [send], roots: trust, own: watch::Sender::new(own.clone()) };
    tokio::spawn(async move { renew(&away, &clients(), own, &publish).await });
    tokio::task::yield_now().await;
    mesh.publish(&new.pem());
    look_again().await;
    config.changed().await.unwrap();
    let now = config.borrow_and_update().clone();
    // The server still presents its old certificate, so clients that trust the old root are still accepted.
    assert_eq!(handshake(now.clone(), &new, &old).await, (true, true));
    assert!(!admits(&now, &old, &old).await);
    // Clients that verify this certificate still need the old root.
    assert_eq!(**trusted.borrow(), *old.pem().as_bytes());
}

#[tokio::test]
async fn a_server_for_all_requests_no_certificate_and_its_roots_follow_the_certificate() {
    let (old, new) = (Arc::new(Root::new("old")), Root::new("new"));
    let mesh = Mesh::new(&old).await;
    let kept = keep(mesh.authority(), [Clients::All], CancellationToken::new()).await.unwrap();
    let ([config], mut roots) = (kept.serving, kept.roots);
    assert_eq!(**roots.borrow_and_update(), *old.pem().as_bytes());
    assert_eq!(
        handshake(config.borrow().clone(), &new, &old).await,
        (true, true),
        "a foreign certificate is ignored"
    );
    mesh.publish(&both(&old, &new));
    look_again().await;
    tokio::time::timeout(Duration::from_secs(10), roots.changed()).await.unwrap().unwrap();
    assert_eq!(**roots.borrow(), *both(&old, &new).as_bytes());
}
