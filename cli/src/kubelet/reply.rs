//! Pure. DNS messages of the cluster's DNS server: builds the response from the query and the records of its name, with
//! EDNS (RFC 6891), negative responses (RFC 2308) and the size that the client accepts.

use std::net::Ipv4Addr;

use api::process::dns::message::response;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR, SOA, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use crate::kubelet::resolve::{Found, Records};

/// A parsed packet.
#[derive(Debug)]
pub enum Packet {
    /// A packet that gets no response.
    Nothing,
    /// A query that is rejected with this response.
    Refused(Message),
    /// A query for a name of the Internet class.
    Question(Message),
}

/// Parses a packet from an untrusted client.
pub fn read(packet: &[u8]) -> Packet {
    let Ok(message) = Message::from_vec(packet) else { return Packet::Nothing };
    if message.metadata.message_type != MessageType::Query {
        return Packet::Nothing;
    }
    let code = match message.queries.as_slice() {
        _ if message.edns.as_ref().is_some_and(|edns| edns.version() > 0) => ResponseCode::BADVERS,
        _ if message.metadata.op_code != OpCode::Query => ResponseCode::NotImp,
        [query] if query.query_class() == DNSClass::IN => return Packet::Question(message),
        [_] => ResponseCode::Refused,
        _ => ResponseCode::FormErr,
    };
    Packet::Refused(response(&message, code))
}

/// The single query of a message that [`read`] accepted.
pub fn question(request: &Message) -> Option<(&Query, String)> {
    let query = request.queries.first()?;
    Some((query, query.name().to_ascii().trim_end_matches('.').to_string()))
}

/// The response to a query. `chain` holds its name and the names of its aliases, in order, with their records.
pub fn respond(request: &Message, chain: &[(String, Found)]) -> Message {
    let mut reply = response(request, ResponseCode::NoError);
    let (Some((query, _)), Some((_, found))) = (question(request), chain.last()) else { return reply };
    reply.metadata.authoritative = !matches!(chain.first(), Some((_, Found::Outside)));
    let mut owner = query.name().clone();
    for (target, _) in &chain[1..] {
        let Some(target) = absolute(target) else { break };
        reply.add_answer(Record::from_rdata(owner, LIFETIME, RData::CNAME(CNAME(target.clone()))));
        owner = target;
    }
    match found {
        Found::Known(records) => fill(&mut reply, query, &owner, records),
        // Names outside the cluster are resolved by another server, also behind an alias.
        Found::Nothing => reply.metadata.response_code = ResponseCode::NXDomain,
        Found::Outside if chain.len() == 1 => reply.metadata.response_code = ResponseCode::NXDomain,
        Found::Outside => {}
    }
    if reply.metadata.authoritative && reply.answers.is_empty() {
        reply.add_authority(authority());
    }
    reply
}

fn fill(reply: &mut Message, query: &Query, owner: &Name, records: &Records) {
    let wanted = query.query_type();
    let includes = |kind: RecordType| wanted == kind || wanted == RecordType::ANY;
    if includes(RecordType::A) {
        for data in records.addresses.iter().copied().map(address) {
            reply.add_answer(Record::from_rdata(owner.clone(), LIFETIME, data));
        }
    }
    if includes(RecordType::PTR) {
        for name in records.names.iter().filter_map(|name| absolute(name)) {
            reply.add_answer(Record::from_rdata(owner.clone(), LIFETIME, RData::PTR(PTR(name))));
        }
    }
    if includes(RecordType::SRV) {
        // Equal weights, as in CoreDNS.
        let weight = 100 / u16::try_from(records.servers.len().clamp(1, 100)).unwrap_or(100);
        for server in &records.servers {
            let Some(host) = absolute(&server.host) else { continue };
            let data = RData::SRV(SRV::new(0, weight, server.port, host.clone()));
            reply.add_answer(Record::from_rdata(owner.clone(), LIFETIME, data));
            for data in server.addresses.iter().copied().map(address) {
                let record = Record::from_rdata(host.clone(), LIFETIME, data);
                if !reply.additionals.contains(&record) {
                    reply.add_additional(record);
                }
            }
        }
    }
}

/// Appends the records of another server for the last name of a chain.
pub fn append(reply: &mut Message, other: &Message) {
    reply.add_answers(other.answers.iter().cloned());
    reply.metadata.authoritative = false;
    reply.metadata.response_code = other.metadata.response_code;
    reply.authorities.clear();
}

/// A query to another server for the last name of a chain.
pub fn onward(request: &Message, name: &str) -> Option<Message> {
    let (query, _) = question(request)?;
    let mut onward = Message::query();
    onward.metadata.id = request.metadata.id;
    onward.metadata.recursion_desired = true;
    onward.add_query(Query::query(absolute(name)?, query.query_type()));
    Some(onward)
}

/// The response if no other server responds.
pub fn failure(request: &Message) -> Message {
    response(request, ResponseCode::ServFail)
}

