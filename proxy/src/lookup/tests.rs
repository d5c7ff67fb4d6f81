//! Lookups against a test name server on the loopback interface.

use super::*;
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, Record};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Fills the response to a query; the flag is `true` over TCP.
type Responder = fn(&str, RecordType, bool, &mut Message);

struct Fixture {
    queries: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
    servers: NameServers,
    resolv: ResolvConf,
}

fn reply(packet: &[u8], over_tcp: bool, respond: Responder, queries: &Mutex<Vec<String>>) -> Vec<u8> {
    let question = Message::from_vec(packet).unwrap();
    let query = question.queries[0].clone();
    let mut reply = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    reply.add_query(query.clone());
    queries.lock().unwrap().push(format!("{} {}", query.name(), query.query_type()));
    respond(&query.name().to_string(), query.query_type(), over_tcp, &mut reply);
    reply.to_vec().unwrap()
}

/// A port that is free for both UDP and TCP: another test may have the one that UDP gets.
async fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

impl Fixture {
    async fn new(respond: Responder) -> Self {
        let (udp, tcp) = sockets().await;
        let address: SocketAddr = udp.local_addr().unwrap();
        let queries = Arc::new(Mutex::new(vec![]));
        let (log, other) = (queries.clone(), queries.clone());
        tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut packet).await {
                udp.send_to(&reply(&packet[..length], false, respond, &log), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut packet = vec![0; length.into()];
                stream.read_exact(&mut packet).await.unwrap();
                let reply = reply(&packet, true, respond, &other);
                stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                stream.write_all(&reply).await.unwrap();
            }
        });
        let resolv = ResolvConf { servers: vec![address], search: vec!["shop".into()], dots: 1 };
        let servers = NameServers::new(&resolv, None, None);
        Self { queries, folder: tempfile::tempdir().unwrap(), servers, resolv }
    }

    async fn of(&self, name: &str, family: AddressFamily) -> Result<Addresses, String> {
        of_candidate(&self.servers, name, family).await.map_err(|error| error.to_string())
    }
}

fn both(name: &str, kind: RecordType, _: bool, reply: &mut Message) {
    let name = hickory_proto::rr::Name::from_ascii(name).unwrap();
    if kind == RecordType::A {
        reply.add_answer(Record::from_rdata(name.clone(), 30, RData::A(A::new(10, 0, 0, 2))));
        reply.add_answer(Record::from_rdata(name, 9, RData::A(A::new(10, 0, 0, 1))));
    } else {
        reply.add_answer(Record::from_rdata(name, 5, RData::AAAA(AAAA::new(0xfd, 0, 0, 0, 0, 0, 0, 1))));
    }
}

fn list(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap()).collect()
}

#[tokio::test]
async fn each_family_sends_its_queries_and_keeps_preferred_addresses() {
    let fixture = Fixture::new(both).await;
    let v4: &[&str] = &["10.0.0.1", "10.0.0.2"];
    let table: &[(AddressFamily, &[&str], u64, usize)] = &[
        (AddressFamily::V4, v4, 9, 1),
        (AddressFamily::V6, &["fd::1"], 5, 1),
        (AddressFamily::V4OrV6, v4, 5, 2),
        (AddressFamily::V6OrV4, &["fd::1"], 5, 2),
        (AddressFamily::All, &["10.0.0.1", "10.0.0.2", "fd::1"], 5, 2),
    ];
    for (family, addresses, ttl, questions) in table {
        fixture.queries.lock().unwrap().clear();
        let found = fixture.of("db.", *family).await.unwrap();
        let expected = Addresses { list: list(addresses), ttl: Some(Duration::from_secs(*ttl)) };
        assert_eq!(found, expected, "{family:?}");
        assert_eq!(fixture.queries.lock().unwrap().len(), *questions, "{family:?}");
    }
}

#[tokio::test]
async fn a_lookup_fails_only_if_all_families_fail() {
    let half: Responder = |name, kind, over_tcp, reply| {
        if kind == RecordType::A {
            both(name, kind, over_tcp, reply);
        } else {
            reply.metadata.response_code = ResponseCode::ServFail;
        }
    };
    let fixture = Fixture::new(half).await;
    assert_eq!(fixture.of("db.", AddressFamily::All).await.unwrap().list, list(&["10.0.0.1", "10.0.0.2"]));
    assert!(fixture.of("db.", AddressFamily::V6).await.is_err());
    let none = Fixture::new(|_, _, _, reply| reply.metadata.response_code = ResponseCode::NXDomain).await;
    assert_eq!(none.of("db.", AddressFamily::All).await, Ok(Addresses::default()));
}

#[tokio::test]
async fn truncated_responses_are_retried_over_tcp() {
    let cut: Responder = |name, kind, over_tcp, reply| {
        if over_tcp {
            both(name, kind, over_tcp, reply);
        } else {
            reply.metadata.truncation = true;
        }
    };
    let fixture = Fixture::new(cut).await;
    assert_eq!(fixture.of("db.", AddressFamily::V4).await.unwrap().list.len(), 2);
    assert_eq!(fixture.queries.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn hosts_come_first_and_short_names_are_completed() {
    let completed: Responder = |name, kind, over_tcp, reply| match name {
        "db.shop." => both(name, kind, over_tcp, reply),
        _ => reply.metadata.response_code = ResponseCode::NXDomain,
    };
    let fixture = Fixture::new(completed).await;
    let hosts = fixture.folder.path().join("hosts");
    std::fs::write(&hosts, "10.9.9.9 web\n").unwrap();
    let resolver = Resolver { hosts, resolv_conf: "/nonexistent".into(), mark: None };
    let of = |name: &'static str| resolver.look_up_at(name, AddressFamily::V4, &fixture.resolv);
    assert_eq!(of("web").await.unwrap(), Addresses { list: list(&["10.9.9.9"]), ttl: None });
    assert!(fixture.queries.lock().unwrap().is_empty());
    assert_eq!(of("db").await.unwrap().list.len(), 2);
    assert_eq!(of("gone.example").await.unwrap(), Addresses::default());
    let queries = fixture.queries.lock().unwrap().join(", ");
    assert_eq!(queries, "db.shop. A, gone.example. A, gone.example.shop. A");
}
