//! The sockets of the DNS server, UDP and TCP. Packets that are no queries are dropped; the number of queries that
//! wait for other servers is bounded, and beyond it packets are dropped as well, because a client asks again. Of TCP connections the one
//! that has asked nothing for longest makes room.

use super::forward::{Upstream, framed};
use super::reply::{Reply, reply};
use super::resolv_conf::ResolvConf;
use super::zone::Zone;
use api::model::workload::NameTable;
use api::process::serve::crowd::Limits;
use api::process::serve::door::{Door, Seat, Watched};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};

/// What the server needs.
#[derive(Debug, Clone)]
pub struct Dns {
    /// Names of the mesh.
    pub names: watch::Receiver<Arc<NameTable>>,
    /// Namespace whose short names are known.
    pub namespace: String,
    /// Whom to ask about other names.
    pub resolv: ResolvConf,
    /// Mark of sockets.
    pub socket_mark: Option<u32>,
}

/// Binds both sockets to one port.
pub async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind(address).await?;
    let tcp = TcpListener::bind(udp.local_addr()?).await?;
    Ok((udp, tcp))
}

/// Serves for ever.
pub async fn serve(udp: UdpSocket, tcp: TcpListener, dns: Dns) -> io::Result<()> {
    let own = udp.local_addr()?;
    serve_within(LIMITS, (udp, own), tcp, dns).await;
    Ok(())
}

async fn serve_within(limits: Limits, (udp, own): (UdpSocket, SocketAddr), tcp: TcpListener, dns: Dns) {
    let upstream = Upstream::new(&dns.resolv, own, dns.socket_mark);
    let server = Arc::new(Server {
        zone: watch::Sender::new(Arc::new(dns.zone())),
        upstream,
        queries: Arc::new(Semaphore::new(MAX_QUERIES)),
    });
    let (packets, connections) = (server.clone().packets(udp), server.clone().accept(tcp, limits));
    tokio::select! {
        () = server.follow(dns) => {}
        () = packets => {}
        () = connections => {}
    }
}

impl Dns {
    fn zone(&self) -> Zone {
        Zone::new(&self.names.borrow(), &self.namespace, &self.resolv.search)
    }
}

struct Server {
    zone: watch::Sender<Arc<Zone>>,
    upstream: Upstream,
    queries: Arc<Semaphore>,
}

impl Server {
    async fn follow(&self, mut dns: Dns) {
        while dns.names.changed().await.is_ok() {
            dns.names.mark_unchanged();
            self.zone.send_replace(Arc::new(dns.zone()));
        }
        // Nobody writes names any more: those that are here stay.
        std::future::pending::<()>().await;
    }

    async fn packets(self: Arc<Self>, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let mut buffer = vec![0; MAX_UDP];
        loop {
            let (length, client) = match socket.recv_from(&mut buffer).await {
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
            let (server, socket) = (self.clone(), socket.clone());
            let mut answering = Box::pin(async move {
                if let Some(answer) = server.answer(&packet, false).await {
                    let _ = socket.send_to(&answer, client).await;
                }
            });
            // Names of the mesh are answered at once, however many queries wait for other servers.
            let waits = tokio::select! {
                biased;
                () = &mut answering => false,
                () = std::future::ready(()) => true,
            };
            if waits && let Ok(permit) = self.queries.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    answering.await;
                    drop(permit);
                });
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, limits: Limits) {
        let door = Door::new(limits);
        loop {
            let (stream, _, seat) = door.accept(&listener).await;
            let server = self.clone();
            tokio::spawn(async move {
                let stream = seat.watch(stream, false);
                seat.run(server.connection(stream, &seat)).await
            });
        }
    }

    /// The seat holds the connection to its limits.
    async fn connection(&self, mut stream: Watched<TcpStream>, seat: &Seat) -> io::Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut packet = vec![0; usize::from(length)];
            stream.read_exact(&mut packet).await?;
            let _asked = seat.begin();
            let Some(answer) = self.answer(&packet, true).await else { return Ok(()) };
            stream.write_all(&framed(&answer)?).await?;
        }
    }

    async fn answer(&self, packet: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let zone = self.zone.borrow().clone();
        let unanswered = match reply(&zone, packet, over_tcp) {
            Reply::Drop => return None,
            Reply::Answer(answer) => return Some(answer),
            Reply::Forward(unanswered) => unanswered,
        };
        match self.upstream.ask(packet, over_tcp).await {
            Ok(answer) => Some(unanswered.completed(&zone, answer, over_tcp)),
            Err(error) => {
                tracing::debug!(%error, "no name server answers");
                unanswered.failure(&zone, over_tcp)
            }
        }
    }
}

