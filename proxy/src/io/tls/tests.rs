//! Our end against the TLS library's own stream, over sockets: which bytes arrive, how connections end, and how
//! misbehaving peers are handled.

use super::*;
use crate::credentials::tests;
use crate::io::copy::tests::sockets;
use api::model::tls::TlsVersion;
use rustls::{AlertDescription, HandshakeKind, ServerConnection};
use std::io::{Read, Write};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

const BOTH: [TlsVersion; 2] = [TlsVersion::V1_2, TlsVersion::V1_3];

/// The role of our end.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Role {
    Client,
    Server,
}

const ROLES: [Role; 2] = [Role::Client, Role::Server];

type Configs = (Arc<ServerConfig>, Arc<ClientConfig>);

fn meeting(version: TlsVersion, known: bool) -> Configs {
    let (server, client) = tests::meeting(version, known);
    (server.config, client)
}

fn name() -> ServerName<'static> {
    ServerName::try_from("reviews.default.svc.cluster.local").unwrap()
}

/// The handshake parameters at both ends: ours, and the library's.
async fn handshakes(
    role: Role,
    (server, client): Configs,
) -> (io::Result<Tls>, io::Result<TlsStream<TcpStream>>) {
    let (ours, theirs) = sockets().await;
    let ours = Prefixed::new(ours);
    match role {
        Role::Client => {
            let accept = TlsAcceptor::from(server);
            let (ours, theirs) = tokio::join!(Tls::connect(client, name(), ours), accept.accept(theirs));
            (ours, theirs.map(TlsStream::Server))
        }
        Role::Server => {
            let connect = TlsConnector::from(client);
            let (ours, theirs) = tokio::join!(Tls::accept(server, ours), connect.connect(name(), theirs));
            (ours, theirs.map(TlsStream::Client))
        }
    }
}

async fn connected(role: Role, configs: Configs) -> (Tls, TlsStream<TcpStream>) {
    let (ours, theirs) = handshakes(role, configs).await;
    (ours.unwrap(), theirs.unwrap())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

fn tls_error(error: &io::Error) -> &rustls::Error {
    error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("{error:?}"))
}

/// Sends in steps of one size, ends, and reads the response in steps of another.
async fn exchange<S: AsyncRead + AsyncWrite>(stream: S, sent: &[u8], write: usize, read: usize) -> Vec<u8> {
    let (mut from, mut to) = tokio::io::split(stream);
    let writing = async {
        for part in sent.chunks(write) {
            to.write_all(part).await.unwrap();
        }
        to.shutdown().await.unwrap();
    };
    let reading = async {
        let (mut all, mut some) = (vec![], vec![0; read]);
        loop {
            match from.read(&mut some).await.unwrap() {
                0 => break all,
                count => all.extend_from_slice(&some[..count]),
            }
        }
    };
    tokio::join!(writing, reading).1
}

#[tokio::test]
async fn bulk_data_arrives_in_order_in_both_directions() {
    let sent = pattern(8 << 20);
    for (role, version, write, read) in [
        (Role::Client, TlsVersion::V1_3, 1 << 20, 1000),
        (Role::Server, TlsVersion::V1_3, 100_000, 70_000),
        (Role::Client, TlsVersion::V1_2, 70_001, 70_000),
        (Role::Server, TlsVersion::V1_2, 1 << 20, 1000),
    ] {
        let (ours, theirs) = connected(role, meeting(version, true)).await;
        let both = (exchange(ours, &sent, write, read), exchange(theirs, &sent, 50_000, 64 * 1024));
        let (here, there) = tokio::join!(both.0, both.1);
        assert!(here == sent && there == sent, "{role:?} {version:?}: the bytes differ");
    }
}

