//! HTTP through a worker, over loopback sockets: what clients and upstreams see of each other.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test sets its own time and may fail")]

mod data;

use api::model::Resource;
use api::model::authorization::{Action, Authorization, Permission, Policy, Principal};
use api::model::cluster::{Cluster, UpstreamHttp};
use api::model::filter::buffer::Buffer;
use api::model::filter::cors::CorsPolicy;
use api::model::filter::fault::{AbortStatus, Fault, FaultAbort, FaultDelay};
use api::model::filter::{Filter, HttpFilter};
use api::model::listener::Protocol;
use api::model::matcher::{BackOff, Fraction, HeaderAction, HeaderMutations, HeaderWrite, StringMatch};
use api::model::route::{
    ClusterChoice, Mirror, PathMatch, Redirect, RetryOn, RetryPolicy, RouteAction, RouteMatch,
    WeightedCluster,
};
use data::*;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn istios_headers_of_peer_metadata_end_at_the_proxy() {
    run(async {
        let address = upstream(|_, mut client| async move {
            let head = client.head().await;
            let metadata = "x-envoy-peer-metadata: CAE=\r\nx-envoy-peer-metadata-id: sidecar~x\r\n";
            let length = head.len();
            client
                .send(&format!("HTTP/1.1 200 OK\r\n{metadata}content-length: {length}\r\n\r\n{head}"))
                .await;
        })
        .await;
        for (filters, kept) in
            [(vec![Filter::PeerMetadata, Filter::Router], false), (vec![Filter::Router], true)]
        {
            let mut http = http(routes(vec![route(forward("c"))]));
            http.filters = filters.into_iter().map(HttpFilter::from).collect();
            let proxy = Proxy::start(simple(http, cluster("c", &[address])));
            let mut client = proxy.connect().await;
            client
                .send("GET / HTTP/1.1\r\nhost: app\r\nx-envoy-peer-metadata: AAA\r\nx-envoy-peer-metadata-id: forged\r\n\r\n")
                .await;
            let response = client.response().await;
            assert_eq!(response.body.contains("x-envoy-peer-metadata"), kept, "{}", response.body);
            assert_eq!(response.head.contains("x-envoy-peer-metadata"), kept, "{}", response.head);
        }
    });
}

#[test]
fn requests_reach_the_upstream_and_share_its_connection() {
    run(async {
        let proxy = in_front_of(echo().await);
        let mut client = proxy.connect().await;
        for path in ["/one?a=b", "/two"] {
            let response = client.get(path).await;
            assert_eq!(response.status, 200);
            assert!(response.body.starts_with(&format!("0 GET {path} HTTP/1.1\r\n")), "{}", response.body);
            assert_eq!(response.header("server"), Some("envoy"));
            assert!(response.header("x-envoy-upstream-service-time").is_some());
            let lower = response.body.to_ascii_lowercase();
            for header in ["host: app", "x-request-id: ", "x-forwarded-proto: http"] {
                assert!(lower.contains(header), "{header} in {lower}");
            }
        }
        proxy.metric(&["istio_requests_total", "reporter=\"source\"", "response_code=\"200\"", " 2"]).await;
        let text = proxy.telemetry.render();
        assert!(text.contains("envoy_cluster_upstream_cx_total{cluster_name=\"c\"} 1\n"), "{text}");
        assert!(text.contains("envoy_cluster_upstream_rq_active{cluster_name=\"c\"} 0\n"), "{text}");
    });
}

#[test]
fn pipelined_requests_get_responses_in_order() {
    run(async {
        let proxy = in_front_of(echo().await);
        let mut client = proxy.connect().await;
        client
            .send(&["/1", "/2", "/3"].map(|p| format!("GET {p} HTTP/1.1\r\nhost: a\r\n\r\n")).concat())
            .await;
        for path in ["/1", "/2", "/3"] {
            let response = client.response().await;
            assert!(response.body.contains(&format!("GET {path} ")), "{}", response.body);
        }
    });
}

