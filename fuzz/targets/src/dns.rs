//! DNS packets from applications, for the proxy and for the node of `ostria up`: dropped, forwarded or answered, and every
//! answer is one that its asker can read and take for its own.

use api::model::workload::{NameInfo, NameTable};
use api::process::dns::message::encoded;
use cli::kubelet::reply::{Asked, answer, onward, question, read};
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
            Reply::Respond(answer) => answers(data, &answer, over_tcp),
            Reply::Forward(unanswered) => {
                if let Some(failure) = ZONE.with(|zone| unanswered.failure(zone, over_tcp)) {
                    answers(data, &failure, over_tcp);
                }
            }
        }
    }
}

/// The name server of the node, which knows everything of each name, or nothing.
fn node(data: &[u8]) {
    let asked = match read(data) {
        Asked::Nothing => return,
        Asked::Refused(refusal) => {
            let refusal = encoded(&refusal, 0, false).expect("a refusal can be sent");
            return assert!(Message::from_vec(&refusal).is_ok(), "a refusal can be read");
        }
        Asked::Question(asked) => asked,
    };
    let (_, name) = question(&asked).expect("a question has a name");
    let payload = asked.max_payload();
    let known = || Found::Known(records());
    for chain in [
        vec![(name.clone(), known())],
        vec![(name.clone(), Found::Nothing)],
        vec![(name.clone(), Found::Outside)],
        vec![(name.clone(), known()), (name.repeat(2), known()), ("outside.example".into(), Found::Outside)],
        vec![(name.clone(), resolve(&name, &[], &[]))],
    ] {
        let reply = answer(&asked, &chain);
        for over_tcp in [false, true] {
            let Some(bytes) = encoded(&reply, payload, over_tcp) else { continue };
            let message = Message::from_vec(&bytes).expect("an answer can be read");
            assert_eq!(message.metadata.id, asked.metadata.id);
            assert_eq!(message.queries, asked.queries, "an answer repeats the question");
            let limit = usize::from(payload.clamp(512, 1232));
            assert!(over_tcp || bytes.len() <= limit || message.metadata.truncation, "{} bytes", bytes.len());
        }
        drop(onward(&asked, &name));
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

fn answers(query: &[u8], answer: &[u8], over_tcp: bool) {
    let query = Message::from_vec(query).expect("only what can be read is answered");
    let message = Message::from_vec(answer).expect("an answer can be read");
    assert_eq!(message.metadata.id, query.metadata.id);
    assert_eq!(message.metadata.message_type, MessageType::Response);
    assert_eq!(message.queries, query.queries, "an answer repeats the question");
    let limit = if over_tcp { usize::from(u16::MAX) } else { usize::from(query.max_payload().max(512)) };
    assert!(answer.len() <= limit || message.metadata.truncation, "{} bytes, at most {limit}", answer.len());
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