/// The SOA record, which says how long a negative response may be cached.
fn authority() -> Record {
    let server = absolute("ns.dns.cluster.local").unwrap_or_default();
    let mailbox = absolute("hostmaster.cluster.local").unwrap_or_default();
    let data = RData::SOA(SOA::new(server, mailbox, 1, 7200, 1800, 86_400, LIFETIME));
    Record::from_rdata(absolute("cluster.local").unwrap_or_default(), LIFETIME, data)
}

fn absolute(name: &str) -> Option<Name> {
    Name::from_ascii(format!("{name}.")).ok()
}

fn address(address: Ipv4Addr) -> RData {
    RData::A(A(address))
}

/// Time to live of records, in seconds.
const LIFETIME: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::resolve::Server;
    use api::process::dns::message::encoded;
    use hickory_proto::op::Edns;

    fn request(kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Query::query(absolute("web.default.svc.cluster.local").unwrap(), kind));
        message
    }

    fn one(found: Found) -> Vec<(String, Found)> {
        vec![("web.default.svc.cluster.local".into(), found)]
    }

    fn web() -> Records {
        let addresses = vec![Ipv4Addr::new(10, 96, 0, 9)];
        let host = "web.default.svc.cluster.local".into();
        let servers = vec![Server { port: 80, host, addresses: addresses.clone() }];
        Records { addresses, servers, ..Records::default() }
    }

    #[test]
    fn a_known_name_has_no_error_for_any_type() {
        let cases = [
            (RecordType::A, 1),
            (RecordType::SRV, 1),
            (RecordType::AAAA, 0),
            (RecordType::MX, 0),
            (RecordType::TXT, 0),
            (RecordType::HTTPS, 0),
        ];
        for (kind, answers) in cases {
            let reply = respond(&request(kind), &one(Found::Known(web())));
            assert_eq!((reply.answers.len(), reply.metadata.response_code), (answers, ResponseCode::NoError));
            assert_eq!(reply.authorities.len(), usize::from(answers == 0), "{kind}");
        }
        let srv = respond(&request(RecordType::SRV), &one(Found::Known(web())));
        assert_eq!(srv.additionals.len(), 1);
        let none = respond(&request(RecordType::A), &one(Found::Nothing));
        assert_eq!((none.metadata.response_code, none.authorities.len()), (ResponseCode::NXDomain, 1));
    }

    #[test]
    fn an_alias_precedes_its_target() {
        let alias = Records { alias: Some("db.default.svc.cluster.local".into()), ..Records::default() };
        let mut chain = one(Found::Known(alias));
        chain.push(("db.default.svc.cluster.local".into(), Found::Known(web())));
        let reply = respond(&request(RecordType::A), &chain);
        let kinds: Vec<_> = reply.answers.iter().map(Record::record_type).collect();
        assert_eq!(kinds, [RecordType::CNAME, RecordType::A]);
        assert_eq!(reply.answers[1].name.to_ascii(), "db.default.svc.cluster.local.");
        chain[1] = ("example.org".into(), Found::Outside);
        let outside = respond(&request(RecordType::A), &chain);
        assert_eq!((outside.answers.len(), outside.metadata.response_code), (1, ResponseCode::NoError));
        let onward = onward(&request(RecordType::AAAA), "example.org").unwrap();
        assert_eq!(question(&onward).unwrap().1, "example.org");
    }

    #[test]
    fn edns_is_answered_with_edns() {
        let mut message = request(RecordType::A);
        assert!(respond(&message, &one(Found::Nothing)).edns.is_none());
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        message.set_edns(edns.clone());
        let reply = respond(&message, &one(Found::Known(web())));
        assert!(reply.edns.is_some());
        edns.set_version(1);
        message.set_edns(edns);
        let Packet::Refused(refused) = read(&message.to_vec().unwrap()) else { panic!("a later version") };
        let bytes = encoded(&refused, 512, false).unwrap();
        // The code BADSIG has the same number.
        let code = Message::from_vec(&bytes).unwrap().metadata.response_code;
        assert_eq!(u16::from(code), u16::from(ResponseCode::BADVERS));
    }

    #[test]
    fn malformed_queries_are_dropped_or_refused() {
        assert!(matches!(read(b"x"), Packet::Nothing));
        let mut response = request(RecordType::A);
        response.metadata.message_type = MessageType::Response;
        assert!(matches!(read(&response.to_vec().unwrap()), Packet::Nothing));
        let mut two = request(RecordType::A);
        two.add_query(two.queries[0].clone());
        let mut update = request(RecordType::A);
        update.metadata.op_code = OpCode::Update;
        let mut chaos = request(RecordType::A);
        chaos.queries[0].set_query_class(DNSClass::CH);
        for (message, code) in
            [(two, ResponseCode::FormErr), (update, ResponseCode::NotImp), (chaos, ResponseCode::Refused)]
        {
            let Packet::Refused(reply) = read(&message.to_vec().unwrap()) else { panic!("{code}") };
            assert_eq!(reply.metadata.response_code, code);
        }
    }
}