#[test]
fn bodies_and_trailers_pass_in_both_directions() {
    run(async {
        let address = upstream(|_, mut client| async move {
            let head = client.head().await;
            assert!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{head}");
            let body = client.chunks_for_test().await;
            let text = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-sum: 7\r\n\r\n", body.len());
            client.send(&text).await;
        })
        .await;
        let proxy = in_front_of(address);
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!((response.status, response.body.as_str()), (200, "abcdex-sum: 7"));
    });
}

#[test]
fn a_large_body_arrives_completely() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.head().await;
            let mut body = vec![0; 3_000_000];
            client.0.read_exact(&mut body).await.unwrap();
            let sum: u64 = body.iter().map(|b| u64::from(*b)).sum();
            client.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{:>7}", sum % 9_999_999)).await;
        })
        .await;
        let mut retrying = forward("c");
        retrying.retry = Some(retry(&[RetryOn::ServerError], 2));
        let proxy = Proxy::start(simple(http(routes(vec![route(retrying)])), cluster("c", &[address])));
        let mut client = proxy.connect().await;
        let body: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let sum: u64 = body.iter().map(|b| u64::from(*b)).sum();
        client.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n").await;
        client.0.write_all(&body).await.unwrap();
        assert_eq!(client.response().await.body.trim(), (sum % 9_999_999).to_string());
    });
}

#[test]
fn a_client_that_expects_100_gets_100_continue() {
    run(async {
        let proxy = in_front_of(echo().await);
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 100"));
        client.send("body").await;
        let response = client.response().await;
        assert!(response.body.ends_with("body"), "{}", response.body);
        assert!(!response.body.contains("expect"), "{}", response.body);
    });
}

