//! The cluster's name server on the node's address.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::process::dns::{self, Answer, message};
use api::process::serve::crowd::Limits;
use hickory_proto::op::Message;
use tokio::net::{TcpListener, UdpSocket};

use crate::kubelet::address::NODE;
use crate::kubelet::reply::{self, Asked};
use crate::kubelet::resolve::{Found, Records, resolve};
use crate::up::context::Context;

/// Opens the server's sockets and answers until the runtime ends. Outside names go to `forward`, a socket on
/// the host and the resolvers it may ask, if there is one.
pub async fn serve(context: Arc<Context>, forward: Option<Forward>) -> std::io::Result<()> {
    let udp = UdpSocket::bind((NODE, 53)).await?;
    let tcp = TcpListener::bind((NODE, 53)).await?;
    tokio::spawn(dns::serve(udp, tcp, LIMITS, Arc::new(Names { context, forward })));
    Ok(())
}

/// What the server knows: the cluster's names, and whom to ask about others.
struct Names {
    context: Arc<Context>,
    forward: Option<Forward>,
}

/// How outside names are asked for.
#[derive(Debug)]
pub struct Forward {
    /// The host's resolvers.
    pub resolvers: Vec<SocketAddr>,
}

impl Forward {
    async fn ask(&self, question: &[u8]) -> Option<Vec<u8>> {
        for resolver in &self.resolvers {
            let exchange = async {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
                socket.connect(resolver).await.ok()?;
                socket.send(question).await.ok()?;
                let mut buffer = vec![0; 4096];
                loop {
                    let length = socket.recv(&mut buffer).await.ok()?;
                    // One that belongs to no question of ours is not the answer.
                    if length >= 2 && question.get(..2) == Some(&buffer[..2]) {
                        buffer.truncate(length);
                        return Some(buffer);
                    }
                }
            };
            if let Ok(Some(answer)) = tokio::time::timeout(Duration::from_secs(2), exchange).await {
                return Some(answer);
            }
        }
        None
    }
}

impl Answer for Names {
    async fn answer(&self, packet: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        answer(&self.context, packet, self.forward.as_ref(), over_tcp).await
    }
}

/// The bytes that answer a packet; none for what is no question.
async fn answer(
    context: &Context,
    packet: &[u8],
    forward: Option<&Forward>,
    over_tcp: bool,
) -> Option<Vec<u8>> {
    let asked = match reply::read(packet) {
        Asked::Nothing => return None,
        Asked::Refused(refusal) => return message::encoded(&refusal, 0, over_tcp),
        Asked::Question(asked) => asked,
    };
    let payload = asked.max_payload();
    let (_, name) = reply::question(&asked)?;
    let chain = chain(context, &name);
    let mut answer = reply::answer(&asked, &chain);
    if let (Some((target, Found::Outside)), Some(forward)) = (chain.last(), forward) {
        if chain.len() == 1 {
            return match forward.ask(packet).await {
                Some(answer) => fitted(answer, payload, over_tcp),
                None => message::encoded(&reply::failure(&asked), payload, over_tcp),
            };
        }
        // Resolvers of applications do not follow aliases by themselves.
        let onward = reply::onward(&asked, target)?.to_vec().ok()?;
        if let Some(other) = forward.ask(&onward).await.and_then(|other| Message::from_vec(&other).ok()) {
            reply::append(&mut answer, &other);
        }
    }
    message::encoded(&answer, payload, over_tcp)
}

/// A name and what is known of it, then the same for the name that it stands for, and so on.
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

/// Another server's answer, cut to what the asker takes.
fn fitted(answer: Vec<u8>, payload: u16, over_tcp: bool) -> Option<Vec<u8>> {
    match Message::from_vec(&answer) {
        Ok(read) if !over_tcp => message::encoded(&read, payload, over_tcp),
        _ => Some(answer),
    }
}

/// Names that may stand for each other in a row, as CoreDNS follows them.
const LONGEST_CHAIN: usize = 8;
/// Questions over TCP: no pod takes the places of the others, and none stays without asking.
const LIMITS: Limits = Limits::anonymous(1024, 32);
