//! DNS packets from applications: dropped, forwarded or answered, and every answer is one that its asker can read and
//! take for its own.

use api::model::workload::{NameInfo, NameTable};
use hickory_proto::op::{Message, MessageType};
use proxy::dns::reply::{Reply, reply};
use proxy::dns::zone::Zone;
use std::net::IpAddr;

/// See the module.
pub fn run(data: &[u8]) {
    thread_local! {
        static ZONE: Zone = zone();
    }
    for over_tcp in [false, true] {
        match ZONE.with(|zone| reply(zone, data, over_tcp)) {
            Reply::Drop => {}
            Reply::Answer(answer) => answers(data, &answer, over_tcp),
            Reply::Forward(unanswered) => {
                if let Some(failure) = ZONE.with(|zone| unanswered.failure(zone, over_tcp)) {
                    answers(data, &failure, over_tcp);
                }
            }
        }
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
