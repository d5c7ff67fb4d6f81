//! Pure. The names of the mesh as a DNS zone, and the responses to queries for them.

use api::model::workload::NameTable;
use api::process::dns::message::response;
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The names of the mesh, in every spelling that clients use.
#[derive(Debug, Default)]
pub struct Zone {
    /// Addresses by name, in lower case and without a trailing dot.
    hosts: HashMap<String, Arc<[IpAddr]>>,
    /// Domains that clients append to short names.
    search: Vec<String>,
}

impl Zone {
    /// Creates the zone of a proxy in `namespace`.
    pub fn new(table: &NameTable, namespace: &str, search: &[String]) -> Self {
        let mut hosts = HashMap::new();
        for (host, info) in &table.hosts {
            let addresses: Arc<[IpAddr]> = info.addresses.clone().into();
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            if info.registry == KUBERNETES && !info.short_name.is_empty() {
                let (name, of) = (info.short_name.to_ascii_lowercase(), &info.namespace);
                for spelling in [format!("{name}.{of}"), format!("{name}.{of}.svc")] {
                    hosts.entry(spelling).or_insert_with(|| addresses.clone());
                }
                if of == namespace {
                    hosts.entry(name).or_insert_with(|| addresses.clone());
                }
            }
            // A full host name takes precedence over another host's short name.
            hosts.insert(host, addresses);
        }
        Self { hosts, search: search.to_vec() }
    }

    /// The response to a query; `None`: the name is not in the mesh, or the query type is not supported.
    pub fn respond(&self, query: &Message) -> Option<Message> {
        let [question] = query.queries.as_slice() else { return None };
        if question.query_class() != DNSClass::IN || query.metadata.op_code != OpCode::Query {
            return None;
        }
        let is_ipv4 = match question.query_type() {
            RecordType::A => true,
            RecordType::AAAA => false,
            _ => return None,
        };
        let owner_name = question.name();
        let text = owner_name.to_utf8().trim_end_matches('.').to_ascii_lowercase();
        let (host, addresses) = self.find(&text)?;

        let mut reply = response(query, ResponseCode::NoError);
        reply.metadata.authoritative = true;
        let mut owner = owner_name.clone();
        if host != text {
            // The client appended a search domain; the alias gives it the canonical name.
            let target = Name::from_utf8(format!("{host}.")).ok()?;
            reply.add_answer(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(target.clone()))));
            owner = target;
        }
        reply.add_answers(records(&owner, addresses, is_ipv4, query.metadata.id));
        Some(reply)
    }

    /// The addresses of the mesh's name in which another server's response ends as an alias; `None`: the response
    /// does not end in an alias, or its target is not in the mesh.
    pub fn behind(&self, query: &Message, response: &Message) -> Option<Vec<Record>> {
        let is_ipv4 = match query.queries.first()?.query_type() {
            RecordType::A => true,
            RecordType::AAAA => false,
            _ => return None,
        };
        let last = response.answers.last()?;
        let RData::CNAME(CNAME(target)) = &last.data else { return None };
        let text = target.to_utf8().trim_end_matches('.').to_ascii_lowercase();
        let addresses = self.exact_or_wildcard(&text)?;
        Some(records(target, addresses, is_ipv4, query.metadata.id))
    }

    /// Whether the queried name is in the mesh, whatever the record type.
    pub fn knows(&self, query: &Message) -> bool {
        query.queries.first().is_some_and(|question| {
            let text = question.name().to_utf8().trim_end_matches('.').to_ascii_lowercase();
            question.query_class() == DNSClass::IN && self.exact_or_wildcard(&text).is_some()
        })
    }

    /// The host that a name refers to, and its addresses.
    fn find<'a>(&self, name: &'a str) -> Option<(&'a str, &Arc<[IpAddr]>)> {
        let shorter =
            self.search.iter().filter_map(|domain| name.strip_suffix(domain.as_str())?.strip_suffix('.'));
        std::iter::once(name).chain(shorter).find_map(|name| Some((name, self.exact_or_wildcard(name)?)))
    }

    fn exact_or_wildcard(&self, name: &str) -> Option<&Arc<[IpAddr]>> {
        if let Some(found) = self.hosts.get(name) {
            return Some(found);
        }
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(found) = self.hosts.get(&format!("*.{parent}")) {
                return Some(found);
            }
            rest = parent;
        }
        None
    }
}

/// The addresses of one family. Clients use the first address, so each query starts at a different one.
fn records(owner: &Name, addresses: &[IpAddr], v4: bool, turn: u16) -> Vec<Record> {
    let mut all: Vec<RData> =
        addresses.iter().filter(|address| address.is_ipv4() == v4).map(record).collect();
    if !all.is_empty() {
        let turn = usize::from(turn) % all.len();
        all.rotate_left(turn);
    }
    all.into_iter().map(|data| Record::from_rdata(owner.clone(), TTL, data)).collect()
}

fn record(address: &IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(A(*v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(*v6)),
    }
}

