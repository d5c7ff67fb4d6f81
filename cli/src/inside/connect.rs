//! Copies bytes between standard input and output and a port of this pod, for `port-forward`. It runs in the pod, so
//! that, as with kubectl, the connection comes from the pod itself and the sidecar does not capture it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::inside::{Error, file};

/// Copies bytes in both directions until the port closes its side.
pub fn run(port: u16) -> Result<(), Error> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, PATIENCE)
        .map_err(file(format!("connecting to port {port} of the pod")))?;
    let mut outgoing = stream.try_clone().map_err(file("duplicating the connection"))?;
    // A blocked read of standard input cannot be cancelled, so the thread is left to end with the process.
    std::thread::spawn(move || {
        let _ = pass(&mut std::io::stdin().lock(), &mut outgoing);
        let _ = outgoing.shutdown(Shutdown::Write);
    });
    let mut incoming = stream;
    pass(&mut incoming, &mut std::io::stdout().lock()).map_err(file(format!("reading from port {port}")))
}

fn pass(from: &mut impl Read, to: &mut impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            // Flushed at once, because the peer may wait for these bytes.
            length => to.write_all(&buffer[..length]).and_then(|()| to.flush())?,
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