#[test]
fn head_has_a_length_and_no_body() {
    run(async {
        let address = upstream(|_, mut client| async move {
            while !client.head().await.is_empty() {
                client.send("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
            }
        })
        .await;
        let proxy = in_front_of(address);
        let mut client = proxy.connect().await;
        for _ in 0..2 {
            client.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            let head = client.head().await;
            assert!(head.to_ascii_lowercase().contains("content-length: 1234"), "{head}");
        }
        assert!(proxy.telemetry.render().contains("upstream_cx_total{cluster_name=\"c\"} 1\n"));
    });
}

#[test]
fn local_replies_have_envoys_bodies() {
    run(async {
        let closed = tests::port::Refusing::new();
        let path = |path: &str, cluster: &str| {
            let mut route = route(forward(cluster));
            route.criteria = RouteMatch::path(PathMatch::Exact(path.into()));
            route
        };
        let all = vec![path("/closed", "closed"), path("/empty", "empty"), path("/missing", "missing")];
        let proxy = Proxy::start(vec![
            Resource::Cluster(Box::new(cluster("closed", &[closed.address]))),
            Resource::Cluster(Box::new(cluster("empty", &[]))),
            Resource::Listener(listener(Protocol::Http(Box::new(http(routes(all)))))),
        ]);
        let mut client = proxy.connect().await;
        for (path, status, body, flag) in [
            (
                "/closed",
                503,
                "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
                "UF",
            ),
            ("/empty", 503, "no healthy upstream", "UH"),
            ("/missing", 503, "", "NC"),
            ("/none", 404, "", "NR"),
        ] {
            let response = client.get(path).await;
            assert_eq!((response.status, response.body.as_str()), (status, body), "{path}");
            let (code, flags) = (format!("response_code=\"{status}\""), format!("response_flags=\"{flag}\""));
            proxy.metric(&["istio_requests_total", &code, &flags]).await;
        }
    });
}

#[test]
fn grpc_clients_get_their_kind_of_error() {
    run(async {
        let proxy = Proxy::start(simple(http(routes(vec![route(forward("c"))])), cluster("c", &[])));
        let mut client = proxy.connect().await;
        client.send("POST /s/m HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("grpc-status"), Some("14"));
        assert_eq!(response.header("grpc-message"), Some("no healthy upstream"));
        proxy
            .metric(&["istio_requests_total", "request_protocol=\"grpc\"", "grpc_response_status=\"14\""])
            .await;
    });
}

#[test]
fn ambiguous_requests_are_refused_or_normalized() {
    run(async {
        let proxy = in_front_of(echo().await);
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
            ("GET / HTTP/1.0\r\nhost: a\r\n\r\n", 426),
            ("CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", 404),
            ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
            ("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 403),
        ] {
            let mut client = proxy.connect().await;
            client.send(request).await;
            assert_eq!(client.response().await.status, status, "{request}");
        }
    });
}

fn retry(on: &[RetryOn], attempts: u32) -> RetryPolicy {
    RetryPolicy {
        on: on.to_vec(),
        status_codes: vec![],
        attempts,
        per_try_timeout: None,
        back_off: BackOff { base: Duration::from_millis(1), max: Duration::from_millis(2) },
        avoid_previous_hosts: 5,
        headers: vec![],
        request_headers: vec![],
    }
}

#[test]
fn a_server_error_is_repeated_with_its_body() {
    run(async {
        let seen = Rc::new(Cell::new(0));
        let count = seen.clone();
        let address = upstream(move |_, mut client| {
            let count = count.clone();
            async move {
                loop {
                    if client.head().await.is_empty() {
                        return;
                    }
                    let mut body = [0; 4];
                    client.0.read_exact(&mut body).await.unwrap();
                    assert_eq!(&body, b"body");
                    count.set(count.get() + 1);
                    let status = if count.get() < 3 { "503 X" } else { "200 OK" };
                    client.send(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")).await;
                }
            }
        })
        .await;
        let mut way = forward("c");
        way.retry = Some(retry(&[RetryOn::ServerError], 2));
        let proxy = Proxy::start(simple(http(routes(vec![route(way)])), cluster("c", &[address])));
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody").await;
        assert_eq!(client.response().await.status, 200);
        assert_eq!(seen.get(), 3);
        assert!(proxy.telemetry.render().contains("upstream_rq_retry{cluster_name=\"c\"} 2\n"));
    });
}

#[test]
fn another_endpoint_takes_over_when_one_refuses_connections() {
    run(async {
        let closed = tests::port::Refusing::new();
        let mut way = forward("c");
        way.retry = Some(retry(&[RetryOn::ConnectFailure], 2));
        let both = cluster("c", &[closed.address, echo().await]);
        let proxy = Proxy::start(simple(http(routes(vec![route(way)])), both));
        let mut client = proxy.connect().await;
        for _ in 0..10 {
            assert_eq!(client.get("/").await.status, 200);
        }
    });
}

#[test]
fn retries_use_endpoints_added_during_the_request() {
    run(async {
        let (asked, mut waiting) = tokio::sync::mpsc::unbounded_channel();
        let old = upstream(move |_, mut client| {
            let asked = asked.clone();
            async move {
                client.head().await;
                asked.send(client).unwrap();
            }
        })
        .await;
        let mut way = forward("c");
        way.retry = Some(retry(&[RetryOn::Reset], 1));
        let proxy = Proxy::start(simple(http(routes(vec![route(way)])), cluster("c", &[old])));
        let mut client = proxy.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let under_way = waiting.recv().await.unwrap();
        proxy.apply(vec![Resource::Cluster(Box::new(cluster("c", &[echo().await])))]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(under_way);
        assert_eq!(client.response().await.status, 200);
        assert!(waiting.try_recv().is_err(), "the removed endpoint received another request");
    });
}

#[test]
fn exhausted_repetitions_are_flagged() {
    run(async {
        let closed = tests::port::Refusing::new();
        let mut way = forward("c");
        way.retry = Some(retry(&[RetryOn::ConnectFailure], 1));
        let proxy = Proxy::start(simple(http(routes(vec![route(way)])), cluster("c", &[closed.address])));
        assert_eq!(proxy.connect().await.get("/").await.status, 503);
        proxy.metric(&["istio_requests_total", "response_flags=\"URX,UF\""]).await;
    });
}

#[test]
fn a_pooled_connection_that_was_closed_costs_no_request() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.head().await;
            client.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            // The second request on a connection finds it closed.
            client.0.read_u8().await.ok();
        })
        .await;
        let proxy = in_front_of(address);
        let mut client = proxy.connect().await;
        for number in 0..20 {
            assert_eq!(client.get("/").await.status, 200, "request {number}");
        }
    });
}

