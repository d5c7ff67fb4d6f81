//! Dials an endpoint: socket options, TCP, TLS, all within one timeout.

use crate::flow::extra::{Opened, Secured};
use crate::io::{Prefixed, Stream, Tls, now, number};
use api::model::cluster::Keepalive;
use api::name::{INBOUND_SOURCE, INBOUND_SOURCE_V6};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;

/// The endpoint to dial, and how.
#[derive(Debug, Clone)]
pub struct Dial {
    /// The endpoint's address.
    pub address: SocketAddr,
    /// TLS configuration and server name.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Source address.
    pub bind: Option<IpAddr>,
    /// `SO_MARK` of the socket.
    pub mark: Option<u32>,
    /// TCP keep-alive.
    pub keepalive: Option<Keepalive>,
    /// Timeout for TCP and TLS together.
    pub timeout: Duration,
    /// Whether to keep the endpoint's certificates for access logs.
    pub keeps_certificates: bool,
}

/// Why connecting failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The timeout passed.
    #[error("connecting took too long")]
    Timeout,
    /// The TCP connection failed.
    #[error("delayed connect error: {0}")]
    Socket(io::Error),
    /// The TLS handshake failed.
    #[error("TLS error: {0}")]
    Tls(io::Error),
    /// This request waited for another one's attempt to connect, which failed.
    #[error("{0}")]
    Shared(String),
}

/// Connects, and returns the stream with facts about the connection.
pub async fn connect(dial: &Dial) -> Result<(Stream, Opened), ConnectError> {
    tokio::time::timeout(dial.timeout, establish(dial)).await.unwrap_or(Err(ConnectError::Timeout))
}

async fn establish(dial: &Dial) -> Result<(Stream, Opened), ConnectError> {
    let began = now();
    let socket = prepared(dial).map_err(ConnectError::Socket)?;
    let socket = socket.connect(dial.address).await.map_err(ConnectError::Socket)?;
    let mut opened = Opened::new(number(), began, now());
    let stream = Prefixed::new(socket);
    let Some((config, name)) = &dial.tls else { return Ok((Stream::Plain(stream), opened)) };
    let stream = Tls::connect(config.clone(), name.clone(), stream).await.map_err(ConnectError::Tls)?;
    let shown = stream.peer_certificates();
    let secured = Secured {
        at: now(),
        session: stream.agreed(),
        server_name: if let ServerName::DnsName(name) = name { Some(name.as_ref().into()) } else { None },
        shown: shown.iter().filter(|_| dial.keeps_certificates).map(|one| one.as_ref().into()).collect(),
    };
    opened.secured = Some(secured);
    Ok((Stream::Tls(Box::new(stream)), opened))
}

fn prepared(dial: &Dial) -> io::Result<TcpSocket> {
    let socket = if dial.address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    if let Some(mark) = dial.mark {
        SockRef::from(&socket).set_mark(mark)?;
    }
    if let Some(keepalive) = &dial.keepalive {
        let mut settings = TcpKeepalive::new();
        if let Some(time) = keepalive.time {
            settings = settings.with_time(time);
        }
        if let Some(interval) = keepalive.interval {
            settings = settings.with_interval(interval);
        }
        if let Some(probes) = keepalive.probes {
            settings = settings.with_retries(probes);
        }
        SockRef::from(&socket).set_tcp_keepalive(&settings)?;
    }
    if let Some(own) = source(dial.bind, dial.address) {
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(own, 0))?;
    }
    Ok(socket)
}

/// The source address for a connection. `INBOUND_SOURCE`, for deliveries to the application, has an IPv6 counterpart;
/// without it, capture would redirect the connection back to the proxy. Any other source is used only for its own
/// address family.
fn source(bind: Option<IpAddr>, to: SocketAddr) -> Option<IpAddr> {
    match bind {
        Some(INBOUND_SOURCE) => match to.ip() {
            IpAddr::V4(_) => bind,
            // The capture rules exclude link-local destinations, and a source has to be on the same interface.
            IpAddr::V6(to) if to.is_unicast_link_local() => None,
            IpAddr::V6(_) => Some(INBOUND_SOURCE_V6.into()),
        },
        _ => bind.filter(|own| own.is_ipv4() == to.is_ipv4()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_the_application_come_from_the_address_exempt_from_capture() {
        for (bind, to, expected) in [
            ("127.0.0.6", "10.0.0.1:80", Some("127.0.0.6")),
            ("127.0.0.6", "[fd00::1]:80", Some("::6")),
            ("127.0.0.6", "[fe80::1]:80", None),
            ("10.0.0.9", "10.0.0.1:80", Some("10.0.0.9")),
            ("10.0.0.9", "[fe80::1]:80", None),
            ("fd00::9", "[fd00::1]:80", Some("fd00::9")),
        ] {
            let found = source(Some(bind.parse().unwrap()), to.parse().unwrap());
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{bind} to {to}");
        }
        assert_eq!(source(None, "10.0.0.1:80".parse().unwrap()), None);
    }
}