#[tokio::test]
async fn an_end_that_was_closed_still_reads_and_its_peer_still_writes() {
    async fn talk(
        mut first: impl AsyncRead + AsyncWrite + Unpin,
        mut last: impl AsyncRead + AsyncWrite + Unpin,
    ) {
        let mut text = String::new();
        first.write_all(b"question").await.unwrap();
        first.shutdown().await.unwrap();
        last.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        last.write_all(b"long answer").await.unwrap();
        last.shutdown().await.unwrap();
        text.clear();
        first.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "long answer");
        assert_eq!(first.read(&mut [0]).await.unwrap(), 0, "an end stays an end");
        assert!(last.write_all(b"more").await.is_err() || last.flush().await.is_ok());
    }
    for role in ROLES {
        for version in BOTH {
            let (ours, theirs) = connected(role, meeting(version, true)).await;
            talk(ours, theirs).await;
            let (ours, theirs) = connected(role, meeting(version, true)).await;
            talk(theirs, ours).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_written_after_the_end() {
    let (mut ours, _theirs) = connected(Role::Client, meeting(TlsVersion::V1_3, true)).await;
    ours.shutdown().await.unwrap();
    assert_eq!(ours.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn negotiated_parameters_are_available() {
    for role in ROLES {
        for version in BOTH {
            let (ours, theirs) = connected(role, meeting(version, true)).await;
            let other = theirs.get_ref().1;
            assert_eq!(ours.alpn(), Some(&b"istio-h2"[..]));
            let agreed = ours.agreed().expect("the handshake is made");
            assert_eq!(Some(agreed), agreement::session(other));
            let expected = if version == TlsVersion::V1_3 { "TLSv1.3" } else { "TLSv1.2" };
            assert_eq!(agreed.version, expected);
            assert_eq!(ours.peer_certificates().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_client_with_a_refused_certificate_gets_an_alert() {
    for version in BOTH {
        let (ours, theirs) = handshakes(Role::Server, meeting(version, false)).await;
        let error = ours.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(matches!(tls_error(&error), rustls::Error::InvalidCertificate(_)), "{error}");
        // In TLS 1.3 a client completes its handshake before the server has verified its certificate.
        let error = match theirs {
            Ok(mut stream) => stream.read(&mut [0]).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(tls_error(&error), rustls::Error::AlertReceived(_)), "{error}");
    }
}

#[tokio::test]
async fn a_refused_server_gets_an_alert_and_its_alerts_become_errors() {
    for version in BOTH {
        let (server, _) = meeting(version, true);
        let (_, untrusted) = meeting(version, true);
        let (ours, theirs) = handshakes(Role::Client, (server, untrusted)).await;
        assert!(matches!(tls_error(&ours.unwrap_err()), rustls::Error::InvalidCertificate(_)));
        let error = theirs.unwrap_err();
        assert!(matches!(tls_error(&error), rustls::Error::AlertReceived(_)), "{error}");

        let (ours, theirs) = handshakes(Role::Client, meeting(version, false)).await;
        assert!(theirs.is_err());
        let error = match ours {
            Ok(mut stream) => stream.read(&mut [0]).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(tls_error(&error), rustls::Error::AlertReceived(_)), "{error}");
    }
}

#[tokio::test]
async fn a_peer_that_ends_amid_the_handshake_is_an_unexpected_end() {
    let (server, client) = meeting(TlsVersion::V1_3, true);
    let hang_up = |mut peer: TcpStream, bytes: &'static [u8]| async move {
        peer.write_all(bytes).await.unwrap();
        peer.shutdown().await.unwrap();
        let _ = peer.read_to_end(&mut vec![]).await;
    };
    for bytes in [&b""[..], b"\x16\x03", b"\x16\x03\x03\x01\x00\x01"] {
        let (ours, peer) = sockets().await;
        let ours =
            async { Tls::connect(client.clone(), name(), Prefixed::new(ours)).await.unwrap_err().kind() };
        assert_eq!(tokio::join!(ours, hang_up(peer, bytes)).0, io::ErrorKind::UnexpectedEof);
        let (ours, peer) = sockets().await;
        let ours = async { Tls::accept(server.clone(), Prefixed::new(ours)).await.unwrap_err().kind() };
        assert_eq!(tokio::join!(ours, hang_up(peer, bytes)).0, io::ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_an_error_after_all_complete_records() {
    for cut in [0, 3, 40] {
        let (mut ours, mut theirs) = connected(Role::Client, meeting(TlsVersion::V1_3, true)).await;
        theirs.write_all(b"all of this").await.unwrap();
        let TlsStream::Server(theirs) = theirs else { unreachable!() };
        let (mut socket, mut session) = theirs.into_inner();
        session.writer().write_all(b"a part that must never be visible").unwrap();
        let mut record = vec![];
        session.write_tls(&mut record).unwrap();
        socket.write_all(&record[..cut]).await.unwrap();
        drop(socket);
        let mut all = vec![];
        let error = ours.read_to_end(&mut all).await.unwrap_err();
        let kind = if cut == 0 { io::ErrorKind::UnexpectedEof } else { io::ErrorKind::ConnectionAborted };
        assert_eq!((error.kind(), &all[..]), (kind, &b"all of this"[..]), "{cut}");
        assert!(ours.read(&mut [0]).await.is_err(), "the error is returned again");
    }
}

#[tokio::test]
async fn keys_are_updated_at_the_peers_request() {
    for role in ROLES {
        let (mut ours, mut theirs) = connected(role, meeting(TlsVersion::V1_3, true)).await;
        for turn in 0..100u8 {
            match &mut theirs {
                TlsStream::Client(stream) => stream.get_mut().1.refresh_traffic_keys().unwrap(),
                TlsStream::Server(stream) => stream.get_mut().1.refresh_traffic_keys().unwrap(),
            }
            theirs.write_all(&[turn; 3]).await.unwrap();
            let mut text = [0; 3];
            ours.read_exact(&mut text).await.unwrap();
            assert_eq!(text, [turn; 3]);
            ours.write_all(&text).await.unwrap();
            ours.flush().await.unwrap();
            theirs.read_exact(&mut text).await.unwrap();
            assert_eq!(text, [turn; 3]);
        }
    }
}

#[tokio::test]
async fn a_ticket_that_comes_after_the_handshake_resumes_the_next_one() {
    for role in ROLES {
        for version in BOTH {
            let configs = meeting(version, true);
            let mut kinds = vec![];
            for _ in 0..2 {
                let (mut ours, mut theirs) = connected(role, configs.clone()).await;
                kinds.push(ours.state().handshake_kind().unwrap());
                ours.write_all(b"x").await.unwrap();
                theirs.read_exact(&mut [0]).await.unwrap();
                theirs.write_all(b"x").await.unwrap();
                ours.read_exact(&mut [0]).await.unwrap();
            }
            assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed], "{role:?} {version:?}");
        }
    }
}

#[tokio::test]
async fn malformed_tls_is_refused_with_an_alert() {
    let (server, _) = meeting(TlsVersion::V1_3, true);
    for bytes in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], &[0; 100], &[22, 3, 1, 0, 2, 9, 9, 9, 9]] {
        let (ours, mut peer) = sockets().await;
        peer.write_all(bytes).await.unwrap();
        let error = Tls::accept(server.clone(), Prefixed::new(ours)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        tls_error(&error);
        let mut response = [0; 7];
        peer.read_exact(&mut response).await.unwrap();
        assert_eq!((response[0], response[5]), (21, 2), "a fatal alert");
    }
}

#[tokio::test]
async fn garbage_amid_a_connection_ends_it_for_good() {
    let garbage = [&[7; 40][..], &[23, 3, 3, 0, 30, 1], &[23, 3, 3, 255, 255], &[22, 3, 3, 0, 4, 0, 0, 0, 0]];
    for role in ROLES {
        for bytes in garbage {
            let (mut ours, mut theirs) = connected(role, meeting(TlsVersion::V1_3, true)).await;
            theirs.write_all(b"before").await.unwrap();
            theirs.get_mut().0.write_all(bytes).await.unwrap();
            theirs.get_mut().0.write_all(&[0; 100]).await.unwrap();
            let mut all = vec![];
            let error = ours.read_to_end(&mut all).await.unwrap_err();
            assert_eq!((error.kind(), &all[..]), (io::ErrorKind::InvalidData, &b"before"[..]), "{bytes:?}");
            tls_error(&error);
            assert_eq!(ours.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert_eq!(ours.write(b"x").await.unwrap_err().kind(), io::ErrorKind::InvalidData);
            ours.shutdown().await.unwrap();
            let error = loop {
                match theirs.read(&mut [0; 100]).await {
                    Ok(0) => panic!("the peer did not notice the end"),
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(tls_error(&error), rustls::Error::AlertReceived(_)), "{error}");
        }
    }
}

#[tokio::test]
async fn a_connection_without_traffic_holds_no_buffer_and_part_of_a_record_only_itself() {
    let (mut ours, mut theirs) = connected(Role::Client, meeting(TlsVersion::V1_3, true)).await;
    theirs.write_all(&pattern(100_000)).await.unwrap();
    ours.read_exact(&mut vec![0; 100_000]).await.unwrap();
    ours.write_all(b"thanks").await.unwrap();
    let TlsStream::Server(stream) = &mut theirs else { unreachable!() };
    let (socket, session) = stream.get_mut();
    let mut record = vec![];
    session.writer().write_all(b"the next").unwrap();
    session.write_tls(&mut record).unwrap();
    socket.write_all(&record[..10]).await.unwrap();
    ours.socket().socket().readable().await.unwrap();
    let mut text = [0; 8];
    let mut out = ReadBuf::new(&mut text);
    let waits = poll_fn(|context| Poll::Ready(Pin::new(&mut ours).poll_read(context, &mut out).is_pending()));
    assert!(waits.await);
    assert_eq!(ours.incoming.bytes().len(), 10);
    assert!(ours.incoming.held() == 10 && ours.outgoing.held() == 0 && ours.rest.capacity() == 0);
    socket.write_all(&record[10..]).await.unwrap();
    ours.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"the next");
    assert!(ours.incoming.held() == 0);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_written_to_no_further() {
    let (mut ours, mut theirs) = connected(Role::Server, meeting(TlsVersion::V1_3, true)).await;
    let sent = pattern(64 << 20);
    let mut taken = 0;
    poll_fn(|context| {
        loop {
            match Pin::new(&mut ours).poll_write(context, &sent[taken..]) {
                Poll::Ready(count) => taken += count.unwrap(),
                Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
    assert!(taken < sent.len() && ours.outgoing.unsent().len() <= space::SIZE);
    let flushing = async {
        ours.flush().await.unwrap();
        ours.write_all(b"!").await.unwrap();
    };
    let mut all = vec![0; taken + 1];
    let (read, ()) = tokio::join!(theirs.read_exact(&mut all), flushing);
    read.unwrap();
    assert!(all[..taken] == sent[..taken] && all[taken] == b'!');
}

#[tokio::test]
async fn parts_share_records() {
    for (lengths, records) in [
        (&[9, 1000][..], &[1009][..]),
        (&[9, 16_384, 0, 100], &[16_384, 109]),
        (&[20_000], &[16_384, 3616]),
        (&[100, 40_000, 5], &[16_384, 16_384, 7337]),
        (&[1; 300], &[300]),
        (&[60_000, 60_000], &[16_384; 7]),
        (&[0, 0], &[]),
    ] {
        let (mut ours, theirs) = connected(Role::Client, meeting(TlsVersion::V1_3, true)).await;
        let bytes = pattern(lengths.iter().sum());
        let mut rest = &bytes[..];
        let parts = lengths.iter().map(|length| {
            let (part, after) = rest.split_at(*length);
            rest = after;
            IoSlice::new(part)
        });
        let written = ours.write_vectored(&parts.collect::<Vec<_>>()).await.unwrap();
        let TlsStream::Server(theirs) = theirs else { unreachable!() };
        let (mut socket, mut session) = theirs.into_inner();
        ours.flush().await.unwrap();
        ours.socket.shutdown().await.unwrap();
        let (mut sealed, mut opened) = (vec![], vec![]);
        socket.read_to_end(&mut sealed).await.unwrap();
        let mut sealed = &sealed[..];
        while let [_, _, _, high, low, ..] = sealed {
            let (mut record, rest) = sealed.split_at(5 + usize::from(u16::from_be_bytes([*high, *low])));
            while !record.is_empty() {
                session.read_tls(&mut record).unwrap();
                session.process_new_packets().unwrap();
            }
            opened.push(session.reader().read(&mut vec![0; RECORD]).unwrap());
            sealed = rest;
        }
        assert_eq!((written, &opened[..]), (records.iter().sum(), records), "{lengths:?}");
    }
}

/// A server of the TLS library whose bytes the test moves itself.
struct ManualServer {
    session: ServerConnection,
    socket: TcpStream,
}

impl ManualServer {
    /// Reads until no bytes are available.
    fn read(&mut self) {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(count @ 1..) = self.socket.try_read(&mut bytes) {
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                self.session.read_tls(&mut rest).unwrap();
                self.session.process_new_packets().unwrap();
            }
        }
    }

    fn written(&mut self) -> Vec<u8> {
        let mut bytes = vec![];
        while self.session.wants_write() {
            self.session.write_tls(&mut bytes).unwrap();
        }
        bytes
    }
}

#[tokio::test]
async fn a_message_split_into_single_byte_records_is_processed() {
    let (server, client) = meeting(TlsVersion::V1_3, true);
    let mut server = ServerConfig::clone(&server);
    server.max_fragment_size = Some(64);
    let (ours, socket) = sockets().await;
    let mut peer = ManualServer { session: ServerConnection::new(Arc::new(server)).unwrap(), socket };
    let greeting = async {
        loop {
            peer.socket.readable().await.unwrap();
            peer.read();
            if !peer.session.is_handshaking() {
                break peer.written();
            }
            let bytes = peer.written();
            peer.socket.write_all(&bytes).await.unwrap();
        }
    };
    let (ours, mut bytes) = tokio::join!(Tls::connect(client, name(), Prefixed::new(ours)), greeting);
    let mut ours = ours.unwrap();
    assert!(bytes.len() > 3 * 64, "a ticket of several records");
    peer.session.writer().write_all(b"done").unwrap();
    bytes.extend(peer.written());
    let mut text = [0; 4];
    let mut out = ReadBuf::new(&mut text);
    for byte in &bytes {
        peer.socket.write_all(&[*byte]).await.unwrap();
        ours.socket().socket().readable().await.unwrap();
        poll_fn(|context| {
            let _ =
                Pin::new(&mut ours).poll_read(context, &mut out).map_ok(|()| ()).map_err(|e| panic!("{e}"));
            Poll::Ready(())
        })
        .await;
        ours.write_all(b"x").await.unwrap();
    }
    assert_eq!(out.filled(), b"done");
    peer.socket.readable().await.unwrap();
    peer.read();
    let mut said = vec![0; 2 * bytes.len()];
    assert_eq!(peer.session.reader().read(&mut said).unwrap(), bytes.len());
}

#[tokio::test]
async fn an_alert_of_the_peer_is_reported_by_name() {
    let (mut ours, mut theirs) = connected(Role::Server, meeting(TlsVersion::V1_3, true)).await;
    ours.socket.write_all(&[7; 40]).await.unwrap();
    theirs.read(&mut [0]).await.unwrap_err();
    let error = ours.read(&mut [0]).await.unwrap_err();
    assert_eq!(tls_error(&error), &rustls::Error::AlertReceived(AlertDescription::DecodeError));
}

/// Damage to bytes on their way to us.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flipped,
    Dropped,
    Doubled,
    Cut,
}

impl Damage {
    fn done(self, bytes: &mut Vec<u8>, at: usize) {
        match self {
            Self::Flipped => bytes[at] ^= 1 << (at % 8),
            Self::Dropped => drop(bytes.remove(at)),
            Self::Doubled => bytes.insert(at, bytes[at]),
            Self::Cut => bytes.truncate(at),
        }
    }
}

/// Relays the peer's bytes with one byte damaged. Ends after a silence, because each side may wait for the other.
async fn relay(peer: TcpStream, us: TcpStream, damage: Damage, at: usize) {
    let ((mut from_peer, mut to_peer), (mut from_us, mut to_us)) = (peer.into_split(), us.into_split());
    let there = async {
        let (mut seen, mut some) = (0, vec![0; 4096]);
        let silence = std::time::Duration::from_millis(100);
        while let Ok(Ok(count @ 1..)) = tokio::time::timeout(silence, from_peer.read(&mut some)).await {
            let mut bytes = some[..count].to_vec();
            let hit = (seen..seen + count).contains(&at);
            if hit {
                damage.done(&mut bytes, at - seen);
            }
            seen += count;
            if to_us.write_all(&bytes).await.is_err() || hit && matches!(damage, Damage::Cut) {
                break;
            }
        }
        let _ = to_us.shutdown().await;
    };
    let back = async {
        let _ = tokio::io::copy(&mut from_us, &mut to_peer).await;
        let _ = to_peer.shutdown().await;
    };
    tokio::join!(there, back);
}

#[tokio::test]
async fn our_end_terminates_for_any_modification_of_the_bytes() {
    let configs = BOTH.map(|version| meeting(version, true));
    let damages = [Damage::Flipped, Damage::Dropped, Damage::Doubled, Damage::Cut];
    for (case, at) in (0..2400).step_by(13).enumerate() {
        let (role, damage) = (ROLES[case % 2], damages[case / 2 % 4]);
        let (server, client) = configs[case / 8 % 2].clone();
        let ((us, near), (far, peer)) = (sockets().await, sockets().await);
        let relaying = tokio::spawn(relay(far, near, damage, at));
        let talking = tokio::spawn(async move {
            let peer = match role {
                Role::Client => TlsAcceptor::from(server).accept(peer).await.map(TlsStream::Server),
                Role::Server => TlsConnector::from(client).connect(name(), peer).await.map(TlsStream::Client),
            };
            let Ok(mut peer) = peer else { return };
            let _ = peer.write_all(&pattern(600)).await;
            let _ = peer.shutdown().await;
            let _ = peer.read_to_end(&mut vec![]).await;
        });
        let (server, client) = configs[case / 8 % 2].clone();
        let ours = async {
            let mut ours = match role {
                Role::Client => Tls::connect(client, name(), Prefixed::new(us)).await?,
                Role::Server => Tls::accept(server, Prefixed::new(us)).await?,
            };
            let mut all = vec![];
            let read = ours.read_to_end(&mut all).await;
            let _ = ours.shutdown().await;
            read.map(|_| all)
        };
        let ours = tokio::time::timeout(std::time::Duration::from_secs(10), ours).await;
        let ours = ours.unwrap_or_else(|_| panic!("{role:?} waits for ever: {damage:?} at {at}"));
        if let Ok(all) = ours {
            assert!(all == pattern(600), "{role:?} took damage for data: {damage:?} at {at}");
        }
        talking.abort();
        relaying.abort();
    }
}
