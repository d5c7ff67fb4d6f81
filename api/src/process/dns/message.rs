//! Pure. DNS responses: EDNS if the client uses it (RFC 6891), truncation to the client's payload size, and framing
//! for TCP.

use hickory_proto::op::{Edns, Message, MessageType, ResponseCode};
use std::io;

/// A response without records, with EDNS if the query uses it.
pub fn response(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    reply.metadata.response_code = code;
    reply.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST);
        edns.set_rcode_high(code.high());
        reply.set_edns(edns);
    }
    reply
}

/// Encodes a response; over UDP truncated to the payload that the client accepts, so that it retries over TCP.
pub fn encoded(reply: &Message, payload: u16, over_tcp: bool) -> Option<Vec<u8>> {
    let bytes = reply.to_vec().ok()?;
    if over_tcp || bytes.len() <= usize::from(payload.clamp(SMALLEST, LARGEST)) {
        return Some(bytes);
    }
    reply.truncate().to_vec().ok()
}

/// A message with its length in front, as DNS over TCP requires.
pub fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok([&length.to_be_bytes(), message].concat())
}

/// The payload that every client accepts over UDP (RFC 1035).
const SMALLEST: u16 = 512;
/// The largest payload that passes networks without fragmentation.
const LARGEST: u16 = 1232;

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Query;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};

    fn query() -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii("a.").unwrap(), RecordType::A));
        message
    }

    #[test]
    fn a_response_repeats_the_question_and_uses_edns_if_the_query_does() {
        let mut query = query();
        let reply = response(&query, ResponseCode::NXDomain);
        assert_eq!((reply.metadata.id, &reply.queries), (query.metadata.id, &query.queries));
        assert_eq!(reply.metadata.response_code, ResponseCode::NXDomain);
        assert!(reply.edns.is_none());
        query.set_edns(Edns::new());
        assert_eq!(response(&query, ResponseCode::NoError).edns.unwrap().max_payload(), LARGEST);
    }

    #[test]
    fn a_response_over_udp_is_truncated_to_the_clients_payload_size() {
        let mut reply = response(&query(), ResponseCode::NoError);
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
