//! The sockets of a DNS server. Responses that are known are sent at once. The number of queries that wait for other
//! servers is limited; further ones are dropped, because clients retry. If there are too many TCP connections, the one
//! that has been idle longest is closed.

use super::message::framed;
use crate::process::serve::acceptor::{Acceptor, Slot};
use crate::process::serve::connections::Limits;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;

/// Responds to queries.
pub trait Responder: Send + Sync + 'static {
    /// The response to a packet; `None`: the packet is dropped.
    fn respond(&self, packet: &[u8], over_tcp: bool) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// Serves both sockets until it is cancelled; `limits` apply to TCP connections.
pub async fn serve(udp: UdpSocket, tcp: TcpListener, limits: Limits, names: Arc<impl Responder>) {
    tokio::join!(packets(udp, names.clone()), connections(tcp, limits, names));
}

async fn packets(socket: UdpSocket, names: Arc<impl Responder>) {
    let (socket, waiting) = (Arc::new(socket), Arc::new(Semaphore::new(MOST_WAITING)));
    let mut buffer = vec![0; MAX_UDP];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // Reports an earlier response that could not be delivered; the socket still works.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot receive DNS queries");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let packet = buffer[..length].to_vec();
        let (names, socket) = (names.clone(), socket.clone());
        let mut responding = Box::pin(async move {
            if let Some(respond) = names.respond(&packet, false).await {
                // The client retries if the response is lost.
                let _ = socket.send_to(&respond, client).await;
            }
        });
        // Names of the mesh are resolved at once, however many queries wait for other servers.
        let waits = tokio::select! {
            biased;
            () = &mut responding => false,
            () = std::future::ready(()) => true,
        };
        if waits && let Ok(permit) = waiting.clone().try_acquire_owned() {
            tokio::spawn(async move {
                responding.await;
                drop(permit);
            });
        }
    }
}

async fn connections(listener: TcpListener, limits: Limits, names: Arc<impl Responder>) {
    let acceptor = Acceptor::new(limits);
    loop {
        let (stream, _, slot) = acceptor.accept(&listener).await;
        let names = names.clone();
        tokio::spawn(async move {
            let stream = slot.watch(stream, false);
            slot.run(converse(stream, &*names, &slot)).await
        });
    }
}

/// Handles the queries of a TCP connection in order. The slot enforces the limits of the connection.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    names: &impl Responder,
    slot: &Slot,
) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut packet = vec![0; usize::from(length)];
        stream.read_exact(&mut packet).await?;
        let _exchange = slot.begin();
        let Some(respond) = names.respond(&packet, true).await else { return Ok(()) };
        stream.write_all(&framed(&respond)?).await?;
    }
}

const MAX_UDP: usize = 4096;
/// The most queries over UDP that wait for other servers.
const MOST_WAITING: usize = 1024;
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    /// Echoes packets, except one that it drops and one to which it never responds.
    struct Echo;

    impl Responder for Echo {
        async fn respond(&self, packet: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
            match packet {
                b"drop" => None,
                b"wait" => std::future::pending().await,
                other => Some([other, if over_tcp { b" tcp" } else { b" udp" }].concat()),
            }
        }
    }

    /// A port that is free for both UDP and TCP.
    async fn sockets() -> (UdpSocket, TcpListener) {
        loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                return (udp, tcp);
            }
        }
    }

    async fn start(limits: Limits) -> (UdpSocket, std::net::SocketAddr) {
        let (udp, tcp) = sockets().await;
        let address = udp.local_addr().unwrap();
        tokio::spawn(serve(udp, tcp, limits, Arc::new(Echo)));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        (client, address)
    }

    #[tokio::test]
    async fn a_known_name_is_resolved_while_too_many_queries_wait() {
        let (client, _) = start(Limits::anonymous(4, 4)).await;
        for _ in 0..MOST_WAITING * 2 {
            client.send(b"wait").await.unwrap();
            // The server reads it before the socket's buffer is full.
            tokio::task::yield_now().await;
        }
        client.send(b"drop").await.unwrap();
        client.send(b"a").await.unwrap();
        let mut respond = [0; 16];
        let length = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut respond)).await;
        assert_eq!(&respond[..length.unwrap().unwrap()], b"a udp");
    }

    #[tokio::test]
    async fn a_connection_carries_several_queries_and_ends_with_a_dropped_one() {
        let (_, address) = start(Limits::anonymous(4, 4)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for query in [&b"a"[..], b"b", b"drop"] {
            stream.write_all(&framed(query).unwrap()).await.unwrap();
        }
        let mut all = vec![];
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [framed(b"a tcp").unwrap(), framed(b"b tcp").unwrap()].concat());
    }

    /// Incomplete queries and silent connections, more than the limits admit.
    #[tokio::test]
    async fn incomplete_queries_over_tcp_time_out_and_do_not_block_others() {
        let short = Duration::from_millis(400);
        let limits =
            Limits { first_byte: short, first_request: short, idle: short, ..Limits::anonymous(4, 4) };
        let (_, address) = start(limits).await;
        let mut silent = vec![];
        for number in 0..12 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                stream.write_all(&[0, 40, 1]).await.unwrap();
            }
            silent.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&framed(b"a").unwrap()).await.unwrap();
        let length = tokio::time::timeout(Duration::from_secs(5), stream.read_u16()).await;
        let mut respond = vec![0; usize::from(length.unwrap().unwrap())];
        stream.read_exact(&mut respond).await.unwrap();
        assert_eq!(respond, b"a tcp");
        stream.write_all(&[0, 40, 1]).await.unwrap();
        silent.push(stream);
        let closed = async {
            for stream in &mut silent {
                // Closed or reset.
                assert!(!matches!(stream.read(&mut [0; 8]).await, Ok(1..)));
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("all are closed in time");
    }
}
