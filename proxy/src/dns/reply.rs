//! Pure. Decides how to handle a packet. Packets come from unauthenticated clients: a packet that is not a query is
//! dropped.

use super::zone::Zone;
use api::process::dns::message::{encoded, response};
use hickory_proto::op::{Message, MessageType, ResponseCode};

/// How a packet is handled.
#[derive(Debug)]
pub enum Reply {
    /// Drop it: it is not a valid query.
    Drop,
    /// Send this response.
    Respond(Vec<u8>),
    /// Forward the query to another server.
    Forward(Box<ForeignQuery>),
}

/// A query for a name outside the mesh.
#[derive(Debug)]
pub struct ForeignQuery(Message);

impl ForeignQuery {
    /// Completes another server's response with what only the mesh knows: if the response ends in an alias of a
    /// name in the mesh, its addresses; if the queried name itself is in the mesh, that it exists.
    pub fn completed(&self, zone: &Zone, response: Vec<u8>, over_tcp: bool) -> Vec<u8> {
        let completed = || {
            let mut response = Message::from_vec(&response).ok()?;
            let absent =
                response.metadata.response_code == ResponseCode::NXDomain && response.answers.is_empty();
            if !(absent && zone.knows(&self.0)) {
                response.add_answers(zone.behind(&self.0, &response)?);
            }
            response.metadata.response_code = ResponseCode::NoError;
            encoded(&response, self.0.max_payload(), over_tcp)
        };
        completed().unwrap_or(response)
    }

    /// The response if no other server responds.
    pub fn failure(&self, zone: &Zone, over_tcp: bool) -> Option<Vec<u8>> {
        let code = if zone.knows(&self.0) { ResponseCode::NoError } else { ResponseCode::ServFail };
        encoded(&response(&self.0, code), self.0.max_payload(), over_tcp)
    }
}

/// Decides how to handle a packet.
pub fn reply(zone: &Zone, packet: &[u8], over_tcp: bool) -> Reply {
    let Ok(query) = Message::from_vec(packet) else { return Reply::Drop };
    if query.metadata.message_type != MessageType::Query {
        return Reply::Drop;
    }
    match zone.respond(&query) {
        Some(message) => encoded(&message, query.max_payload(), over_tcp).map_or(Reply::Drop, Reply::Respond),
        None => Reply::Forward(Box::new(ForeignQuery(query))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::workload::{NameInfo, NameTable};
    use hickory_proto::op::{Edns, Query};
    use hickory_proto::rr::{Name, RecordType};

    fn zone() -> Zone {
        let info = NameInfo { addresses: vec![[240, 240, 0, 1].into()], ..NameInfo::default() };
        Zone::new(&NameTable { hosts: [("db.example.com".to_owned(), info)].into() }, "shop", &[])
    }

    fn packet(name: &str, kind: RecordType, edns: bool) -> Vec<u8> {
        let mut query = Message::query();
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        if edns {
            query.set_edns(Edns::new());
        }
        query.to_vec().unwrap()
    }

    #[test]
    fn a_name_of_the_mesh_has_no_error_for_types_that_only_others_could_know() {
        for (name, code) in
            [("db.example.com.", ResponseCode::NoError), ("other.example.com.", ResponseCode::NXDomain)]
        {
            let sent = packet(name, RecordType::MX, false);
            let Reply::Forward(query) = reply(&zone(), &sent, false) else { panic!("{name} is forwarded") };
            let absent =
                response(&Message::from_vec(&sent).unwrap(), ResponseCode::NXDomain).to_vec().unwrap();
            let completed = Message::from_vec(&query.completed(&zone(), absent, false)).unwrap();
            assert_eq!(completed.metadata.response_code, code, "{name}");
        }
        let Reply::Forward(query) = reply(&zone(), &packet("db.example.com.", RecordType::MX, false), false)
        else {
            panic!("MX is forwarded")
        };
        let alone = Message::from_vec(&query.failure(&zone(), false).unwrap()).unwrap();
        assert_eq!(alone.metadata.response_code, ResponseCode::NoError);
    }

    #[test]
    fn a_query_with_edns_gets_a_response_with_edns() {
        for edns in [false, true] {
            let Reply::Respond(bytes) =
                reply(&zone(), &packet("db.example.com.", RecordType::A, edns), false)
            else {
                panic!("it is the mesh's name")
            };
            assert_eq!(Message::from_vec(&bytes).unwrap().edns.is_some(), edns);
        }
    }
}
