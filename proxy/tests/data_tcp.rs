//! Opaque bytes through a worker: which end may send first, how connections close, and which filter chain matches.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test sets its own time and may fail")]

mod data;

use api::model::Resource;
use api::model::authorization::{Action, Authorization, Permission, Policy, Principal};
use api::model::listener::{ChainMatch, Inspect, Listener, Protocol, Transport};
use api::model::port_set::PortSet;
use data::*;
use proxy::snapshot::Update;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn through(listener: Listener, address: SocketAddr) -> Vec<Resource> {
    vec![Resource::Cluster(Box::new(cluster("c", &[address]))), Resource::Listener(listener)]
}

#[test]
fn a_server_may_send_the_first_bytes() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.send("220 ready\r\n").await;
            let mut text = [0; 4];
            client.0.read_exact(&mut text).await.unwrap();
            client.send("bye").await;
        })
        .await;
        let mut listener = listener(tcp("c"));
        listener.inspect = Inspect {
            original_destination: false.into(),
            tls: true.into(),
            http: true.into(),
            timeout: Some(Duration::from_millis(50)),
            continue_on_timeout: true,
        };
        let proxy = Proxy::start(through(listener, address));
        let mut client = proxy.connect().await;
        let mut greeting = [0; 11];
        client.0.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220 ready\r\n");
        client.send("QUIT").await;
        assert_eq!(client.rest().await, "bye");
    });
}

#[test]
fn a_port_whose_inspection_is_disabled_waits_for_no_bytes() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.send("220 ready\r\n").await;
            client.rest().await;
        })
        .await;
        let mut listener = listener(tcp("c"));
        // Only port 0, which no connection has, is inspected, without a timeout.
        let nowhere: PortSet = [0].into_iter().collect();
        listener.inspect = Inspect { tls: nowhere.clone(), http: nowhere, ..Inspect::default() };
        let proxy = Proxy::start(through(listener, address));
        let mut client = proxy.connect().await;
        let mut greeting = [0; 11];
        client.0.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220 ready\r\n");
    });
}

#[test]
fn a_silent_client_is_closed_where_its_first_bytes_are_required() {
    run(async {
        let mut listener = listener(tcp("c"));
        listener.inspect =
            Inspect { tls: true.into(), timeout: Some(Duration::from_millis(50)), ..Inspect::default() };
        let proxy = Proxy::start(through(listener, echo().await));
        let mut client = proxy.connect().await;
        client.0.write_all(&[22, 3, 1]).await.unwrap();
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn half_closed_connections_finish_and_are_counted() {
    run(async {
        let address = upstream(|_, mut client| async move {
            let text = client.rest().await;
            client.send(&text.to_uppercase()).await;
        })
        .await;
        let proxy = Proxy::start(through(listener(tcp("c")), address));
        let mut client = proxy.connect().await;
        client.send("question").await;
        client.0.shutdown().await.unwrap();
        assert_eq!(client.rest().await, "QUESTION");
        proxy.metric(&["istio_tcp_connections_closed_total", "request_protocol=\"tcp\"", " 1"]).await;
        for metric in ["istio_tcp_sent_bytes_total", "istio_tcp_received_bytes_total"] {
            proxy.metric(&[metric, "response_flags=\"-\"", " 8"]).await;
        }
    });
}

#[test]
fn bytes_of_a_long_connection_are_counted_while_it_lives() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.send("12345").await;
            client.rest().await;
        })
        .await;
        let proxy = Proxy::start(through(listener(tcp("c")), address));
        let mut client = proxy.connect().await;
        let mut text = [0; 5];
        client.0.read_exact(&mut text).await.unwrap();
        proxy.metric(&["istio_tcp_sent_bytes_total", " 5"]).await;
    });
}

#[test]
fn a_refused_connection_is_reset_and_flagged() {
    run(async {
        let closed = tests::port::Refusing::new();
        let proxy = Proxy::start(through(listener(tcp("c")), closed.address));
        let mut client = proxy.connect().await;
        assert_eq!(client.rest().await, "");
        proxy.metric(&["istio_tcp_connections_closed_total", "response_flags=\"UF,URX\""]).await;
    });
}

