//! The cluster's name server on the node's address.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::process::serve::crowd::Limits;
use api::process::serve::door::{Door, Seat, Watched};
use hickory_proto::op::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::kubelet::address::NODE;
use crate::kubelet::reply::{self, Asked};
use crate::kubelet::resolve::{Found, Records, resolve};
use crate::up::context::Context;

/// Opens the server's sockets and answers until the runtime ends. Outside names go to `forward`, a socket on
/// the host and the resolvers it may ask, if there is one.
pub async fn serve(context: Arc<Context>, forward: Option<Forward>) -> std::io::Result<()> {
    let udp = Arc::new(UdpSocket::bind((NODE, 53)).await?);
    let tcp = TcpListener::bind((NODE, 53)).await?;
    let forward = forward.map(Arc::new);
    let (other, others) = (Arc::clone(&context), forward.clone());
    tokio::spawn(async move {
        let door = Door::new(LIMITS);
        loop {
            let (stream, _, seat) = door.accept(&tcp).await;
            let (context, forward) = (Arc::clone(&other), others.clone());
            tokio::spawn(async move {
                let stream = seat.watch(stream, false);
                seat.run(converse(&context, stream, forward, &seat)).await
            });
        }
    });
    tokio::spawn(async move {
        let questions = Arc::new(Semaphore::new(MAX_QUESTIONS));
        let mut buffer = vec![0; 4096];
        loop {
            let Ok((length, peer)) = udp.recv_from(&mut buffer).await else {
                // An answer to a pod that is gone, most likely.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let question = buffer[..length].to_vec();
            let (context, udp, forward) = (Arc::clone(&context), Arc::clone(&udp), forward.clone());
            let mut answering = Box::pin(async move {
                if let Some(answer) = answer(&context, &question, forward.as_deref(), false).await {
                    // The asker asks again if the answer is lost.
                    let _ = udp.send_to(&answer, peer).await;
                }
            });
            // Names of the mesh are answered at once, however many questions wait for others.
            let waits = tokio::select! {
                biased;
                () = &mut answering => false,
                () = std::future::ready(()) => true,
            };
            if waits && let Ok(permit) = Arc::clone(&questions).try_acquire_owned() {
                tokio::spawn(async move {
                    answering.await;
                    drop(permit);
                });
            }
        }
    });
    Ok(())
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
                let length = socket.recv(&mut buffer).await.ok()?;
                buffer.truncate(length);
                Some(buffer)
            };
            if let Ok(Some(answer)) = tokio::time::timeout(Duration::from_secs(2), exchange).await {
                return Some(answer);
            }
        }
        None
    }
}

/// The seat holds the connection to its limits.
async fn converse(
    context: &Context,
    mut stream: Watched<TcpStream>,
    forward: Option<Arc<Forward>>,
    seat: &Seat,
) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.ok()?;
        let _asked = seat.begin();
        let answer = answer(context, &question, forward.as_deref(), true).await?;
        stream.write_u16(u16::try_from(answer.len()).ok()?).await.ok()?;
        stream.write_all(&answer).await.ok()?;
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
        Asked::Refused(refusal) => return reply::encoded(&refusal, 0, over_tcp),
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
                None => reply::encoded(&reply::failure(&asked), payload, over_tcp),
            };
        }
        // Resolvers of applications do not follow aliases by themselves.
        let onward = reply::onward(&asked, target)?.to_vec().ok()?;
        if let Some(other) = forward.ask(&onward).await.and_then(|other| Message::from_vec(&other).ok()) {
            reply::append(&mut answer, &other);
        }
    }
    reply::encoded(&answer, payload, over_tcp)
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
        Ok(read) if !over_tcp => reply::encoded(&read, payload, over_tcp),
        _ => Some(answer),
    }
}

/// Names that may stand for each other in a row, as CoreDNS follows them.
const LONGEST_CHAIN: usize = 8;
/// Questions over UDP that wait for the host's resolvers at once; a resolver asks again.
const MAX_QUESTIONS: usize = 1024;
const PAUSE: Duration = Duration::from_millis(10);
/// Questions over TCP: no pod takes the places of the others, and none stays without asking.
const LIMITS: Limits = Limits::anonymous(1024, 32);
