//! The sockets of a name server. Answers that are there at once go out at once; questions that wait for other servers
//! are bounded in number, and beyond it dropped, because an asker asks again. Of TCP connections, the one that has asked
//! nothing for longest makes room.

use super::message::framed;
use crate::process::serve::crowd::Limits;
use crate::process::serve::door::{Door, Seat};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;

/// Knows what to answer.
pub trait Answer: Send + Sync + 'static {
    /// The bytes that answer a packet; none for what gets no answer.
    fn answer(&self, packet: &[u8], over_tcp: bool) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// Serves both sockets for ever; `limits` are those of TCP connections.
pub async fn serve(udp: UdpSocket, tcp: TcpListener, limits: Limits, names: Arc<impl Answer>) {
    tokio::join!(packets(udp, names.clone()), connections(tcp, limits, names));
}

async fn packets(socket: UdpSocket, names: Arc<impl Answer>) {
    let (socket, waiting) = (Arc::new(socket), Arc::new(Semaphore::new(MOST_WAITING)));
    let mut buffer = vec![0; MAX_UDP];
    loop {
        let (length, asker) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An earlier answer that could not be delivered; the socket itself is well.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            // One failure is no reason to answer nobody any more.
            Err(error) => {
                tracing::warn!(%error, "DNS questions cannot be received");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let packet = buffer[..length].to_vec();
        let (names, socket) = (names.clone(), socket.clone());
        let mut answering = Box::pin(async move {
            if let Some(answer) = names.answer(&packet, false).await {
                // The asker asks again if the answer is lost.
                let _ = socket.send_to(&answer, asker).await;
            }
        });
        // Names of the mesh are answered at once, however many questions wait for other servers.
        let waits = tokio::select! {
            biased;
            () = &mut answering => false,
            () = std::future::ready(()) => true,
        };
        if waits && let Ok(permit) = waiting.clone().try_acquire_owned() {
            tokio::spawn(async move {
                answering.await;
                drop(permit);
            });
        }
    }
}

async fn connections(listener: TcpListener, limits: Limits, names: Arc<impl Answer>) {
    let door = Door::new(limits);
    loop {
        let (stream, _, seat) = door.accept(&listener).await;
        let names = names.clone();
        tokio::spawn(async move {
            let stream = seat.watch(stream, false);
            seat.run(converse(stream, &*names, &seat)).await
        });
    }
}

/// One question after the other. The seat holds the connection to its limits.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    names: &impl Answer,
    seat: &Seat,
) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut packet = vec![0; usize::from(length)];
        stream.read_exact(&mut packet).await?;
        let _asked = seat.begin();
        let Some(answer) = names.answer(&packet, true).await else { return Ok(()) };
        stream.write_all(&framed(&answer)?).await?;
    }
}

const MAX_UDP: usize = 4096;
/// Questions over UDP that wait for other servers at once.
const MOST_WAITING: usize = 1024;
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    /// Answers a packet with what it holds, but for one that is silence, and one that waits for ever.
    struct Echo;

    impl Answer for Echo {
        async fn answer(&self, packet: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
            match packet {
                b"silence" => None,
                b"wait" => std::future::pending().await,
                other => Some([other, if over_tcp { b" tcp" } else { b" udp" }].concat()),
            }
        }
    }

    /// A port of both kinds. The one that the system picks for UDP may be somebody else's in TCP.
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
    async fn a_question_that_needs_nobody_else_is_answered_while_too_many_others_wait() {
        let (client, _) = start(Limits::anonymous(4, 4)).await;
        for _ in 0..MOST_WAITING * 2 {
            client.send(b"wait").await.unwrap();
            // The server takes it before the socket's buffer is full.
            tokio::task::yield_now().await;
        }
        client.send(b"silence").await.unwrap();
        client.send(b"a").await.unwrap();
        let mut answer = [0; 16];
        let length = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut answer)).await;
        assert_eq!(&answer[..length.unwrap().unwrap()], b"a udp");
    }

    #[tokio::test]
    async fn a_connection_asks_several_questions_and_ends_with_what_gets_no_answer() {
        let (_, address) = start(Limits::anonymous(4, 4)).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        for question in [&b"a"[..], b"b", b"silence"] {
            stream.write_all(&framed(question).unwrap()).await.unwrap();
        }
        let mut all = vec![];
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [framed(b"a tcp").unwrap(), framed(b"b tcp").unwrap()].concat());
    }

    /// Half questions, one byte at a time, and connections that say nothing: more than there are places.
    #[tokio::test]
    async fn half_questions_over_tcp_keep_nobody_from_an_answer_and_end_in_time() {
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
        let mut answer = vec![0; usize::from(length.unwrap().unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, b"a tcp");
        stream.write_all(&[0, 40, 1]).await.unwrap();
        silent.push(stream);
        let closed = async {
            for stream in &mut silent {
                // Whether it ends in order or is reset, it ends.
                assert!(!matches!(stream.read(&mut [0; 8]).await, Ok(1..)));
            }
        };
        tokio::time::timeout(Duration::from_secs(5), closed).await.expect("all are closed in time");
    }
}
