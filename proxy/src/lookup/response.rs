//! Pure. Encodes a query to a name server, and decodes the addresses and TTL of its response.

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// The content of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Response {
    /// Empty if the name does not exist, or has no record of this kind.
    pub(super) addresses: Vec<IpAddr>,
    /// The shortest TTL of the records that lead to the addresses, including aliases.
    pub(super) ttl: Option<Duration>,
    /// Whether the response was cut to fit into a datagram.
    pub(super) is_truncated: bool,
}

/// Encodes a query for the records of one kind.
pub(super) fn question(name: &str, kind: RecordType) -> io::Result<Vec<u8>> {
    let name = Name::from_ascii(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    message.to_vec().map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl Response {
    /// Decodes the response to `question`. Returns an error if the server failed, or if the response belongs to
    /// another query.
    pub(super) fn read(question: &[u8], packet: &[u8]) -> io::Result<Self> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
        let asked = Message::from_vec(question).map_err(invalid)?;
        let message = Message::from_vec(packet).map_err(invalid)?;
        let is_answer = message.metadata.message_type == MessageType::Response
            && message.metadata.id == asked.metadata.id
            && message.queries == asked.queries;
        if !is_answer {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match message.metadata.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return Ok(Self::default()),
            code => return Err(io::Error::other(format!("the name server says {code}"))),
        }
        let address = |data: &RData| match data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(a) => Some(IpAddr::V6(a.0)),
            _ => None,
        };
        let addresses: Vec<IpAddr> = message.answers.iter().filter_map(|r| address(&r.data)).collect();
        let ttl = message.answers.iter().map(|record| Duration::from_secs(record.ttl.into())).min();
        let ttl = ttl.filter(|_| !addresses.is_empty());
        Ok(Self { addresses, ttl, is_truncated: message.metadata.truncation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::{A, CNAME};

    fn answer(question: &[u8], change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let asked = Message::from_vec(question).unwrap();
        let mut reply = Message::new(asked.metadata.id, MessageType::Response, asked.metadata.op_code);
        reply.add_queries(asked.queries.iter().cloned());
        change(&mut reply);
        reply.to_vec().unwrap()
    }

    fn record(name: &str, ttl: u32, data: RData) -> Record {
        Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, data)
    }

    #[test]
    fn addresses_hold_as_long_as_the_shortest_lived_record_on_the_way() {
        let question = question("db.", RecordType::A).unwrap();
        let packet = answer(&question, |reply| {
            reply.add_answer(record("db.", 7, RData::CNAME(CNAME(Name::from_ascii("real.").unwrap()))));
            reply.add_answer(record("real.", 300, RData::A(A::new(10, 0, 0, 1))));
        });
        let expected = Response {
            addresses: vec!["10.0.0.1".parse().unwrap()],
            ttl: Some(Duration::from_secs(7)),
            is_truncated: false,
        };
        assert_eq!(Response::read(&question, &packet).unwrap(), expected);
    }

    #[test]
    fn a_name_without_addresses_is_no_error_and_a_failing_server_is() {
        let question = question("db.", RecordType::A).unwrap();
        let with = |code| answer(&question, |reply| reply.metadata.response_code = code);
        for code in [ResponseCode::NoError, ResponseCode::NXDomain] {
            assert_eq!(Response::read(&question, &with(code)).unwrap(), Response::default());
        }
        for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr] {
            assert!(Response::read(&question, &with(code)).is_err(), "{code}");
        }
    }

    #[test]
    fn a_response_to_something_else_is_refused() {
        let asked = question("db.", RecordType::A).unwrap();
        let other = question("web.", RecordType::A).unwrap();
        assert!(Response::read(&asked, &asked).is_err(), "a question is no response");
        assert!(Response::read(&asked, &answer(&other, |_| {})).is_err());
        assert!(Response::read(&asked, &answer(&asked, |reply| reply.metadata.id ^= 1)).is_err());
        assert!(Response::read(&asked, b"").is_err());
        assert!(question("a..b", RecordType::A).is_err());
    }
}