#[test]
fn filter_chains_are_selected_by_the_clients_first_bytes() {
    run(async {
        let (plain, named) = (echo().await, echo().await);
        let mut listener = listener(tcp("plain"));
        listener.inspect = Inspect {
            tls: true.into(),
            http: true.into(),
            timeout: Some(Duration::from_secs(5)),
            ..Inspect::default()
        };
        let criteria = |transport, protocols: &[&str]| ChainMatch {
            transport: Some(transport),
            application_protocols: protocols.iter().map(|p| (*p).to_owned()).collect(),
            ..ChainMatch::default()
        };
        let mut web = chain("http", Protocol::Http(Box::new(http(routes(vec![route(forward("named"))])))));
        web.criteria = criteria(Transport::Raw, &["http/1.1", "h2c"]);
        listener.chains[0].criteria = criteria(Transport::Raw, &[]);
        listener.chains.push(web);
        let proxy = Proxy::start(vec![
            Resource::Cluster(Box::new(cluster("plain", &[plain]))),
            Resource::Cluster(Box::new(cluster("named", &[named]))),
            Resource::Listener(listener),
        ]);
        let mut client = proxy.connect().await;
        assert!(client.get("/").await.body.to_ascii_lowercase().contains("x-request-id"));
        let mut client = proxy.connect().await;
        client.send("get / weird\r\n\r\n").await;
        assert!(client.response().await.body.contains("get / weird"));
        // No filter chain matches TLS here.
        let mut client = proxy.connect().await;
        let hello = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
        client.0.write_all(&hello).await.unwrap();
        assert_eq!(client.rest().await, "");
        assert!(
            proxy
                .telemetry
                .render()
                .contains("envoy_listener_no_filter_chain_match{listener_address=\"in\"}")
        );
    });
}

#[test]
fn authorization_refuses_a_connection_before_connecting_upstream() {
    run(async {
        let address = upstream(|_, _| async { panic!("the upstream is reached") }).await;
        let mut listener = listener(tcp("c"));
        let policy = Policy {
            name: "mesh".into(),
            permissions: vec![Permission::Any],
            principals: vec![Principal::Authenticated(None)],
        };
        listener.chains[0].authorization =
            vec![Authorization { action: Action::Allow, policies: vec![policy], shadow: false }];
        let proxy = Proxy::start(through(listener, address));
        assert_eq!(proxy.connect().await.rest().await, "");
    });
}

#[test]
fn a_removed_listener_takes_no_connection_and_a_changed_cluster_disturbs_none() {
    run(async {
        let proxy = Proxy::start(through(listener(tcp("c")), echo().await));
        let address = proxy.address("in").await;
        let mut client = proxy.connect().await;
        assert!(client.get("/1").await.body.contains("GET /1"));
        proxy.apply(vec![Resource::Cluster(Box::new(cluster("c", &[echo().await])))]);
        assert!(client.get("/2").await.body.contains("0 GET /2"));
        let gone = vec![(api::model::Kind::Listener, "in".to_owned())];
        proxy.update(Update { upsert: vec![], remove: gone });
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(client.get("/3").await.body.contains("0 GET /3"), "open connections continue for a while");
    });
}

#[test]
fn draining_closes_remaining_connections_at_the_deadline() {
    run(async {
        let proxy = Proxy::start(through(listener(tcp("c")), echo().await));
        let mut client = proxy.connect().await;
        client.get("/").await;
        let began = std::time::Instant::now();
        proxy.drainer.start(began + Duration::from_millis(400), false);
        assert_eq!(client.rest().await, "");
        assert!(began.elapsed() >= Duration::from_millis(400));
        proxy.worker.await.unwrap();
    });
}

#[test]
fn limits_on_connections_hold() {
    run(async {
        let mut limited = cluster("c", &[echo().await]);
        limited.limits.max_connections = 1;
        let proxy =
            Proxy::start(vec![Resource::Cluster(Box::new(limited)), Resource::Listener(listener(tcp("c")))]);
        let mut first = proxy.connect().await;
        first.get("/").await;
        assert_eq!(proxy.connect().await.rest().await, "");
        drop(first);
        proxy.metric(&["istio_tcp_connections_closed_total", "response_flags=\"UO\""]).await;
        while !proxy.telemetry.render().contains("upstream_cx_active{cluster_name=\"c\"} 0") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(proxy.connect().await.get("/").await.body.contains("GET"));
    });
}
