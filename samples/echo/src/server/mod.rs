//! The echo server: every protocol on its ports, one response schema, an orderly shutdown.
//!
//! On SIGTERM the server keeps accepting for a moment and asks clients to close their connections, so that no call is
//! interrupted. Then it stops accepting and lets running calls complete for a limited time.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::config::ServerOptions;

mod listen;

mod http;

mod grpc;
mod tcp;
mod websocket;

mod body;
mod shared;
mod tls;

/// A server with open ports. It responds once `serve` is called.
#[derive(Debug)]
pub struct Server {
    ports: Vec<Port>,
    shared: Arc<shared::Shared>,
}

#[derive(Debug)]
struct Port {
    name: &'static str,
    speaks: listen::PortProtocol,
    address: SocketAddr,
    listener: TcpListener,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be opened.
    #[error("cannot listen on {address} for {name}; choose another port with --{name}")]
    Listen {
        /// Flag that names the port.
        name: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls(#[source] tls::TlsError),
}

impl Server {
    /// Opens the ports.
    pub async fn bind(options: &ServerOptions) -> Result<Self, StartError> {
        let shared = Arc::new(shared::Shared::of(options).map_err(StartError::Tls)?);
        let mut ports = Vec::new();
        for (name, speaks, number) in wanted(options) {
            let address = SocketAddr::new(options.address, number);
            let failed = |source| StartError::Listen { name, address, source };
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            ports.push(Port { name, speaks, address, listener });
        }
        Ok(Self { ports, shared })
    }

    /// The flag and the address of each port.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.ports.iter().map(|port| (port.name, port.address))
    }

    /// Serves until `stop`, then shuts down in order.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let shared = self.shared;
        for port in self.ports {
            shared.tasks.spawn(listen::accept(port.listener, port.speaks, shared.clone()));
        }
        stop.await;
        shared.leaving.cancel();
        tokio::time::sleep(shared.shutdown_delay).await;
        shared.stopped.cancel();
        shared.tasks.close();
        // Calls that still run end with the process.
        let _ = tokio::time::timeout(shared.drain, shared.tasks.wait()).await;
    }
}

fn wanted(options: &ServerOptions) -> Vec<(&'static str, listen::PortProtocol, u16)> {
    let given = [
        ("http", listen::PortProtocol::Http, &options.http, 8080),
        ("https", listen::PortProtocol::Https, &options.https, 8443),
        ("grpc", listen::PortProtocol::Http, &options.grpc, 7070),
        ("tcp", listen::PortProtocol::TcpClientFirst, &options.tcp, 9000),
        ("tcp-server-first", listen::PortProtocol::TcpServerFirst, &options.tcp_server_first, 9001),
    ];
    if given.iter().all(|(_, _, ports, _)| ports.is_empty()) {
        return given.map(|(name, speaks, _, usual)| (name, speaks, usual)).to_vec();
    }
    let each = |(name, speaks, ports, _): (_, _, &Vec<u16>, _)| {
        ports.iter().map(move |port| (name, speaks, *port)).collect::<Vec<_>>()
    };
    given.into_iter().flat_map(each).collect()
}