const MAX_UDP: usize = 4096;
const MAX_QUERIES: usize = 1024;
const PAUSE: Duration = Duration::from_millis(100);
/// All questions of a pod may come from one address.
const LIMITS: Limits = Limits::anonymous(128, 128);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::zone::response;
    use api::model::workload::NameInfo;
    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};

    fn query(name: &str) -> Vec<u8> {
        let mut query = Message::query();
        query.metadata.id = 7;
        query.add_query(Query::query(Name::from_utf8(name).unwrap(), RecordType::A));
        query.to_vec().unwrap()
    }

    fn table(addresses: usize) -> NameTable {
        let addresses = (0..addresses).map(|n| std::net::Ipv4Addr::from(n as u32).into()).collect();
        let info = NameInfo { addresses, ..NameInfo::default() };
        NameTable { hosts: [("api.example.com".to_owned(), info)].into() }
    }

    /// A port of both kinds. The one that the system picks for UDP may be somebody else's in TCP.
    async fn free() -> (UdpSocket, TcpListener) {
        loop {
            match bind("127.0.0.1:0".parse().unwrap()).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound.unwrap(),
            }
        }
    }

    /// A server whose upstream is a socket of the test.
    async fn start(names: NameTable) -> (SocketAddr, UdpSocket, watch::Sender<Arc<NameTable>>) {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (udp, tcp) = free().await;
        let address = udp.local_addr().unwrap();
        let names = watch::Sender::new(Arc::new(names));
        let resolv = ResolvConf { servers: vec![upstream.local_addr().unwrap()], search: vec![] };
        let dns = Dns { names: names.subscribe(), namespace: "a".into(), resolv, socket_mark: None };
        tokio::spawn(serve(udp, tcp, dns));
        (address, upstream, names)
    }

    async fn ask(address: SocketAddr, packet: &[u8]) -> Message {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(packet, address).await.unwrap();
        let mut buffer = vec![0; MAX_UDP];
        let length = client.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    #[tokio::test]
    async fn other_names_are_asked_of_the_systems_servers_and_their_answer_is_handed_on() {
        let (address, upstream, _names) = start(table(1)).await;
        let packet = query("other.example.com.");
        let forwarding = async {
            let mut buffer = vec![0; MAX_UDP];
            let (length, from) = upstream.recv_from(&mut buffer).await.unwrap();
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let answer = response(&asked, ResponseCode::NXDomain).to_vec().unwrap();
            upstream.send_to(&answer, from).await.unwrap();
        };
        let (answer, ()) = tokio::join!(ask(address, &packet), forwarding);
        assert_eq!((answer.metadata.id, answer.metadata.response_code), (7, ResponseCode::NXDomain));
    }

    #[tokio::test]
    async fn garbage_is_dropped_and_the_next_query_is_answered() {
        let (address, _upstream, _names) = start(table(1)).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(&[0xff; 40], address).await.unwrap();
        client.send_to(&[], address).await.unwrap();
        assert_eq!(ask(address, &query("api.example.com.")).await.answers.len(), 1);
    }

    #[tokio::test]
    async fn an_answer_too_long_for_udp_is_cut_and_whole_over_tcp() {
        let (address, _upstream, _names) = start(table(100)).await;
        let packet = query("api.example.com.");
        let short = ask(address, &packet).await;
        assert!(short.metadata.truncation);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&framed(&packet).unwrap()).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(Message::from_vec(&answer).unwrap().answers.len(), 100);
    }

    #[tokio::test]
    async fn names_of_the_mesh_are_answered_while_too_many_queries_wait_for_a_server_that_is_away() {
        let (address, _upstream, _names) = start(table(1)).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for number in 0..MAX_QUERIES * 2 {
            client.send_to(&query(&format!("n{number}.example.org.")), address).await.unwrap();
            // The server takes it before the socket's buffer is full.
            tokio::task::yield_now().await;
        }
        let known = query("api.example.com.");
        let answer = tokio::time::timeout(Duration::from_secs(1), ask(address, &known));
        assert_eq!(answer.await.expect("it is answered at once").answers.len(), 1);
    }

    /// Half questions, one byte at a time, and connections that say nothing: more than there are places.
    #[tokio::test]
    async fn half_questions_over_tcp_keep_nobody_from_an_answer_and_end_in_time() {
        let (udp, tcp) = free().await;
        let address = udp.local_addr().unwrap();
        let names = watch::Sender::new(Arc::new(table(1)));
        let resolv = ResolvConf { servers: vec![], search: vec![] };
        let dns = Dns { names: names.subscribe(), namespace: "a".into(), resolv, socket_mark: None };
        let short = Duration::from_millis(400);
        let limits = Limits {
            strangers: 4,
            strangers_per_source: 4,
            first_byte: short,
            first_request: short,
            idle: short,
            ..LIMITS
        };
        tokio::spawn(serve_within(limits, (udp, address), tcp, dns));
        let mut silent = vec![];
        for number in 0..12 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                stream.write_all(&[0, 40, 1]).await.unwrap();
            }
            silent.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&framed(&query("api.example.com.")).unwrap()).await.unwrap();
        let length = tokio::time::timeout(Duration::from_secs(5), stream.read_u16()).await;
        let mut answer = vec![0; usize::from(length.unwrap().unwrap())];
        stream.read_exact(&mut answer).await.unwrap();
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

    #[tokio::test]
    async fn another_table_is_used_from_the_next_query_on() {
        let (address, _upstream, names) = start(table(1)).await;
        assert_eq!(ask(address, &query("api.example.com.")).await.answers.len(), 1);
        names.send_replace(Arc::new(table(2)));
        loop {
            if ask(address, &query("api.example.com.")).await.answers.len() == 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