const KUBERNETES: &str = "Kubernetes";
const TTL: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use api::model::workload::NameInfo;
    use hickory_proto::op::Query;
    use proptest::prelude::*;

    fn zone() -> Zone {
        let host = |name: &str, registry: &str, short: &str, addresses: &[&str]| {
            let info = NameInfo {
                addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
                registry: registry.into(),
                short_name: short.into(),
                namespace: "shop".into(),
            };
            (name.to_owned(), info)
        };
        let table = NameTable {
            hosts: [
                host("reviews.shop.svc.cluster.local", "Kubernetes", "reviews", &["10.96.0.1", "fd00::1"]),
                host("headless.shop.svc.cluster.local", "Kubernetes", "headless", &["10.1.0.1", "10.1.0.2"]),
                host("api.example.com", "External", "", &["240.240.0.1"]),
                host("*.wild.example.com", "External", "", &["240.240.0.2"]),
            ]
            .into(),
        };
        let search = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned);
        Zone::new(&table, "shop", &search)
    }

    fn query(name: &str, kind: RecordType) -> Message {
        let mut query = Message::query();
        query.metadata.id = 0;
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        query
    }

    /// The records of the response in short form, or `None` if the query is forwarded.
    fn records_of(zone: &Zone, name: &str, kind: RecordType) -> Option<Vec<String>> {
        let response = zone.respond(&query(name, kind))?;
        assert_eq!(response.metadata.response_code, ResponseCode::NoError);
        let show = |record: &Record| format!("{} {} {}", record.name, record.ttl, record.data);
        Some(response.answers.iter().map(show).collect())
    }

    #[test]
    fn names_of_the_mesh_resolve_in_every_spelling() {
        let zone = zone();
        for name in ["reviews", "reviews.shop", "reviews.shop.svc", "Reviews.Shop.svc.cluster.LOCAL"] {
            let answers = records_of(&zone, &format!("{name}."), RecordType::A).unwrap();
            assert_eq!(answers, [format!("{name}. 30 10.96.0.1")]);
        }
        let six = records_of(&zone, "reviews.shop.", RecordType::AAAA).unwrap();
        assert_eq!(six, ["reviews.shop. 30 fd00::1"]);
        assert_eq!(records_of(&zone, "a.b.wild.example.com.", RecordType::A).unwrap().len(), 1);
    }

    #[test]
    fn a_name_with_a_search_domain_is_an_alias_of_the_name_without() {
        let answers = records_of(&zone(), "api.example.com.shop.svc.cluster.local.", RecordType::A).unwrap();
        let expected = [
            "api.example.com.shop.svc.cluster.local. 30 api.example.com.",
            "api.example.com. 30 240.240.0.1",
        ];
        assert_eq!(answers, expected);
    }

    #[test]
    fn an_alias_from_another_server_is_completed_with_the_meshs_addresses() {
        let zone = zone();
        let alias = |target: &str, kind| {
            let query = query("also.shop.svc.cluster.local.", kind);
            let mut response = response(&query, ResponseCode::NXDomain);
            let data = RData::CNAME(CNAME(Name::from_ascii(target).unwrap()));
            response.add_answer(Record::from_rdata(Name::from_ascii("also.shop.").unwrap(), 5, data));
            let records = zone.behind(&query, &response)?;
            Some(records.iter().map(|r| format!("{} {}", r.name, r.data)).collect::<Vec<_>>())
        };
        let found = alias("api.example.com.", RecordType::A).unwrap();
        assert_eq!(found, ["api.example.com. 240.240.0.1"]);
        assert_eq!(alias("api.example.com.", RecordType::AAAA), Some(vec![]));
        assert_eq!(alias("api.example.org.", RecordType::A), None);
        let plain = query("also.shop.", RecordType::A);
        assert_eq!(zone.behind(&plain, &response(&plain, ResponseCode::NoError)), None);
    }

    #[test]
    fn a_name_without_addresses_of_a_family_gets_an_empty_response() {
        assert_eq!(records_of(&zone(), "api.example.com.", RecordType::AAAA), Some(vec![]));
    }

    #[test]
    fn names_outside_the_mesh_are_forwarded() {
        let zone = zone();
        for (name, kind) in [
            ("example.com.", RecordType::A),
            ("wild.example.com.", RecordType::A),
            ("reviews.other.", RecordType::A),
            ("reviews.shop.", RecordType::SRV),
            (".", RecordType::A),
        ] {
            assert_eq!(records_of(&zone, name, kind), None, "{name}");
        }
        assert!(zone.respond(&Message::query()).is_none());
    }

    #[test]
    fn each_query_starts_at_another_address() {
        let zone = zone();
        let mut first = std::collections::BTreeSet::new();
        for id in 0..2 {
            let mut query = query("headless.shop.", RecordType::A);
            query.metadata.id = id;
            first.insert(zone.respond(&query).unwrap().answers[0].data.to_string());
        }
        assert_eq!(first.len(), 2);
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_zone_panic(packet in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(query) = Message::from_vec(&packet) {
                let _ = zone().respond(&query);
            }
        }
    }
}
