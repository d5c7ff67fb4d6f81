//! The cluster's name server on the node's address.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::kubelet::address::NODE;
use crate::kubelet::resolve::{Found, resolve};
use crate::up::context::Context;

/// Opens the server's sockets and answers until the runtime ends. Outside names go to `forward`, a socket on
/// the host and the resolvers it may ask, if there is one.
pub async fn serve(context: Arc<Context>, forward: Option<Forward>) -> std::io::Result<()> {
    let udp = Arc::new(UdpSocket::bind((NODE, 53)).await?);
    let tcp = TcpListener::bind((NODE, 53)).await?;
    let forward = forward.map(Arc::new);
    let (other, others) = (Arc::clone(&context), forward.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            tokio::spawn(converse(Arc::clone(&other), stream, others.clone()));
        }
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        loop {
            let Ok((length, peer)) = udp.recv_from(&mut buffer).await else { continue };
            let question = buffer[..length].to_vec();
            let (context, udp, forward) = (Arc::clone(&context), Arc::clone(&udp), forward.clone());
            tokio::spawn(async move {
                if let Some(answer) = answer(&context, &question, forward.as_deref(), Some(UDP_LIMIT)).await {
                    // The asker asks again if the answer is lost.
                    let _ = udp.send_to(&answer, peer).await;
                }
            });
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

async fn converse(context: Arc<Context>, mut stream: TcpStream, forward: Option<Arc<Forward>>) -> Option<()> {
    loop {
        let length = tokio::time::timeout(Duration::from_secs(10), stream.read_u16()).await.ok()?.ok()?;
        let mut question = vec![0; usize::from(length)];
        stream.read_exact(&mut question).await.ok()?;
        let answer = answer(&context, &question, forward.as_deref(), None).await?;
        stream.write_u16(u16::try_from(answer.len()).ok()?).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}

async fn answer(
    context: &Context,
    question: &[u8],
    forward: Option<&Forward>,
    limit: Option<usize>,
) -> Option<Vec<u8>> {
    let asked = Message::from_vec(question).ok()?;
    let found = {
        let query = asked.queries.first()?;
        let name = query.name().to_ascii();
        let world = context.shared.read();
        resolve(name.trim_end_matches('.'), &world.services(), &world.backends())
    };
    if found == Found::Outside
        && let Some(forward) = forward
        && let Some(answer) = forward.ask(question).await
    {
        return Some(answer);
    }
    let reply = reply(&asked, &found)?;
    let bytes = reply.to_vec().ok()?;
    match limit {
        Some(limit) if bytes.len() > limit => reply.truncate().to_vec().ok(),
        _ => Some(bytes),
    }
}

fn reply(asked: &Message, found: &Found) -> Option<Message> {
    let query = asked.queries.first()?;
    let mut reply = Message::new(asked.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata.recursion_desired = asked.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.authoritative = *found != Found::Outside;
    reply.add_query(query.clone());
    match found {
        Found::Addresses(addresses) if query.query_type() == RecordType::A => {
            for address in addresses {
                reply.add_answer(Record::from_rdata(query.name().clone(), LIFETIME, RData::A(A(*address))));
            }
        }
        Found::Addresses(_) => {}
        Found::Nothing | Found::Outside => reply.metadata.response_code = ResponseCode::NXDomain,
    }
    Some(reply)
}

/// Seconds that an answer may be kept.
const LIFETIME: u32 = 5;
/// The largest answer that every resolver takes over UDP.
const UDP_LIMIT: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;
    use hickory_proto::rr::Name;

    fn asked(kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii("web.default.svc.cluster.local.").unwrap(), kind));
        message
    }

    #[test]
    fn addresses_answer_a_and_leave_aaaa_empty() {
        let found = Found::Addresses(vec![Ipv4Addr::new(10, 96, 0, 9)]);
        let answer = reply(&asked(RecordType::A), &found).unwrap();
        assert_eq!(answer.answers.len(), 1);
        let empty = reply(&asked(RecordType::AAAA), &found).unwrap();
        assert_eq!((empty.answers.len(), empty.metadata.response_code), (0, ResponseCode::NoError));
        let none = reply(&asked(RecordType::A), &Found::Nothing).unwrap();
        assert_eq!(none.metadata.response_code, ResponseCode::NXDomain);
    }
}