#[test]
fn a_slow_upstream_times_out() {
    run(async {
        let address = upstream(|_, mut client| async move {
            client.head().await;
            client.rest().await;
        })
        .await;
        let mut way = forward("c");
        way.timeout = Some(Duration::from_millis(50));
        let proxy = Proxy::start(simple(http(routes(vec![route(way)])), cluster("c", &[address])));
        let response = proxy.connect().await.get("/").await;
        assert_eq!((response.status, response.body.as_str()), (504, "upstream request timeout"));
        proxy.metric(&["istio_requests_total", "response_flags=\"UT\""]).await;
    });
}

#[test]
fn faults_delay_and_abort() {
    run(async {
        let always = Fraction { numerator: 100, denominator: 100 };
        let mut delayed = route(forward("c"));
        delayed.criteria = RouteMatch::path(PathMatch::Exact("/delay".into()));
        let delay = FaultDelay { duration: Duration::from_millis(80), fraction: always };
        delayed.filters = vec![Fault { delay: Some(delay), abort: None, ..Fault::default() }.into()];
        let mut aborted = route(forward("c"));
        let abort = FaultAbort { status: AbortStatus::Http(418), fraction: always };
        aborted.filters = vec![Fault { delay: None, abort: Some(abort), ..Fault::default() }.into()];
        let mut http = http(routes(vec![delayed, aborted]));
        http.filters = [Filter::Fault(Fault::default()), Filter::Router].map(HttpFilter::from).into();
        let proxy = Proxy::start(simple(http, cluster("c", &[echo().await])));
        let mut client = proxy.connect().await;
        let began = Instant::now();
        assert_eq!(client.get("/delay").await.status, 200);
        assert!(began.elapsed() >= Duration::from_millis(80));
        let response = client.get("/abort").await;
        assert_eq!((response.status, response.body.as_str()), (418, "fault filter abort"));
        proxy.metric(&["istio_requests_total", "response_flags=\"DI\""]).await;
        proxy.metric(&["istio_requests_total", "response_flags=\"FI\"", "response_code=\"418\""]).await;
    });
}

#[test]
fn copies_of_requests_have_the_host_that_the_route_wants() {
    run(async {
        for (keep_host, host) in [(true, "app:80"), (false, "app-shadow:80")] {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            let copy = upstream(move |_, mut client| {
                let sender = sender.clone();
                async move {
                    let _ = sender.send(client.head().await);
                }
            })
            .await;
            let fraction = Fraction { numerator: 100, denominator: 100 };
            let mut way = forward("c");
            way.mirrors = vec![Mirror { cluster: "copy".into(), fraction, keep_host }];
            let mut resources = simple(http(routes(vec![route(way)])), cluster("c", &[echo().await]));
            resources.push(Resource::Cluster(Box::new(cluster("copy", &[copy]))));
            let proxy = Proxy::start(resources);
            let mut client = proxy.connect().await;
            client.send("GET / HTTP/1.1\r\nhost: app:80\r\n\r\n").await;
            assert_eq!(client.response().await.status, 200);
            let head = receiver.recv().await.unwrap();
            assert!(head.to_ascii_lowercase().contains(&format!("host: {host}\r\n")), "{head}");
        }
    });
}

