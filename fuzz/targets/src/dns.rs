//! DNS packets from applications, for the proxy and for the node of `ostria up`: dropped, forwarded or resolved; every
//! response can be parsed by its client and belongs to the query.

use api::model::workload::{NameInfo, NameTable};
use api::process::dns::message::encoded;
use cli::kubelet::reply::{Packet, onward, question, read, respond};
use cli::kubelet::resolve::{Found, Records, Server, resolve};
use hickory_proto::op::{Message, MessageType};
use proxy::dns::reply::{Reply, reply};
use proxy::dns::zone::Zone;
use std::net::IpAddr;

/// See the module.
pub fn run(data: &[u8]) {
    node(data);
    thread_local! {
        static ZONE: Zone = zone();
    }
    for over_tcp in [false, true] {
        match ZONE.with(|zone| reply(zone, data, over_tcp)) {
            Reply::Drop => {}
            Reply::Respond(response) => check_response(data, &response, over_tcp),
            Reply::Forward(forwarded) => {
                if let Some(failure) = ZONE.with(|zone| forwarded.failure(zone, over_tcp)) {
                    check_response(data, &failure, over_tcp);
                }
            }
        }
    }
}

/// The DNS server of the node, with and without records for each name.
fn node(data: &[u8]) {
    let query = match read(data) {
        Packet::Nothing => return,
        Packet::Refused(refusal) => {
            let refusal = encoded(&refusal, 0, false).expect("a refusal can be sent");
            return assert!(Message::from_vec(&refusal).is_ok(), "a refusal can be read");
        }
        Packet::Question(query) => query,
    };
    let (_, name) = question(&query).expect("a question has a name");
    let payload = query.max_payload();
    let known = || Found::Known(records());
    for chain in [
        vec![(name.clone(), known())],
        vec![(name.clone(), Found::Nothing)],
        vec![(name.clone(), Found::Outside)],
        vec![(name.clone(), known()), (name.repeat(2), known()), ("outside.example".into(), Found::Outside)],
        vec![(name.clone(), resolve(&name, &[], &[]))],
    ] {
        let reply = respond(&query, &chain);
        for over_tcp in [false, true] {
            let Some(bytes) = encoded(&reply, payload, over_tcp) else { continue };
            let message = Message::from_vec(&bytes).expect("a response can be parsed");
            assert_eq!(message.metadata.id, query.metadata.id);
            assert_eq!(message.queries, query.queries, "a response repeats the question");
            let limit = usize::from(payload.clamp(512, 1232));
            assert!(over_tcp || bytes.len() <= limit || message.metadata.truncation, "{} bytes", bytes.len());
        }
        drop(onward(&query, &name));
    }
}

fn records() -> Records {
    let server =
        |n: u8| Server { port: 80, host: format!("h{n}.shop"), addresses: vec![[10, 0, 0, n].into()] };
    Records {
        addresses: (0..200).map(|n| [10, 0, 1, n].into()).collect(),
        alias: None,
        servers: (0..100).map(server).collect(),
        names: vec!["a.shop.svc.cluster.local".into()],
    }
}

fn check_response(query: &[u8], response: &[u8], over_tcp: bool) {
    let query = Message::from_vec(query).expect("only valid queries get a response");
    let message = Message::from_vec(response).expect("a response can be parsed");
    assert_eq!(message.metadata.id, query.metadata.id);
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert_eq!(message.queries, query.queries, "a response repeats the question");
    let limit = if over_tcp { usize::from(u16::MAX) } else { usize::from(query.max_payload().max(512)) };
    assert!(
        response.len() <= limit || message.metadata.truncation,
        "{} bytes, at most {limit}",
        response.len()
    );
}

fn zone() -> Zone {
    let host = |name: &str, registry: &str, short: &str, addresses: &[[u8; 4]]| {
        let info = NameInfo {
            addresses: addresses.iter().map(|a| IpAddr::from(*a)).collect(),
            registry: registry.to_owned(),
            short_name: short.to_owned(),
            namespace: "shop".to_owned(),
        };
        (name.to_owned(), info)
    };
    let many: Vec<[u8; 4]> = (0..100).map(|n| [10, 1, 0, n]).collect();
    let table = NameTable {
        hosts: [
            host("reviews.shop.svc.cluster.local", "Kubernetes", "reviews", &[[10, 96, 0, 1]]),
            host("many.shop.svc.cluster.local", "Kubernetes", "many", &many),
            host("api.example.com", "External", "", &[[240, 240, 0, 1]]),
            host("*.wild.example.com", "External", "", &[[240, 240, 0, 2]]),
        ]
        .into(),
    };
    let search = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"].map(str::to_owned);
    Zone::new(&table, "shop", &search)
}
