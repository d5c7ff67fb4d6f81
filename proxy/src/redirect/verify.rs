//! `init --run-validation`: one real connection that the rules must redirect. It exists for pods whose rules come
//! from somewhere else (a network plugin): better that the pod stops here than that it runs outside the mesh.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::redirect::{error::RedirectError, settings::Settings};

/// Connects like the proxy to a loopback address that only the rules lead to the inbound port, and checks that the
/// connection arrives there with its original destination.
pub fn capture_works(settings: &Settings, probe_port: u16, timeout: Duration) -> Result<(), RedirectError> {
    let inbound = SocketAddr::from((Ipv4Addr::UNSPECIFIED, settings.inbound_port));
    let listener = TcpListener::bind(inbound)
        .map_err(|error| not_effective(&format!("cannot listen on {inbound} for the test"), &error))?;
    let target = SocketAddr::from((PROBE_ADDRESS, probe_port));
    let client = connect(settings.own.mark, target, timeout).map_err(|error| {
        not_effective(&format!("a test connection to {target} did not reach port {}", inbound.port()), &error)
    })?;
    let reached = accepted(&listener, &client)
        .map_err(|error| not_effective("the test connection did not arrive", &error))?;
    if reached == Some(target) {
        return Ok(());
    }
    Err(RedirectError::NotEffective(format!(
        "the test connection to {target} arrived with original destination {reached:?}"
    )))
}

fn connect(mark: u32, target: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_mark(mark)?;
    socket.connect_timeout(&target.into(), timeout)?;
    Ok(socket.into())
}

/// The original destination of `client`'s connection, if it is the one that arrived. A completed connect already
/// waits in the queue, so this does not block.
fn accepted(listener: &TcpListener, client: &TcpStream) -> io::Result<Option<SocketAddr>> {
    listener.set_nonblocking(true)?;
    let (server, peer) = listener.accept()?;
    if peer != client.local_addr()? {
        return Ok(None);
    }
    Ok(SockRef::from(&server).original_dst_v4()?.as_socket())
}

fn not_effective(what: &str, error: &io::Error) -> RedirectError {
    RedirectError::NotEffective(format!("{what}: {error}"))
}

/// The address from which the proxy calls its application; nothing listens on it.
const PROBE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
