//! The proxy's DNS server: its sockets, the current zone, and forwarding to other servers.

use super::reply::{Reply, reply};
use super::zone::Zone;
use crate::lookup::resolv_conf::ResolvConf;
use crate::lookup::server::NameServers;
use api::model::workload::NameTable;
use api::process::dns::{self, Responder};
use api::process::serve::connections::Limits;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;

/// The settings of the DNS server.
#[derive(Debug, Clone)]
pub struct Dns {
    /// The names of the mesh.
    pub names: watch::Receiver<Arc<NameTable>>,
    /// The namespace whose short names resolve.
    pub namespace: String,
    /// The servers to which other queries are forwarded.
    pub resolv: ResolvConf,
    /// The mark of the server's outgoing sockets.
    pub socket_mark: Option<u32>,
}

/// Binds a UDP and a TCP socket to the same port.
pub async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind(address).await?;
    let tcp = TcpListener::bind(udp.local_addr()?).await?;
    Ok((udp, tcp))
}

/// Serves queries; does not return.
pub async fn serve(udp: UdpSocket, tcp: TcpListener, dns: Dns) -> io::Result<()> {
    let own = udp.local_addr()?;
    let upstream = NameServers::new(&dns.resolv, Some(own), dns.socket_mark);
    let server = Arc::new(Server { zone: watch::Sender::new(Arc::new(dns.zone())), upstream });
    tokio::join!(server.follow(dns), dns::serve(udp, tcp, LIMITS, server.clone()));
    Ok(())
}

impl Dns {
    fn zone(&self) -> Zone {
        Zone::new(&self.names.borrow(), &self.namespace, &self.resolv.search)
    }
}

struct Server {
    zone: watch::Sender<Arc<Zone>>,
    upstream: NameServers,
}

impl Server {
    async fn follow(&self, mut dns: Dns) {
        while dns.names.changed().await.is_ok() {
            dns.names.mark_unchanged();
            self.zone.send_replace(Arc::new(dns.zone()));
        }
        // The sender of name tables is gone: the last table stays in force.
    }
}

impl Responder for Server {
    async fn respond(&self, packet: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let zone = self.zone.borrow().clone();
        let query = match reply(&zone, packet, over_tcp) {
            Reply::Drop => return None,
            Reply::Respond(response) => return Some(response),
            Reply::Forward(query) => query,
        };
        match self.upstream.query(packet, over_tcp).await {
            Ok(response) => Some(query.completed(&zone, response, over_tcp)),
            Err(error) => {
                tracing::debug!(%error, "no name server responded");
                query.failure(&zone, over_tcp)
            }
        }
    }
}

/// All queries of a pod may come from one address, so the limit per address equals the total.
const LIMITS: Limits = Limits::anonymous(128, 128);

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::workload::NameInfo;
    use api::process::dns::message::{framed, response};
    use hickory_proto::op::{Message, Query, ResponseCode};
    use hickory_proto::rr::{Name, RecordType};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

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

    /// Binds a port for UDP and TCP. A port that the system picks for UDP may be in use for TCP.
    async fn free() -> (UdpSocket, TcpListener) {
        loop {
            match bind("127.0.0.1:0".parse().unwrap()).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                bound => return bound.unwrap(),
            }
        }
    }

    /// Starts a server whose upstream is a socket of the test.
    async fn start(names: NameTable) -> (SocketAddr, UdpSocket, watch::Sender<Arc<NameTable>>) {
        let upstream = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (udp, tcp) = free().await;
        let address = udp.local_addr().unwrap();
        let names = watch::Sender::new(Arc::new(names));
        let resolv = ResolvConf { servers: vec![upstream.local_addr().unwrap()], ..ResolvConf::default() };
        let dns = Dns { names: names.subscribe(), namespace: "a".into(), resolv, socket_mark: None };
        tokio::spawn(serve(udp, tcp, dns));
        (address, upstream, names)
    }

    async fn send_query(address: SocketAddr, packet: &[u8]) -> Message {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(packet, address).await.unwrap();
        let mut buffer = vec![0; 4096];
        let length = client.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    #[tokio::test]
    async fn queries_for_other_names_are_forwarded_to_the_systems_servers() {
        let (address, upstream, _names) = start(table(1)).await;
        let packet = query("other.example.com.");
        let forwarding = async {
            let mut buffer = vec![0; 4096];
            let (length, from) = upstream.recv_from(&mut buffer).await.unwrap();
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let response = response(&query, ResponseCode::NXDomain).to_vec().unwrap();
            upstream.send_to(&response, from).await.unwrap();
        };
        let (response, ()) = tokio::join!(send_query(address, &packet), forwarding);
        assert_eq!((response.metadata.id, response.metadata.response_code), (7, ResponseCode::NXDomain));
    }

    #[tokio::test]
    async fn malformed_packets_are_dropped_and_the_next_query_succeeds() {
        let (address, _upstream, _names) = start(table(1)).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(&[0xff; 40], address).await.unwrap();
        client.send_to(&[], address).await.unwrap();
        assert_eq!(send_query(address, &query("api.example.com.")).await.answers.len(), 1);
    }

    #[tokio::test]
    async fn a_response_too_long_for_udp_is_truncated_and_complete_over_tcp() {
        let (address, _upstream, _names) = start(table(100)).await;
        let packet = query("api.example.com.");
        let short = send_query(address, &packet).await;
        assert!(short.metadata.truncation);
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&framed(&packet).unwrap()).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut response = vec![0; usize::from(length)];
        stream.read_exact(&mut response).await.unwrap();
        assert_eq!(Message::from_vec(&response).unwrap().answers.len(), 100);
    }

    #[tokio::test]
    async fn another_table_is_used_from_the_next_query_on() {
        let (address, _upstream, names) = start(table(1)).await;
        assert_eq!(send_query(address, &query("api.example.com.")).await.answers.len(), 1);
        names.send_replace(Arc::new(table(2)));
        loop {
            if send_query(address, &query("api.example.com.")).await.answers.len() == 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}