#[test]
fn copies_of_requests_count_and_are_limited_like_any_request() {
    run(async {
        let fraction = Fraction { numerator: 100, denominator: 100 };
        let mut way = forward("c");
        let copies = ["copy", "full", "closed"];
        way.mirrors = copies.map(|to| Mirror { cluster: to.into(), fraction, keep_host: true }).into();
        let closed = tests::port::Refusing::new();
        let mut full = cluster("full", &[echo().await]);
        full.limits.max_requests = 0;
        let mut resources = simple(http(routes(vec![route(way)])), cluster("c", &[echo().await]));
        for cluster in [cluster("copy", &[echo().await]), full, cluster("closed", &[closed.address])] {
            resources.push(Resource::Cluster(Box::new(cluster)));
        }
        let proxy = Proxy::start(resources);
        let mut client = proxy.connect().await;
        client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi").await;
        assert_eq!(client.response().await.status, 200);
        for (name, cluster) in [
            ("upstream_rq_2xx", "copy"),
            ("upstream_rq_pending_overflow", "full"),
            ("upstream_cx_connect_fail", "closed"),
        ] {
            proxy.metric(&[name, &format!("cluster_name=\"{cluster}\"}} 1")]).await;
        }
    });
}

#[test]
fn a_filter_that_is_off_acts_where_a_route_turns_it_on() {
    run(async {
        let abort = |status| {
            let fraction = Fraction { numerator: 100, denominator: 100 };
            let abort = Some(FaultAbort { status: AbortStatus::Http(status), fraction });
            Fault { abort, ..Fault::default() }
        };
        let mut turned_on = route(forward("c"));
        turned_on.criteria = RouteMatch::path(PathMatch::Exact("/on".into()));
        turned_on.filters = vec![abort(418).into()];
        let mut http = http(routes(vec![turned_on, route(forward("c"))]));
        let fault = HttpFilter { disabled: true, ..Filter::Fault(abort(500)).into() };
        http.filters = vec![fault, Filter::Router.into()];
        let proxy = Proxy::start(simple(http, cluster("c", &[echo().await])));
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        assert_eq!(client.get("/on").await.status, 418);
    });
}

