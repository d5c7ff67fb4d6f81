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
pub(super) fn query(name: &str, kind: RecordType) -> io::Result<Vec<u8>> {
    let name = Name::from_ascii(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    message.to_vec().map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl Response {
    /// Decodes the response to `query`. Returns an error if the server failed, or if the response belongs to
    /// another query.
    pub(super) fn read(query: &[u8], packet: &[u8]) -> io::Result<Self> {
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
        let sent = Message::from_vec(query).map_err(invalid)?;
        let message = Message::from_vec(packet).map_err(invalid)?;
        let matches = message.metadata.message_type == MessageType::Response
            && message.metadata.id == sent.metadata.id
            && message.queries == sent.queries;
        if !matches {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match message.metadata.response_code {
            ResponseCode::NoError => {}
            ResponseCode::NXDomain => return Ok(Self::default()),
            code => return Err(io::Error::other(format!("the name server returned {code}"))),
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

    fn response_to(query: &[u8], change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let sent = Message::from_vec(query).unwrap();
        let mut reply = Message::new(sent.metadata.id, MessageType::Response, sent.metadata.op_code);
        reply.add_queries(sent.queries.iter().cloned());
        change(&mut reply);
        reply.to_vec().unwrap()
    }

    fn record(name: &str, ttl: u32, data: RData) -> Record {
        Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, data)
    }

    #[test]
    fn the_ttl_is_the_shortest_of_all_records() {
        let query = query("db.", RecordType::A).unwrap();
        let packet = response_to(&query, |reply| {
            reply.add_answer(record("db.", 7, RData::CNAME(CNAME(Name::from_ascii("real.").unwrap()))));
            reply.add_answer(record("real.", 300, RData::A(A::new(10, 0, 0, 1))));
        });
        let expected = Response {
            addresses: vec!["10.0.0.1".parse().unwrap()],
            ttl: Some(Duration::from_secs(7)),
            is_truncated: false,
        };
        assert_eq!(Response::read(&query, &packet).unwrap(), expected);
    }

    #[test]
    fn a_name_without_addresses_is_not_an_error_but_a_failing_server_is() {
        let query = query("db.", RecordType::A).unwrap();
        let with = |code| response_to(&query, |reply| reply.metadata.response_code = code);
        for code in [ResponseCode::NoError, ResponseCode::NXDomain] {
            assert_eq!(Response::read(&query, &with(code)).unwrap(), Response::default());
        }
        for code in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::FormErr] {
            assert!(Response::read(&query, &with(code)).is_err(), "{code}");
        }
    }

    #[test]
    fn a_response_to_another_query_is_refused() {
        let sent = query("db.", RecordType::A).unwrap();
        let other = query("web.", RecordType::A).unwrap();
        assert!(Response::read(&sent, &sent).is_err(), "a query is not a response");
        assert!(Response::read(&sent, &response_to(&other, |_| {})).is_err());
        assert!(Response::read(&sent, &response_to(&sent, |reply| reply.metadata.id ^= 1)).is_err());
        assert!(Response::read(&sent, b"").is_err());
        assert!(query("a..b", RecordType::A).is_err());
    }
}
