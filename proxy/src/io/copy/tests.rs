//! What each end of a joined connection sees of the other: bytes in order, half-closed connections, and orderly
//! ends distinguished from aborts.

use super::*;
use crate::credentials::tests::meeting;
use crate::io::Tls;
use api::model::tls::TlsVersion;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[tokio::test]
async fn a_half_closed_connection_continues_in_the_other_direction() {
    let (mut client, mut down) = duplex(64);
    let (mut up, mut server) = duplex(64);
    let progress = Progress::default();
    let copying = both_ways(&mut down, &mut up, &progress);
    let talking = async {
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "question");
        server.write_all(b"long answer").await.unwrap();
        server.shutdown().await.unwrap();
        text.clear();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "long answer");
    };
    let (result, ()) = tokio::join!(copying, talking);
    result.unwrap();
    assert_eq!((progress.up(), progress.down()), (8, 11));
}

#[tokio::test]
async fn many_bytes_arrive_in_order_through_a_narrow_pipe() {
    let (mut client, mut down) = duplex(7);
    let (mut up, mut server) = duplex(5);
    let progress = Progress::default();
    let copying = both_ways(&mut down, &mut up, &progress);
    let sent: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let expected = sent.clone();
    let writing = async move {
        client.write_all(&sent).await.unwrap();
        client.shutdown().await.unwrap();
        client
    };
    let reading = async move {
        let mut all = vec![];
        server.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, expected);
    };
    let (result, _client, ()) = tokio::join!(copying, writing, reading);
    result.unwrap();
}

#[tokio::test]
async fn an_end_that_breaks_is_named() {
    let (mut client, mut down) = duplex(64);
    let (mut up, server) = duplex(64);
    drop(server);
    client.write_all(b"x").await.unwrap();
    let progress = Progress::default();
    let (end, _) = both_ways(&mut down, &mut up, &progress).await.unwrap_err();
    assert_eq!(end, End::Up);
}

pub(crate) async fn sockets() -> (TcpStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connect = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(connect, listener.accept());
    (client.unwrap(), server.unwrap().0)
}

pub(crate) fn plain(socket: TcpStream) -> Stream {
    Stream::Plain(crate::io::Prefixed::new(socket))
}

#[tokio::test]
async fn large_and_small_parts_between_sockets_arrive_completely_and_in_order() {
    let ((mut client, down), (up, mut server)) = (sockets().await, sockets().await);
    let (mut down, mut up) = (plain(down), plain(up));
    let progress = Progress::default();
    let copying = streams(&mut down, &mut up, &progress);
    let sent: Vec<u8> = (0..8_000_000u32).map(|i| (i % 251) as u8).collect();
    let expected = sent.clone();
    let writing = async move {
        client.write_all(&sent[..10]).await.unwrap();
        client.write_all(&sent[10..7_000_000]).await.unwrap();
        let mut response = [0; 6];
        client.read_exact(&mut response).await.unwrap();
        assert_eq!(&response, b"go on!");
        client.write_all(&sent[7_000_000..]).await.unwrap();
        client.shutdown().await.unwrap();
        client
    };
    let reading = async move {
        let mut all = vec![0; 7_000_000];
        server.read_exact(&mut all).await.unwrap();
        server.write_all(b"go on!").await.unwrap();
        server.read_to_end(&mut all).await.unwrap();
        assert!(all == expected, "the bytes differ");
        server.shutdown().await.unwrap();
    };
    let (result, _client, ()) = tokio::join!(copying, writing, reading);
    result.unwrap();
    assert_eq!((progress.up(), progress.down()), (8_000_000, 6));
}

#[tokio::test]
async fn a_socket_that_is_reset_amid_bulk_is_named() {
    let ((mut client, down), (up, mut server)) = (sockets().await, sockets().await);
    let (mut down, mut up) = (plain(down), plain(up));
    let progress = Progress::default();
    let copying = streams(&mut down, &mut up, &progress);
    let writing = async move {
        let megabyte = vec![1; 1 << 20];
        while client.write_all(&megabyte).await.is_ok() {}
    };
    let reading = async move {
        let mut some = vec![0; 3_000_000];
        server.read_exact(&mut some).await.unwrap();
        server.set_zero_linger().unwrap();
    };
    let all = async { tokio::join!(copying, reading) };
    tokio::select! {
        (result, ()) = all => assert_eq!(result.unwrap_err().0, End::Up),
        () = writing => panic!("the client did not notice the end"),
    }
}

/// How a peer leaves after it has sent all its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum PeerEnd {
    Orderly,
    WithoutCloseNotify,
    InsideARecord,
    WithGarbage,
    WithAnAlert,
    WithAReset,
}

impl PeerEnd {
    /// The ways in which a peer without TLS can leave.
    const PLAIN: [Self; 2] = [Self::Orderly, Self::WithAReset];
    const ALL: [Self; 6] = [
        Self::Orderly,
        Self::WithoutCloseNotify,
        Self::InsideARecord,
        Self::WithGarbage,
        Self::WithAnAlert,
        Self::WithAReset,
    ];