#[test]
fn a_held_request_reaches_the_upstream_once_its_body_is_whole_and_within_its_limit() {
    run(async {
        let head = |path: &str| {
            format!("POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        };
        let mut more = route(forward("c"));
        more.criteria = RouteMatch::path(PathMatch::Exact("/more".into()));
        more.filters = vec![Buffer { max_request_bytes: 9 }.into()];
        let mut http = http(routes(vec![more, route(forward("c"))]));
        http.stream_idle_timeout = Some(Duration::from_millis(300));
        let buffer = Filter::Buffer(Buffer { max_request_bytes: 5 });
        http.filters = [buffer, Filter::Router].map(HttpFilter::from).into();
        let proxy = Proxy::start(simple(http, cluster("c", &[echo().await])));

        let mut slow = proxy.connect().await;
        slow.send(&head("/more")).await;
        let response = slow.response().await;
        assert_eq!((response.status, response.body.as_str()), (408, "stream timeout"));

        let mut long = proxy.connect().await;
        long.send(&format!("{}3\r\ndef\r\n", head("/"))).await;
        let response = long.response().await;
        assert_eq!((response.status, response.body.as_str()), (413, "Payload Too Large"));
        proxy.metric(&["envoy_http_downstream_rq_too_large", "\"test\"} 1"]).await;

        let mut client = proxy.connect().await;
        client.send(&head("/more")).await;
        client.send("3\r\ndef\r\n0\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!(response.status, 200);
        assert!(response.body.contains("content-length: 6"), "{}", response.body);
        assert!(response.body.ends_with("\r\n\r\nabcdef"), "{}", response.body);
        proxy.metric(&["upstream_rq_total", "cluster_name=\"c\"} 1"]).await;
    });
}

#[test]
fn allowed_origins_get_cors_headers_and_are_counted() {
    run(async {
        let mut with_policy = route(forward("c"));
        let policy = CorsPolicy {
            allow_origins: vec![StringMatch::exact("http://a.test")],
            allow_methods: "GET".into(),
            ..CorsPolicy::default()
        };
        with_policy.filters = vec![policy.into()];
        let mut http = http(routes(vec![with_policy]));
        http.filters = [Filter::Cors, Filter::Router].map(HttpFilter::from).into();
        let proxy = Proxy::start(simple(http, cluster("c", &[echo().await])));
        let mut client = proxy.connect().await;
        for (method, origin, allowed, methods) in [
            ("GET", "http://a.test", Some("http://a.test"), None),
            ("GET", "http://b.test", None, None),
            ("OPTIONS", "http://a.test", Some("http://a.test"), Some("GET")),
        ] {
            let head = format!("{method} / HTTP/1.1\r\nhost: a\r\norigin: {origin}\r\n");
            client.send(&format!("{head}access-control-request-method: PUT\r\n\r\n")).await;
            let response = client.response().await;
            let found = ["access-control-allow-origin", "access-control-allow-methods"];
            assert_eq!(found.map(|name| response.header(name)), [allowed, methods], "{method} {origin}");
        }
        proxy.metric(&["envoy_http_cors_origin_valid", "\"test\"} 2"]).await;
        proxy.metric(&["envoy_http_cors_origin_invalid", "\"test\"} 1"]).await;
    });
}

#[test]
fn authorization_denies_by_path() {
    run(async {
        let policy = Policy {
            name: "admin".into(),
            permissions: vec![Permission::Path(StringMatch::prefix("/admin"))],
            principals: vec![Principal::Any],
        };
        let rules = Authorization { action: Action::Deny, policies: vec![policy], shadow: false };
        let mut http = http(routes(vec![route(forward("c"))]));
        http.filters = [Filter::Rbac(vec![rules]), Filter::Router].map(HttpFilter::from).into();
        let proxy = Proxy::start(simple(http, cluster("c", &[echo().await])));
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        let response = client.get("/admin/x").await;
        assert_eq!((response.status, response.body.as_str()), (403, "RBAC: access denied"));
    });
}

#[test]
fn weights_rewrites_redirects_and_headers_apply() {
    run(async {
        let (one, two) = (echo().await, echo().await);
        let mut split = route(forward(""));
        split.criteria = RouteMatch::path(PathMatch::Prefix("/split".into()));
        split.response_headers.write =
            vec![HeaderWrite { name: "x-route".into(), value: "split".into(), action: HeaderAction::Set }];
        let mut way = forward("");
        let weighted = |name: &str, weight| WeightedCluster {
            name: name.into(),
            weight,
            request_headers: HeaderMutations::default(),
            response_headers: HeaderMutations::default(),
            host_rewrite: Some("rewritten".into()),
        };
        way.clusters = ClusterChoice::Weighted(vec![weighted("one", 0), weighted("two", 1)]);
        way.prefix_rewrite = Some("/new".into());
        split.action = RouteAction::Forward(Box::new(way));
        let mut moved = route(forward(""));
        moved.action =
            RouteAction::Redirect(Redirect { status: 302, host: Some("b".into()), ..Default::default() });
        let proxy = Proxy::start(vec![
            Resource::Cluster(Box::new(cluster("one", &[one]))),
            Resource::Cluster(Box::new(cluster("two", &[two]))),
            Resource::Listener(listener(Protocol::Http(Box::new(http(routes(vec![split, moved])))))),
        ]);
        let mut client = proxy.connect().await;
        let response = client.get("/split/x?y").await;
        assert_eq!(response.header("x-route"), Some("split"));
        let seen = response.body.to_ascii_lowercase();
        for part in ["get /new/x?y ", "host: rewritten", "x-envoy-original-path: /split/x?y"] {
            assert!(seen.contains(part), "{part} in {seen}");
        }
        let response = client.get("/other").await;
        assert_eq!((response.status, response.header("location")), (302, Some("http://b/other")));
    });
}

#[test]
fn websockets_are_joined_with_half_closes() {
    run(async {
        let address = upstream(|_, mut client| async move {
            let head = client.head().await.to_ascii_lowercase();
            assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
            client.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\nhello").await;
            let mut text = [0; 4];
            client.0.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"ping");
            client.send("pong").await;
        })
        .await;
        // Also if requests are sent over HTTP/2, as with h2UpgradePolicy.
        for version in [UpstreamHttp::Http1, UpstreamHttp::Http2, UpstreamHttp::Negotiated] {
            let mut http = http(routes(vec![route(forward("c"))]));
            http.upgrades = vec!["websocket".into()];
            let cluster = Cluster { http: version, ..cluster("c", &[address]) };
            let proxy = Proxy::start(simple(http, cluster));
            let mut client = proxy.connect().await;
            client
                .send("GET /ws HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n")
                .await;
            let head = client.head().await.to_ascii_lowercase();
            assert!(
                head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"),
                "{version:?} {head}"
            );
            client.send("ping").await;
            assert_eq!(client.rest().await, "hellopong");
            drop(client);
            proxy.metric(&["istio_requests_total", "response_code=\"101\""]).await;
        }
    });
}

#[test]
fn draining_completes_active_requests_and_announces_the_close() {
    run(async {
        let (go, wait) = tokio::sync::watch::channel(false);
        let address = upstream(move |_, mut client| {
            let mut wait = wait.clone();
            async move {
                client.head().await;
                wait.wait_for(|go| *go).await.unwrap();
                client.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                client.rest().await;
            }
        })
        .await;
        let proxy = in_front_of(address);
        let mut client = proxy.connect().await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        while !proxy.telemetry.render().contains("upstream_rq_active{cluster_name=\"c\"} 1") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        proxy.drainer.start(Instant::now() + Duration::from_secs(10), false);
        tokio::time::sleep(Duration::from_millis(20)).await;
        go.send(true).unwrap();
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert_eq!(client.rest().await, "");
        proxy.worker.await.unwrap();
    });
}

#[test]
fn a_change_of_routes_disturbs_no_connection() {
    run(async {
        let (one, two) = (echo().await, echo().await);
        let table = |to: &str| {
            let mut table = routes(vec![route(forward(to))]);
            table.name = "80".into();
            Resource::Route(table)
        };
        let http = api::model::listener::HttpConnection::new(
            "t",
            api::model::listener::RouteSource::Rds("80".into()),
        );
        let mut all = simple(http, cluster("one", &[one]));
        all.push(Resource::Cluster(Box::new(cluster("two", &[two]))));
        all.push(table("one"));
        let proxy = Proxy::start(all);
        let mut client = proxy.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        proxy.apply(vec![table("two")]);
        for _ in 0..50 {
            assert_eq!(client.get("/").await.status, 200);
        }
        let text = proxy.telemetry.render();
        assert!(text.contains("upstream_rq_total{cluster_name=\"two\"}"), "{text}");
        assert!(text.contains("downstream_cx_total{listener_address=\"in\"} 1\n"), "{text}");
    });
}

#[test]
fn a_host_for_tls_only_sends_plain_requests_to_https_even_without_routes() {
    run(async {
        let mut table = routes(vec![]);
        table.virtual_hosts[0].require_tls = true;
        let proxy = Proxy::start(vec![Resource::Listener(listener(Protocol::Http(Box::new(http(table)))))]);
        let mut client = proxy.connect().await;
        let response = client.get("/path?x").await;
        let location = response.header("location").unwrap_or_default();
        assert!(response.status == 301 && location.starts_with("https://"), "{} {location}", response.status);
        assert!(location.ends_with("/path?x"), "{location}");
    });
}
