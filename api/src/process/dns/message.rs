//! Pure. Answers to DNS questions: EDNS where the asker speaks it (RFC 6891), the size that it takes, and the form that
//! TCP carries.

use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use std::io;

/// A response without records, with EDNS where the asker speaks it.
pub fn response(asked: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::new(asked.metadata.id, MessageType::Response, asked.metadata.op_code);
    reply.metadata.recursion_desired = asked.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(asked.queries.iter().cloned());
    if asked.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST);
        edns.set_rcode_high(code.high());
        reply.set_edns(edns);
    }
    reply
}

/// The bytes of an answer; over UDP cut to the payload that the asker takes, which then asks again over TCP.
pub fn encoded(reply: &Message, payload: u16, over_tcp: bool) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    if over_tcp || bytes.len() <= usize::from(payload.clamp(SMALLEST, LARGEST)) {
        return Some(bytes);
    }
    reply.truncate().to_vec().ok()
}

/// A message with its length before it, as TCP carries it.
pub fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok([&length.to_be_bytes(), message].concat())
}

/// What every asker takes over UDP (RFC 1035).
const SMALLEST: u16 = 512;
/// What passes every network in one piece.
const LARGEST: u16 = 1232;

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    fn asked() -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii("a.").unwrap(), RecordType::A));
        message
    }

    #[test]
    fn an_answer_repeats_the_question_and_speaks_edns_to_those_who_do() {
        let mut question = asked();
        let reply = response(&question, ResponseCode::NXDomain);
        assert_eq!((reply.metadata.id, &reply.queries), (question.metadata.id, &question.queries));
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        assert!(reply.edns.is_none());
        question.set_edns(Edns::new());
        assert_eq!(response(&question, ResponseCode::NoError).edns.unwrap().max_payload(), LARGEST);
    }

    #[test]
    fn an_answer_over_udp_is_cut_to_what_the_asker_takes_and_every_network_passes() {
        let mut reply = response(&asked(), ResponseCode::NoError);
        let fits = |reply: &Message, payload| {
            let bytes = encoded(reply, payload, false).unwrap();
            let read = Message::from_vec(&bytes).unwrap();
            assert_ne!(read.metadata.truncation, read.answers.len() == reply.answers.len());
            !read.metadata.truncation
        };
        for number in 0..100u8 {
            if number == 60 {
                assert_eq!(
                    [0, 512, 1232, 4096].map(|payload| fits(&reply, payload)),
                    [false, false, true, true]
                );
            }
            let data = RData::A(A::new(10, 0, 0, number));
            reply.add_answer(Record::from_rdata(Name::from_ascii("a.").unwrap(), 5, data));
        }
        assert_eq!([512, 1232, 65_535].map(|payload| fits(&reply, payload)), [false; 3]);
        let whole = reply.to_vec().unwrap();
        assert!(whole.len() > usize::from(LARGEST));
        assert_eq!(encoded(&reply, 0, true).unwrap(), whole);
    }

    #[test]
    fn over_tcp_the_length_comes_first() {
        assert_eq!(framed(b"abc").unwrap(), b"\0\x03abc");
        assert!(framed(&vec![0; 65_536]).is_err());
    }
}
