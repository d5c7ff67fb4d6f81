//! Accepts connections on one port and passes each to its protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::seen::Connection;
use crate::server::shared::{Call, Shared};
use crate::server::{http, tcp, tls};

/// Protocol of a port.
#[derive(Clone, Copy, Debug)]
pub(super) enum PortProtocol {
    /// HTTP/1.1, HTTP/2 detected by its preface, and protocols above them.
    Http,
    /// The same over TLS.
    Https,
    /// Raw TCP, client first.
    TcpClientFirst,
    /// Raw TCP, server first.
    TcpServerFirst,
}

/// Accepts until the server stops.
pub(super) async fn accept(listener: TcpListener, speaks: PortProtocol, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stopped.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                shared.tasks.spawn(connection(stream, peer, speaks, shared.clone()));
            }
            // Most likely there are no file descriptors left. Other connections must end before more can start.
            Err(error) => {
                eprintln!("cannot accept: {error}");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, speaks: PortProtocol, shared: Arc<Shared>) {
    // Without this, small responses may wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let mut seen = Connection { peer, local, tls: None };
    match speaks {
        PortProtocol::Http => http::serve(stream, call(seen, shared)).await,
        PortProtocol::Https => match tokio::time::timeout(HANDSHAKE, shared.tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                seen.tls = Some(tls::describe(stream.get_ref().1));
                http::serve(stream, call(seen, shared)).await;
            }
            Ok(Err(error)) => eprintln!("TLS handshake with {peer}: {error}"),
            Err(_) => eprintln!("TLS handshake with {peer}: not done within {HANDSHAKE:?}"),
        },
        // Clients may close raw connections at any time, so errors are ignored.
        PortProtocol::TcpClientFirst => drop(tcp::client_first(stream, &call(seen, shared)).await),
        PortProtocol::TcpServerFirst => drop(tcp::server_first(stream, &call(seen, shared)).await),
    }
}

fn call(connection: Connection, shared: Arc<Shared>) -> Call {
    Call { connection: Arc::new(connection), shared }
}

const HANDSHAKE: Duration = Duration::from_secs(10);
const BACK_OFF: Duration = Duration::from_millis(100);
