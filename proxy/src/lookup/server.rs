//! Exchanges unmodified DNS packets with the system's name servers.

use crate::lookup::resolv_conf::ResolvConf;
use api::process::dns::message::framed;
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};

/// The name servers, and the mark of sockets, which capture rules leave alone.
#[derive(Debug, Clone)]
pub struct NameServers {
    servers: Vec<SocketAddr>,
    mark: Option<u32>,
}

impl NameServers {
    /// Takes the servers of `resolv`, except `own`, the address on which this process itself serves DNS.
    pub fn new(resolv: &ResolvConf, own: Option<SocketAddr>, mark: Option<u32>) -> Self {
        // Forwarding a query to this process would create a loop.
        let servers = resolv.servers.iter().copied().filter(|server| Some(*server) != own).collect();
        Self { servers, mark }
    }

    /// Sends a query to the servers in the order of `resolv.conf`, and returns the first response.
    pub async fn query(&self, query: &[u8], over_tcp: bool) -> io::Result<Vec<u8>> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "resolv.conf names no server");
        for server in &self.servers {
            let response = async {
                if over_tcp {
                    self.over_tcp(*server, query).await
                } else {
                    self.over_udp(*server, query).await
                }
            };
            match tokio::time::timeout(LIMIT, response).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) => failed = error,
                Err(_) => failed = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failed)
    }

    async fn over_udp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await?;
        self.mark(&SockRef::from(&socket))?;
        // A connected socket only receives packets from this server.
        socket.connect(server).await?;
        socket.send(query).await?;
        let mut buffer = vec![0; MAX_UDP];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if length >= 2 && query.get(..2) == Some(&buffer[..2]) {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }

    async fn over_tcp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let socket = if server.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        self.mark(&SockRef::from(&socket))?;
        let mut stream = socket.connect(server).await?;
        stream.write_all(&framed(query)?).await?;
        let length = stream.read_u16().await?;
        let mut response = vec![0; usize::from(length)];
        stream.read_exact(&mut response).await?;
        Ok(response)
    }

    fn mark(&self, socket: &SockRef<'_>) -> io::Result<()> {
        self.mark.map_or(Ok(()), |mark| socket.set_mark(mark))
    }
}

const LIMIT: Duration = Duration::from_secs(2);
const MAX_UDP: usize = 4096;
