//! Pure. From a packet to what is done about it. Packets come from strangers: whatever is no query is dropped.

use super::zone::{Zone, response};
use hickory_proto::op::{Message, MessageType, ResponseCode};

/// What is done about a packet.
#[derive(Debug)]
pub enum Reply {
    /// Nothing: it is no query.
    Drop,
    /// These bytes go back.
    Answer(Vec<u8>),
    /// Another server has to be asked.
    Forward(Box<Unanswered>),
}

/// A query that is not the mesh's to answer.
#[derive(Debug)]
pub struct Unanswered(Message);

impl Unanswered {
    /// Another server's answer, with what it could not know: where the name is an alias of one of the mesh's, the
    /// addresses of that.
    pub fn completed(&self, zone: &Zone, answer: Vec<u8>, over_tcp: bool) -> Vec<u8> {
        let completed = || {
            let mut answer = Message::from_vec(&answer).ok()?;
            let records = zone.behind(&self.0, &answer)?;
            answer.metadata.response_code = ResponseCode::NoError;
            answer.add_answers(records);
            encoded(&answer, &self.0, over_tcp)
        };
        completed().unwrap_or(answer)
    }

    /// The answer when no other server gives one.
    pub fn failure(&self, over_tcp: bool) -> Option<Vec<u8>> {
        encoded(&response(&self.0, ResponseCode::ServFail), &self.0, over_tcp)
    }
}

/// Looks at a packet.
pub fn reply(zone: &Zone, packet: &[u8], over_tcp: bool) -> Reply {
    let Ok(query) = Message::from_vec(packet) else { return Reply::Drop };
    if query.metadata.message_type != MessageType::Query {
        return Reply::Drop;
    }
    match zone.answer(&query) {
        Some(answer) => encoded(&answer, &query, over_tcp).map_or(Reply::Drop, Reply::Answer),
        None => Reply::Forward(Box::new(Unanswered(query))),
    }
}

/// The bytes of an answer; over UDP cut to what the client takes, which then asks again over TCP.
fn encoded(answer: &Message, query: &Message, over_tcp: bool) -> Option<Vec<u8>> {
    let bytes = answer.to_vec().ok()?;
    if over_tcp || bytes.len() <= usize::from(query.max_payload()) {
        return Some(bytes);
    }
    answer.truncate().to_vec().ok()
}
