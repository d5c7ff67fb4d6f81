//! The cluster's DNS server on the node's address.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::process::dns::{self, Responder, message};
use api::process::serve::connections::Limits;
use hickory_proto::op::Message;
use tokio::net::{TcpListener, UdpSocket};

use crate::kubelet::address::NODE;
use crate::kubelet::reply::{self, Packet};
use crate::kubelet::resolve::{Found, Records, resolve};
use crate::up::context::Context;

/// Opens the server's sockets and responds until the runtime ends. Queries for names outside the cluster are sent to
/// `forward`, if it is given.
pub async fn serve(context: Arc<Context>, forward: Option<Forward>) -> std::io::Result<()> {
    let udp = UdpSocket::bind((NODE, 53)).await?;
    let tcp = TcpListener::bind((NODE, 53)).await?;
    tokio::spawn(dns::serve(udp, tcp, LIMITS, Arc::new(Names { context, forward })));
    Ok(())
}

/// The server's sources: the cluster's names, and resolvers for other names.
struct Names {
    context: Arc<Context>,
    forward: Option<Forward>,
}

/// Forwards queries for outside names.
#[derive(Debug)]
pub struct Forward {
    /// The host's resolvers.
    pub resolvers: Vec<SocketAddr>,
}

impl Forward {
    async fn exchange(&self, query: &[u8]) -> Option<Vec<u8>> {
        for resolver in &self.resolvers {
            let exchange = async {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
                socket.connect(resolver).await.ok()?;
                socket.send(query).await.ok()?;
                let mut buffer = vec![0; 4096];
                loop {
                    let length = socket.recv(&mut buffer).await.ok()?;
                    // Ignore responses whose id is not the id of this query.
                    if length >= 2 && query.get(..2) == Some(&buffer[..2]) {
                        buffer.truncate(length);
                        return Some(buffer);
                    }
                }
            };
            if let Ok(Some(response)) = tokio::time::timeout(Duration::from_secs(2), exchange).await {
                return Some(response);
            }
        }
        None
    }
}

impl Responder for Names {
    async fn respond(&self, packet: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        respond(&self.context, packet, self.forward.as_ref(), over_tcp).await
    }
}

/// The response to a packet; `None` if the packet gets none.
async fn respond(
    context: &Context,
    packet: &[u8],
    forward: Option<&Forward>,
    over_tcp: bool,
) -> Option<Vec<u8>> {
    let request = match reply::read(packet) {
        Packet::Nothing => return None,
        Packet::Refused(refusal) => return message::encoded(&refusal, 0, over_tcp),
        Packet::Question(request) => request,
    };
    let payload = request.max_payload();
    let (_, name) = reply::question(&request)?;
    let chain = chain(context, &name);
    let mut response = reply::respond(&request, &chain);
    if let (Some((target, Found::Outside)), Some(forward)) = (chain.last(), forward) {
        if chain.len() == 1 {
            return match forward.exchange(packet).await {
                Some(response) => fitted(response, payload, over_tcp),
                None => message::encoded(&reply::failure(&request), payload, over_tcp),
            };
        }
        // Resolvers in applications do not follow aliases themselves.
        let onward = reply::onward(&request, target)?.to_vec().ok()?;
        if let Some(other) = forward.exchange(&onward).await.and_then(|other| Message::from_vec(&other).ok())
        {
            reply::append(&mut response, &other);
        }
    }
    message::encoded(&response, payload, over_tcp)
}

/// The records of a name, followed by those of its alias, and so on.
fn chain(context: &Context, name: &str) -> Vec<(String, Found)> {
    let directory = context.shared.directory();
    let mut chain: Vec<(String, Found)> = Vec::new();
    let mut next = Some(name.to_string());
    while let Some(name) = next.take()
        && chain.len() < LONGEST_CHAIN
    {
        let found = resolve(&name, &directory.services, &directory.backends);
        if let Found::Known(Records { alias: Some(target), .. }) = &found
            && !chain.iter().any(|(earlier, _)| earlier == target)
        {
            next = Some(target.clone());
        }
        chain.push((name, found));
    }
    chain
}

/// Cuts another server's response to the size that the client accepts.
fn fitted(response: Vec<u8>, payload: u16, over_tcp: bool) -> Option<Vec<u8>> {
    match Message::from_vec(&response) {
        Ok(read) if !over_tcp => message::encoded(&read, payload, over_tcp),
        _ => Some(response),
    }
}

/// Maximum number of aliases in a row, the same as in CoreDNS.
const LONGEST_CHAIN: usize = 8;
/// Limits for DNS over TCP: no pod can use up the connections of other pods, and idle connections are closed.
const LIMITS: Limits = Limits::anonymous(1024, 32);
