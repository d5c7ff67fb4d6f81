//! A server on a free port and a real client: the peer's identity, draining, renewed certificates and limits.

use super::*;
use crate::process::tls::{ClientAuth, client_config, mesh_clients, roots_from_pem, server_config, verifier};
use axum::Extension;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn who() -> Router {
    let answer = async |Extension(peer): Extension<Peer>| match peer.identity {
        Some(id) => id.to_string(),
        None => format!("{} {}", peer.address.ip(), peer.certificates.len()),
    };
    Router::new().route("/", get(answer))
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Result<String, hyper::Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request =
        Request::get("/").header("host", "a").body(Empty::<Bytes>::new()).expect("the parts are valid");
    let body = sender.send_request(request).await?.into_body().collect().await?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

#[tokio::test]
async fn a_plaintext_peer_has_an_address_and_no_identity() {
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let server = tokio::spawn(http(listener, who(), drain.clone()));
    let stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(stream).await.unwrap(), "127.0.0.1 0");
    drain.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn draining_finishes_the_running_request_and_refuses_new_ones() {
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (started, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, end) = (started.clone(), finish.clone());
    let slow = async move || {
        begin.notify_one();
        end.notified().await;
        "finished"
    };
    let server = tokio::spawn(http(listener, Router::new().route("/", get(slow)), drain.clone()));
    let running = tokio::spawn(ask(TcpStream::connect(address).await.unwrap()));
    started.notified().await;
    drain.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    finish.notify_one();
    assert_eq!(running.await.unwrap().unwrap(), "finished");
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_outlasts_the_drain_is_cut() {
    let (listener, address) = listener().await;
    let (acceptor, connections) = (Acceptor::new(Limits::default()), ConnectionTasks::new());
    let client = TcpStream::connect(address).await.unwrap();
    let (stream, _, slot) = acceptor.accept(&listener).await;
    connections.spawn(slot, async move {
        let _open = stream;
        std::future::pending::<()>().await;
    });
    connections.end(Duration::from_millis(1)).await;
    assert!(is_closed(&client).await);
}

/// Waits for the end of a connection without reading from it.
async fn is_closed(client: &TcpStream) -> bool {
    loop {
        client.readable().await.unwrap();
        match client.try_read(&mut [0; 1024]) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return true,
        }
    }
}

/// Thousands of proxies hold a connection to pilot each. What a connection needs besides its buffers is small.
#[tokio::test]
async fn the_task_of_a_connection_is_small() {
    let (listener, address) = listener().await;
    let _client = TcpStream::connect(address).await.unwrap();
    let (stream, address, slot) = Acceptor::new(Limits::default()).accept(&listener).await;
    let peer = Arc::new(Peer { address, certificates: Arc::default(), identity: None });
    let client = Client::new(peer, (slot.counter(), &Limits::default()), None);
    let serving = serve(slot.watch(stream, false), who(), client, CancellationToken::new());
    assert!(size_of_val(&serving) <= 2048, "serving: {} bytes", size_of_val(&serving));
    let task = task(CancellationToken::new(), slot, serving);
    assert!(size_of_val(&task) <= 1024, "the task: {} bytes", size_of_val(&task));
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn leaf(&self, account: &str) -> Chain {
        self.leaf_until(account, None)
    }

    fn leaf_until(&self, account: &str, end: Option<time::OffsetDateTime>) -> Chain {
        let mut params = CertificateParams::default();
        params.not_after = end.unwrap_or(params.not_after);
        let uri = format!("spiffe://cluster.local/ns/default/sa/{account}");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn server(&self, account: &str) -> Arc<Serving> {
        self.server_that_trusts(account, &self.0.pem())
    }

    fn server_that_trusts(&self, account: &str, roots: &str) -> Arc<Serving> {
        let roots = roots_from_pem(roots.as_bytes()).unwrap();
        let (chain, key) = self.leaf(account);
        let clients = mesh_clients(roots, "cluster.local".parse().unwrap(), ClientAuth::Optional).unwrap();
        server_config(chain, key, Some(clients)).unwrap()
    }

    async fn connect(
        &self,
        address: SocketAddr,
        own: Option<Chain>,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.expired(TcpStream::connect(address).await.unwrap(), own).await
    }

    async fn expired(
        &self,
        stream: TcpStream,
        own: Option<Chain>,
    ) -> tokio_rustls::client::TlsStream<TcpStream> {
        let roots = roots_from_pem(self.0.pem().as_bytes()).unwrap();
        let servers = verifier::servers(move |presented| presented.leads_to(&roots));
        let config = client_config(servers, own).unwrap();
        let name = ServerName::try_from("citadel").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

fn server_account(stream: &tokio_rustls::client::TlsStream<TcpStream>) -> String {
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    peer_identity(leaf).unwrap().service_account().unwrap().to_owned()
}

#[tokio::test]
async fn a_tls_peer_has_its_certificates_identity_and_a_renewed_server_certificate_is_used_next() {
    let authority = Authority::new();
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (renew, tls) = watch::channel(authority.server("first"));
    let server = tokio::spawn(https(listener, who(), tls, drain.clone()));

    let with_own = authority.connect(address, Some(authority.leaf("reviews"))).await;
    let without = authority.connect(address, None).await;
    assert_eq!(server_account(&without), "first");
    renew.send_replace(authority.server("second"));
    assert_eq!(server_account(&authority.connect(address, None).await), "second");
    assert_eq!(ask(with_own).await.unwrap(), "spiffe://cluster.local/ns/default/sa/reviews");
    assert_eq!(ask(without).await.unwrap(), "127.0.0.1 0");

    drain.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn connections_of_a_removed_root_are_closed_at_once_and_others_stay() {
    let (old, new) = (Authority::new(), Authority::new());
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let both = old.0.pem() + &new.0.pem();
    let (change, tls) = watch::channel(old.server_that_trusts("citadel", &both));
    let server = tokio::spawn(https(listener, who(), tls, drain.clone()));

    let of_old = old.connect(address, Some(old.leaf("reviews"))).await;
    let of_new = old.connect(address, Some(new.leaf("ratings"))).await;
    let anonymous = old.connect(address, None).await;
    // The server has accepted all three before its configuration changes.
    let mut open = vec![];
    for stream in [of_old, of_new, anonymous] {
        open.push(Pending::new(stream).await);
    }
    change.send_replace(old.server_that_trusts("citadel", &new.0.pem()));
    let expired = tokio::time::timeout(Duration::from_secs(1), &mut open[0].connection).await;
    assert!(expired.is_ok(), "the connection of the removed root is still open");
    assert_eq!(open[1].ask().await.unwrap(), "spiffe://cluster.local/ns/default/sa/ratings");
    assert_eq!(open[2].ask().await.unwrap(), "127.0.0.1 0");

    drop(open);
    drain.cancel();
    server.await.unwrap();
}

/// A connection that sends several requests.
struct Pending {
    sender: hyper::client::conn::http1::SendRequest<Empty<Bytes>>,
    connection: tokio::task::JoinHandle<hyper::Result<()>>,
}

impl Pending {
    /// Sends a request.
    async fn new<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Self {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut asking = Self { sender, connection: tokio::spawn(connection) };
        asking.ask().await.unwrap();
        asking
    }

    async fn ask(&mut self) -> Result<String, hyper::Error> {
        self.sender.ready().await?;
        let request = Request::get("/").header("host", "a").body(Empty::new()).expect("the parts are valid");
        let body = self.sender.send_request(request).await?.into_body().collect().await?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }
}

#[tokio::test]
async fn a_request_is_refused_after_the_roots_have_changed_even_before_the_recheck() {
    let (old, new) = (Authority::new(), Authority::new());
    let (_change, tls) = watch::channel(old.server_that_trusts("citadel", &new.0.pem()));
    let chain: Arc<[_]> = old.leaf("reviews").0.into();
    let peer = Arc::new(Peer { address: ([127, 0, 0, 1], 1).into(), certificates: chain, identity: None });
    let (listener, address) = listener().await;
    let _client = TcpStream::connect(address).await.unwrap();
    let (_, _, slot) = Acceptor::new(Limits::default()).accept(&listener).await;
    let distrust = |tls| Client::new(peer.clone(), (slot.counter(), &FEW), Some(tls)).distrust();
    assert_eq!(distrust(tls), Some(CloseReason::Untrusted));
    let (change, tls) = watch::channel(old.server("citadel"));
    let client = Client::new(peer.clone(), (slot.counter(), &FEW), Some(tls));
    assert_eq!(client.distrust(), None);
    change.send_replace(new.server("citadel"));
    assert_eq!(client.distrust(), Some(CloseReason::Untrusted));
    change.send_replace(old.server("citadel"));
    assert_eq!(client.distrust(), None);
}

#[tokio::test]
async fn a_connection_ends_when_its_clients_certificate_expires() {
    let authority = Authority::new();
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (_renew, tls) = watch::channel(authority.server("citadel"));
    let server = tokio::spawn(https(listener, who(), tls, drain.clone()));
    // Certificates have a resolution of one second, and connections close up to a tenth of the time earlier.
    let end = time::OffsetDateTime::now_utc() + Duration::from_secs(2);
    let mut short =
        Pending::new(authority.connect(address, Some(authority.leaf_until("reviews", Some(end)))).await)
            .await;
    let expired = tokio::time::timeout(Duration::from_secs(3), &mut short.connection).await;
    assert!(expired.is_ok(), "it outlives its certificate");
    assert!(time::OffsetDateTime::now_utc() >= end - Duration::from_millis(1200), "it ended too early");
    drop(short);
    drain.cancel();
    server.await.unwrap();
}

const FEW: Limits = Limits {
    anonymous: 8,
    anonymous_per_source: 8,
    authenticated: 8,
    authenticated_per_source: 8,
    first_byte: Duration::from_millis(300),
    handshake: Duration::from_millis(600),
    first_request: Duration::from_millis(600),
    idle: Duration::from_millis(900),
    response: Some(Duration::from_millis(900)),
    exchange: Some(Duration::from_millis(900)),
    age: None,
    head: 8 << 10,
    bodies: 1 << 20,
    request: 0,
};

/// Incomplete bytes that an anonymous client sends first.
const HALVES: [(&str, &[u8]); 6] = [
    ("nothing", b""),
    ("half a ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("half a request line", b"GET / HT"),
    ("a head without an end", b"GET / HTTP/1.1\r\nhost: a\r\n"),
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/2 settings", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0"),
];

#[tokio::test]
async fn incomplete_requests_of_anonymous_clients_time_out_and_block_no_other_client() {
    for tls in [false, true] {
        for (what, bytes) in HALVES {
            anonymous_clients_send(what, bytes, tls).await;
        }
    }
}

/// More anonymous clients than the limit admits send these bytes, then a byte now and then.
async fn anonymous_clients_send(what: &str, bytes: &[u8], tls: bool) {
    let authority = Authority::new();
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (_renew, serving) = watch::channel(authority.server("citadel"));
    let server = if tls {
        tokio::spawn(https_within(FEW, listener, who(), serving, drain.clone()))
    } else {
        tokio::spawn(http_within(FEW, listener, who(), drain.clone()))
    };
    let mut anonymous = vec![];
    for _ in 0..40 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        anonymous.push(stream);
    }
    let prompt = async {
        let stream = TcpStream::connect(address).await.unwrap();
        if tls { ask(authority.expired(stream, None).await).await } else { ask(stream).await }
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), prompt).await;
    assert_eq!(answer.expect(what).expect(what), "127.0.0.1 0", "{what} {tls}");
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for stream in &anonymous {
                let _ = stream.try_write(b"x");
            }
        }
    };
    let closed = async {
        for stream in &anonymous {
            assert!(is_closed(stream).await);
        }
    };
    tokio::select! {
        () = drip => {}
        expired = tokio::time::timeout(Duration::from_secs(5), closed) => expired.expect(what),
    }
    drain.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn an_endless_body_and_an_unread_response_time_out() {
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let router = Router::new()
        .route("/", axum::routing::post(async |body: Bytes| body))
        .route("/long", get(async || vec![b'x'; 64 << 20]));
    let server = tokio::spawn(http_within(FEW, listener, router, drain.clone()));
    for request in [
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc",
        "GET /long HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // The client reads nothing meanwhile, so the response stays in the server's buffer.
        tokio::time::sleep(FEW.exchange.unwrap() * 2).await;
        let expired = tokio::time::timeout(Duration::from_secs(5), is_closed(&stream)).await;
        assert!(expired.is_ok(), "{request}");
    }
    drain.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn too_large_bodies_and_heads_are_refused_while_small_requests_succeed() {
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let router = Router::new().route("/", axum::routing::post(async |body: Bytes| body));
    let limits = Limits { response: None, exchange: None, ..FEW };
    let server = tokio::spawn(http_within(limits, listener, router, drain.clone()));
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut small, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut large = vec![];
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 600000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // The server may close it meanwhile.
        let _ = stream.write_all(&vec![b'x'; 599_999]).await;
        large.push(stream);
    }
    let body = http_body_util::Full::new(Bytes::from("abc"));
    let request = Request::post("/").header("host", "a").body(body).unwrap();
    let answer = small.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(answer.to_bytes(), "abc");
    let closed = async {
        for stream in &large[..2] {
            is_closed(stream).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), closed).await.expect("of three one is left");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nhost: a\r\na: {}", "x".repeat(16 << 10));
    stream.write_all(head.as_bytes()).await.unwrap();
    let expired = tokio::time::timeout(Duration::from_secs(5), is_closed(&stream)).await;
    expired.expect("a head is not waited for that is too long already");
    drain.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn anonymous_clients_never_displace_an_authenticated_one() {
    let authority = Authority::new();
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (_renew, tls) = watch::channel(authority.server("citadel"));
    let limits = Limits { idle: Duration::from_secs(60), ..FEW };
    let server = tokio::spawn(https_within(limits, listener, who(), tls, drain.clone()));
    let mut authenticated =
        Pending::new(authority.connect(address, Some(authority.leaf("reviews"))).await).await;
    let mut anonymous = vec![];
    for _ in 0..100 {
        anonymous.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(authenticated.ask().await.unwrap(), "spiffe://cluster.local/ns/default/sa/reviews");
    drop(authenticated);
    drain.cancel();
    server.await.unwrap();
}

#[test]
fn connections_whose_certificates_expire_together_close_with_jitter() {
    let hour = Duration::from_hours(1);
    let table = [
        (hour * 12, 0.0, hour * 12),
        (hour * 12, 1.0, Duration::from_secs(12 * 3600 - 300)),
        (hour * 12, 0.5, Duration::from_secs(12 * 3600 - 150)),
        (Duration::from_secs(100), 1.0, Duration::from_secs(90)),
        (Duration::ZERO, 1.0, Duration::ZERO),
    ];
    for (left, random, expected) in table {
        assert_eq!(lasts(left, random), expected, "{left:?} {random}");
    }
}

#[tokio::test]
async fn a_handler_knows_when_a_connection_closes_and_http2_sends_goaway() {
    let authority = Authority::new();
    let (listener, address) = listener().await;
    let drain = CancellationToken::new();
    let (_renew, tls) = watch::channel(authority.server("citadel"));
    let router = Router::new().route(
        "/",
        get(async |close_at: Option<Extension<CloseAt>>| {
            let left = close_at.map(|Extension(close_at)| close_at.at.duration_since(Instant::now()));
            format!("{}", left.unwrap_or_default().as_millis())
        }),
    );
    let server = tokio::spawn(https(listener, router, tls, drain.clone()));
    assert_eq!(ask(authority.connect(address, None).await).await.unwrap(), "0", "it has nothing that ends");
    let end = time::OffsetDateTime::now_utc() + Duration::from_secs(4);
    let stream = authority.connect(address, Some(authority.leaf_until("reviews", Some(end)))).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let left: u64 = String::from_utf8_lossy(&body).parse().unwrap();
    assert!((1..=4000).contains(&left), "{left}");
    let expired = tokio::time::timeout(Duration::from_secs(6), connection).await;
    expired.expect("it ends with the certificate").unwrap().expect("it ends in order");
    drain.cancel();
    server.await.unwrap();
}

#[test]
fn a_connection_closes_at_its_maximum_age_or_with_its_peers_certificate_whichever_is_first() {
    let now = Instant::now();
    let seconds = |number: Option<u64>| number.map(Duration::from_secs);
    let table = [
        (None, None, 0.5, None),
        (None, Some(1800), 0.0, Some((1620, CloseCause::Age))),
        (None, Some(1800), 1.0, Some((1980, CloseCause::Age))),
        (Some(43_200), Some(1800), 0.5, Some((1800, CloseCause::Age))),
        (Some(600), Some(1800), 0.0, Some((600, CloseCause::Certificate))),
        (Some(600), Some(1800), 1.0, Some((540, CloseCause::Certificate))),
        (Some(600), None, 1.0, Some((540, CloseCause::Certificate))),
    ];
    for (left, age, random, expected) in table {
        let expected = expected.map(|(after, cause)| CloseAt { at: now + Duration::from_secs(after), cause });
        let found = CloseAt::first(now, seconds(left), seconds(age), random);
        assert_eq!(found, expected, "{left:?} {age:?} {random}");
    }
}

#[tokio::test]
async fn connections_end_with_goaway_at_their_maximum_age_also_without_certificates() {
    let authority = Authority::new();
    for tls in [false, true] {
        let (listener, address) = listener().await;
        let drain = CancellationToken::new();
        let (_renew, serving) = watch::channel(authority.server("citadel"));
        let limits = Limits { age: Some(Duration::from_millis(400)), ..Limits::default() };
        let server = if tls {
            tokio::spawn(https_within(limits, listener, who(), serving, drain.clone()))
        } else {
            tokio::spawn(http_within(limits, listener, who(), drain.clone()))
        };
        let stream = TcpStream::connect(address).await.unwrap();
        let ended = if tls {
            ends_in_order(authority.expired(stream, Some(authority.leaf("reviews"))).await).await
        } else {
            ends_in_order(stream).await
        };
        assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&ended), "{tls}: {ended:?}");
        drain.cancel();
        server.await.unwrap();
    }
}

/// Opens an HTTP/2 connection, and returns after what time the server ends it with GOAWAY.
async fn ends_in_order<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Duration {
    let begin = Instant::now();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://a/").body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(request).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), connection).await;
    ended.expect("it ends with its age").unwrap().expect("it ends in order");
    begin.elapsed()
}