    fn is_abort(self) -> bool {
        !matches!(self, Self::Orderly | Self::WithoutCloseNotify)
    }

    async fn plain(self, mut peer: TcpStream) -> TcpStream {
        match self {
            Self::WithAReset => peer.set_zero_linger().unwrap(),
            _ => peer.shutdown().await.unwrap(),
        }
        peer
    }

    async fn tls(self, mut peer: TlsStream<TcpStream>) -> TlsStream<TcpStream> {
        let (socket, _) = peer.get_mut();
        match self {
            Self::Orderly => peer.shutdown().await.unwrap(),
            Self::WithoutCloseNotify => socket.shutdown().await.unwrap(),
            Self::InsideARecord => {
                socket.write_all(&[23, 3, 3, 0, 40, 1, 2, 3]).await.unwrap();
                socket.shutdown().await.unwrap();
            }
            Self::WithGarbage => {
                socket.write_all(&[[23, 3, 3, 0, 30].as_slice(), &[7; 30]].concat()).await.unwrap();
            }
            Self::WithAnAlert => drop(peer.read(&mut [0]).await.unwrap_err()),
            Self::WithAReset => socket.set_zero_linger().unwrap(),
        }
        peer
    }
}

/// Joins two connections as the pipeline does.
async fn joined(mut down: Stream, mut up: Stream) {
    match streams(&mut down, &mut up, &Progress::default()).await {
        Ok(()) => {}
        Err((End::Down, _)) => up.reset(),
        Err((End::Up, _)) => down.reset(),
    }
}

/// A peer's TLS connection, and our end of it.
async fn over_tls(version: TlsVersion) -> (TlsStream<TcpStream>, Tls) {
    let (server, client) = meeting(version, true);
    let name = ServerName::try_from("reviews.default.svc.cluster.local").unwrap();
    let (theirs, ours) = sockets().await;
    let connector = TlsConnector::from(client);
    let ours = Tls::accept(server.config, crate::io::Prefixed::new(ours));
    let (theirs, ours) = tokio::join!(connector.connect(name, theirs), ours);
    (theirs.unwrap(), ours.unwrap())
}

/// Checks what the other end sees when a peer leaves: all bytes and an end, or a reset.
async fn sees(mut other: TcpStream, leave: PeerEnd, case: &str) {
    let mut all = vec![];
    let seen = other.read_to_end(&mut all).await.map_err(|error| error.kind());
    let expected = if leave.is_abort() { Err(io::ErrorKind::ConnectionReset) } else { Ok(3) };
    assert_eq!(seen, expected, "{case}: {leave:?}");
}

#[tokio::test]
async fn an_aborted_connection_resets_the_other_and_one_that_ends_ends_it() {
    let sides = |near: Stream, other: TcpStream, is_client: bool| {
        if is_client { (near, plain(other)) } else { (plain(other), near) }
    };
    for is_client in [true, false] {
        for leave in PeerEnd::PLAIN {
            let ((mut peer, near), (ours, other)) = (sockets().await, sockets().await);
            let (down, up) = sides(plain(near), ours, is_client);
            let leaving = async {
                peer.write_all(b"all").await.unwrap();
                drop(leave.plain(peer).await);
            };
            let case = format!("plain, client: {is_client}");
            tokio::join!(joined(down, up), leaving, sees(other, leave, &case));
        }
        for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
            for leave in PeerEnd::ALL {
                let ((mut peer, near), (ours, other)) = (over_tls(version).await, sockets().await);
                peer.write_all(b"all").await.unwrap();
                peer.flush().await.unwrap();
                if leave == PeerEnd::WithAnAlert {
                    near.socket().socket().try_write(&[7; 40]).unwrap();
                }
                let (down, up) = sides(Stream::Tls(Box::new(near)), ours, is_client);
                let leaving = async { drop(leave.tls(peer).await) };
                let case = format!("{version:?}, client: {is_client}");
                tokio::join!(joined(down, up), leaving, sees(other, leave, &case));
            }
        }
    }
}

#[tokio::test]
async fn a_tls_peer_that_closes_without_close_notify_still_gets_its_response() {
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let ((mut peer, near), (ours, mut other)) = (over_tls(version).await, sockets().await);
        let asking = async {
            peer.write_all(b"question").await.unwrap();
            peer.get_mut().0.shutdown().await.unwrap();
            let mut response = String::new();
            peer.read_to_string(&mut response).await.unwrap();
            assert_eq!(response, "answer");
        };
        let answering = async {
            let mut question = String::new();
            other.read_to_string(&mut question).await.unwrap();
            assert_eq!(question, "question");
            other.write_all(b"answer").await.unwrap();
            drop(other);
        };
        tokio::join!(joined(Stream::Tls(Box::new(near)), plain(ours)), asking, answering);
    }
}
