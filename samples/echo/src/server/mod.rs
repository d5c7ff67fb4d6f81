//! The echo server: every protocol on its ports, one answer shape, an orderly end.
//!
//! On SIGTERM it goes on accepting for a moment, telling callers to close, so that nobody is caught
//! half-way; then it stops accepting and lets running calls finish for a limited time.

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

/// A server whose ports are open and whose answers begin with `serve`.
#[derive(Debug)]
pub struct Server {
    ports: Vec<Port>,
    shared: Arc<shared::Shared>,
}

#[derive(Debug)]
struct Port {
    name: &'static str,
    speaks: listen::Speaks,
    address: SocketAddr,
    listener: TcpListener,
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port cannot be opened.
    #[error("cannot listen on {address} for {name}; choose another port with --{name}")]
    Listen {
        /// Flag of the port.
        name: &'static str,
        /// Address tried.
        address: SocketAddr,
        /// What the system said.
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

    /// The flag and address of each port.
    pub fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.ports.iter().map(|port| (port.name, port.address))
    }

    /// Answers until `stop`, then ends in order.
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
        // What still runs after this ends with the process.
        let _ = tokio::time::timeout(shared.drain, shared.tasks.wait()).await;
    }
}

fn wanted(options: &ServerOptions) -> Vec<(&'static str, listen::Speaks, u16)> {
    let given = [
        ("http", listen::Speaks::Http, &options.http, 8080),
        ("https", listen::Speaks::Https, &options.https, 8443),
        ("grpc", listen::Speaks::Http, &options.grpc, 7070),
        ("tcp", listen::Speaks::TcpClientFirst, &options.tcp, 9000),
        ("tcp-server-first", listen::Speaks::TcpServerFirst, &options.tcp_server_first, 9001),
    ];
    if given.iter().all(|(_, _, ports, _)| ports.is_empty()) {
        return given.map(|(name, speaks, _, usual)| (name, speaks, usual)).to_vec();
    }
    let each = |(name, speaks, ports, _): (_, _, &Vec<u16>, _)| {
        ports.iter().map(move |port| (name, speaks, *port)).collect::<Vec<_>>()
    };
    given.into_iter().flat_map(each).collect()
}
