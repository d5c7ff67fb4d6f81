//! Golden files of typical resources in Envoy's JSON. They show how a change of the codec changes the wire form.

use super::json::Schema;
use super::{Target, decode, encode};
use crate::model::Resource;
use crate::model::access_log::{AccessLog, JsonFormat, LogFormat, LogSink};
use crate::model::authorization::{Action, Authorization, Permission, Policy, Principal};
use crate::model::cluster::*;
use crate::model::endpoint::*;
use crate::model::filter::fault::{AbortStatus, Fault, FaultAbort, FaultDelay};
use crate::model::filter::{Filter, FilterOverride, HttpFilter};
use crate::model::listener::*;
use crate::model::matcher::*;
use crate::model::port_set::PortSet;
use crate::model::route::*;
use crate::model::secret::{Secret, SecretContent};
use crate::model::tls::*;
use crate::model::workload::{NameInfo, NameTable, Workload};
use std::time::Duration;

fn check(name: &str, resource: &Resource) {
    let istio = Target { istio_extensions: true };
    let any = encode(resource, &istio);
    assert_eq!(decode(&any).as_ref(), Ok(resource));
    let text = serde_json::to_string_pretty(&Schema::load().to_json(&any)).unwrap();
    insta::assert_snapshot!(name, text);
}

/// One resource of each kind that proxies receive over ADS, with many fields set.
pub(super) fn resources() -> Vec<Resource> {
    vec![
        Resource::Listener(inbound()),
        Resource::Listener(outbound()),
        Resource::Route(reviews_routes()),
        Resource::Cluster(Box::new(reviews_cluster())),
        Resource::Cluster(Box::new(application_cluster())),
        Resource::Endpoints(reviews_endpoints()),
    ]
}

#[test]
fn inbound_listener() {
    check("inbound_listener", &Resource::Listener(inbound()));
}

#[test]
fn outbound_listener() {
    check("outbound_listener", &Resource::Listener(outbound()));
}

#[test]
fn routes() {
    check("routes", &Resource::Route(reviews_routes()));
}

#[test]
fn cluster_with_automatic_mtls() {
    check("cluster_with_automatic_mtls", &Resource::Cluster(Box::new(reviews_cluster())));
}

#[test]
fn inbound_cluster() {
    check("inbound_cluster", &Resource::Cluster(Box::new(application_cluster())));
}

#[test]
fn endpoints() {
    check("endpoints", &Resource::Endpoints(reviews_endpoints()));
}

#[test]
fn certificate() {
    let content = SecretContent::Certificate { chain: "CHAIN".into(), key: "KEY".into() };
    check("certificate", &Resource::Secret(Secret { name: "default".into(), content }));
}

#[test]
fn trust_anchors() {
    let content = SecretContent::Roots { bundle: "ROOTS".into() };
    check("trust_anchors", &Resource::Secret(Secret { name: "ROOTCA".into(), content }));
}

/// The bytes of Istio's own messages, which have no JSON form here.
#[test]
fn workloads_and_names_have_istios_field_numbers() {
    let workload = Workload {
        uid: "u".into(),
        name: "n".into(),
        namespace: "s".into(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        cluster_id: "K".into(),
        ..Workload::default()
    };
    let any = encode(&Resource::Workload(workload), &Target::default());
    // Address{1: Workload{1: name, 2: namespace, 3: addresses, 18: cluster id, 20: uid}}
    let fields = b"\x0a\x01n\x12\x01s\x1a\x04\x0a\x00\x00\x01\x92\x01\x01K\xa2\x01\x01u";
    let mut sorted = any.value[2..].to_vec();
    let mut expected = fields.to_vec();
    assert_eq!(any.value[..2], [0x0a, fields.len() as u8]);
    sorted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(sorted, expected);

    let info = NameInfo { addresses: vec!["10.0.0.1".parse().unwrap()], ..NameInfo::default() };
    let table = NameTable { hosts: [("h".to_owned(), info)].into() };
    let any = encode(&Resource::Names(table), &Target::default());
    assert_eq!(any.value, b"\x0a\x0f\x0a\x01h\x12\x0a\x0a\x0810.0.0.1");
}

/// The listener for captured inbound connections: mTLS with identity, plaintext beside it.
fn inbound() -> Listener {
    let permissive = |name: &str, tls: Option<DownstreamTls>, transport| FilterChain {
        name: name.into(),
        criteria: ChainMatch {
            destination_port: Some(9080),
            transport: Some(transport),
            application_protocols: if tls.is_some() {
                vec!["istio".into(), "istio-h2".into()]
            } else {
                vec![]
            },
            ..ChainMatch::default()
        },
        tls,
        authorization: vec![],
        protocol: Protocol::Http(Box::new(inbound_http())),
    };
    Listener {
        name: "virtualInbound".into(),
        address: "0.0.0.0:15006".parse().unwrap(),
        bind_to_port: true,
        direction: Direction::Inbound,
        use_original_destination: false,
        inspect: Inspect {
            original_destination: true.into(),
            tls: [9090, 9100, 9101].into_iter().collect::<PortSet>().complement(),
            http: [9080].into_iter().collect::<PortSet>().complement(),
            timeout: None,
            continue_on_timeout: true,
        },
        chains: vec![
            permissive("0.0.0.0_9080", Some(server_tls()), Transport::Tls),
            permissive("0.0.0.0_9080", None, Transport::Raw),
        ],
        default_chain: Some(FilterChain {
            name: "virtualInbound-blackhole".into(),
            criteria: ChainMatch::default(),
            tls: None,
            authorization: vec![network_rules()],
            protocol: Protocol::Tcp(tcp("BlackHoleCluster")),
        }),
    }
}

fn inbound_http() -> HttpConnection {
    let table = RouteConfiguration {
        name: "inbound|9080||".into(),
        virtual_hosts: vec![VirtualHost {
            name: "inbound|http|9080".into(),
            domains: vec!["*".into()],
            routes: vec![Route {
                name: "default".into(),
                criteria: RouteMatch::any(),
                action: RouteAction::Forward(Box::new(Forward::to("inbound|9080||"))),
                request_headers: HeaderMutations::default(),
                response_headers: HeaderMutations::default(),
                filters: vec![],
                origin: None,
            }],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    let mut http = HttpConnection::new("inbound_0.0.0.0_9080", RouteSource::Inline(table));
    http.server_name = Some("istio-envoy".into());
    http.stream_idle_timeout = None;
    http.normalize_path = true;
    http.upgrades = vec!["websocket".into()];
    http.client_certificate = ForwardClientCertificate {
        mode: ForwardMode::AppendForward,
        subject: true,
        uri: true,
        dns: true,
        ..ForwardClientCertificate::default()
    };
    http.access_log =
        vec![AccessLog { sink: LogSink::Stdout, format: LogFormat::DefaultText, omit_empty: false }];
    http.filters = [
        Filter::PeerMetadata,
        Filter::Rbac(vec![http_rules()]),
        Filter::GrpcStats,
        Filter::Fault(Fault::default()),
        Filter::Cors,
        Filter::Stats,
        Filter::Router,
    ]
    .map(HttpFilter::from)
    .into();
    http
}

fn server_tls() -> DownstreamTls {
    DownstreamTls {
        common: TlsParameters {
            min: Some(TlsVersion::V1_2),
            max: None,
            alpn: vec!["h2".into(), "http/1.1".into()],
            certificates: vec![CertificateSource::Sds("default".into())],
            validation: Some(Validation {
                roots: RootSource::Sds("ROOTCA".into()),
                subject_alt_names: vec![SanMatch {
                    kind: Some(SanKind::Uri),
                    value: StringMatch::prefix("spiffe://cluster.local/"),
                }],
            }),
        },
        require_client_certificate: true,
    }
}

fn http_rules() -> Authorization {
    let header = HeaderMatch {
        name: ":method".into(),
        test: HeaderTest::Text(StringMatch::exact("GET")),
        invert: false,
        missing_as_empty: false,
    };
    let policy = |name: &str| Policy {
        name: name.into(),
        permissions: vec![Permission::And(vec![
            Permission::Header(header.clone()),
            Permission::Path(StringMatch::prefix("/")),
            Permission::DestinationPort(9080),
        ])],
        principals: vec![Principal::Or(vec![
            Principal::Authenticated(Some(StringMatch::exact("cluster.local/ns/default/sa/client"))),
            Principal::DirectRemoteIp("10.0.0.0/8".parse().unwrap()),
        ])],
    };
    let policies = ["ns[default]-policy[b]-rule[0]", "ns[default]-policy[c]-rule[0]"].map(policy);
    Authorization { action: Action::Allow, policies: policies.into(), shadow: false }
}

fn network_rules() -> Authorization {
    let policy = Policy {
        name: "ns[default]-policy[a]-rule[0]".into(),
        permissions: vec![Permission::Not(Box::new(Permission::DestinationPort(8080)))],
        principals: vec![Principal::Any],
    };
    Authorization { action: Action::Deny, policies: vec![policy], shadow: true }
}

fn tcp(cluster: &str) -> TcpProxy {
    TcpProxy {
        stat_prefix: cluster.into(),
        clusters: ClusterChoice::Single(cluster.into()),
        idle_timeout: Some(Duration::from_secs(3600)),
        max_connect_attempts: 1,
        access_log: vec![],
    }
}

/// An unbound listener of one port: HTTP by route discovery, other protocols as opaque bytes.
fn outbound() -> Listener {
    let mut http = HttpConnection::new("outbound_0.0.0.0_9080", RouteSource::Rds("9080".into()));
    http.stream_idle_timeout = None;
    http.filters =
        [Filter::PeerMetadata, Filter::Alpn, Filter::Stats, Filter::Router].map(HttpFilter::from).into();
    let field = |key: &str, text: &str| (key.to_owned(), JsonFormat::Text(text.to_owned()));
    let format = LogFormat::Json(vec![field("method", "%REQ(:METHOD)%"), field("path", "%REQ(:PATH)%")]);
    http.access_log = vec![AccessLog { sink: LogSink::Stderr, format, omit_empty: false }];
    let protocols = vec!["http/1.1".to_owned(), "h2c".to_owned()];
    Listener {
        name: "0.0.0.0_9080".into(),
        address: "0.0.0.0:9080".parse().unwrap(),
        bind_to_port: false,
        direction: Direction::Outbound,
        use_original_destination: false,
        inspect: Inspect {
            http: true.into(),
            timeout: Some(Duration::from_millis(100)),
            continue_on_timeout: true,
            ..Inspect::default()
        },
        chains: vec![FilterChain {
            name: String::new(),
            criteria: ChainMatch { application_protocols: protocols, ..ChainMatch::default() },
            tls: None,
            authorization: vec![],
            protocol: Protocol::Http(Box::new(http)),
        }],
        default_chain: Some(FilterChain {
            name: "PassthroughFilterChain".into(),
            criteria: ChainMatch::default(),
            tls: None,
            authorization: vec![],
            protocol: Protocol::Tcp(tcp("PassthroughCluster")),
        }),
    }
}

fn reviews_routes() -> RouteConfiguration {
    let weighted = |subset: &str, weight| WeightedCluster {
        name: format!("outbound|9080|{subset}|reviews.default.svc.cluster.local"),
        weight,
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        host_rewrite: None,
    };
    let jason = HeaderMatch {
        name: "end-user".into(),
        test: HeaderTest::Text(StringMatch::exact("jason")),
        invert: false,
        missing_as_empty: false,
    };
    let everything = Forward {
        clusters: ClusterChoice::Weighted(vec![weighted("v1", 90), weighted("v3", 10)]),
        retry: Some(retry()),
        mirrors: vec![Mirror {
            cluster: "shadow".into(),
            fraction: Fraction::from_percent(12.5),
            keep_host: true,
        }],
        hash: vec![HashKey::Cookie { name: "user".into(), path: "/".into(), ttl: Some(Duration::ZERO) }],
        ..Forward::to("")
    };
    RouteConfiguration {
        name: "9080".into(),
        virtual_hosts: vec![VirtualHost {
            name: "reviews.default.svc.cluster.local:9080".into(),
            domains: vec!["reviews.default.svc.cluster.local".into(), "reviews".into()],
            routes: vec![
                route(
                    RouteMatch { headers: vec![jason], ..RouteMatch::any() },
                    limited("/v2"),
                    Some(fault()),
                ),
                route(RouteMatch::path(PathMatch::Segments("/old".into())), redirect(), None),
                route(
                    RouteMatch::path(PathMatch::Exact("/closed".into())),
                    RouteAction::Direct { status: 503, body: "closed".into() },
                    None,
                ),
                route(RouteMatch::any(), RouteAction::Forward(Box::new(everything)), None),
            ],
            attempt_count: true,
            ..VirtualHost::default()
        }],
        ignore_port_in_host: true,
        ..RouteConfiguration::default()
    }
}

fn route(criteria: RouteMatch, action: RouteAction, fault: Option<Fault>) -> Route {
    let write = |name: &str, action| HeaderWrite { name: name.into(), value: "1".into(), action };
    Route {
        name: "r".into(),
        criteria,
        action,
        request_headers: HeaderMutations {
            remove: vec!["x-gone".into()],
            write: vec![write("x-more", HeaderAction::Append), write("x-only", HeaderAction::Set)],
        },
        response_headers: HeaderMutations::default(),
        filters: fault.map(FilterOverride::from).into_iter().collect(),
        origin: Some("/apis/networking.istio.io/v1/namespaces/default/virtual-service/reviews".into()),
    }
}

fn limited(prefix: &str) -> RouteAction {
    RouteAction::Forward(Box::new(Forward {
        timeout: Some(Duration::from_millis(2500)),
        idle_timeout: Some(Duration::from_secs(30)),
        prefix_rewrite: Some(prefix.into()),
        host_rewrite: Some(HostRewrite::Literal("reviews.example".into())),
        cluster_not_found: 500,
        ..Forward::to("outbound|9080|v2|reviews.default.svc.cluster.local")
    }))
}

fn redirect() -> RouteAction {
    RouteAction::Redirect(Redirect {
        status: 308,
        scheme: Some("https".into()),
        host: Some("reviews.example".into()),
        port: Some(8443),
        prefix: Some("/new".into()),
        ..Redirect::default()
    })
}

fn fault() -> Fault {
    Fault {
        delay: Some(FaultDelay {
            duration: Duration::from_secs(7),
            fraction: Fraction { numerator: 100, denominator: 100 },
        }),
        abort: Some(FaultAbort { status: AbortStatus::Http(555), fraction: Fraction::from_percent(0.5) }),
        ..Fault::default()
    }
}

fn retry() -> RetryPolicy {
    RetryPolicy {
        on: vec![RetryOn::ConnectFailure, RetryOn::RefusedStream, RetryOn::RetriableStatusCodes],
        status_codes: vec![503],
        attempts: 2,
        per_try_timeout: Some(Duration::from_secs(2)),
        back_off: BackOff { base: Duration::from_millis(25), max: Duration::from_millis(250) },
        avoid_previous_hosts: 5,
        headers: vec![],
        request_headers: vec![],
    }
}

fn reviews_cluster() -> Cluster {
    let name = "outbound|9080|v1|reviews.default.svc.cluster.local";
    let identity = "spiffe://cluster.local/ns/default/sa/bookinfo-reviews";
    let tls = UpstreamTls {
        common: TlsParameters {
            alpn: vec!["istio-peer-exchange".into(), "istio".into(), "istio-h2".into()],
            certificates: vec![CertificateSource::Sds("default".into())],
            validation: Some(Validation {
                roots: RootSource::Sds("ROOTCA".into()),
                subject_alt_names: vec![SanMatch {
                    kind: Some(SanKind::Uri),
                    value: StringMatch::exact(identity),
                }],
            }),
            ..TlsParameters::default()
        },
        sni: "outbound_.9080_.v1_.reviews.default.svc.cluster.local".into(),
        auto_sni: false,
        auto_san: false,
    };
    Cluster {
        connect_timeout: Duration::from_secs(10),
        balancer: Balancer::LeastRequest { choices: 2 },
        http: UpstreamHttp::SameAsClient,
        tls: ClusterTls::WhenOffered(Box::new(tls)),
        limits: Limits::UNLIMITED,
        outlier: Some(Outlier {
            consecutive_5xx: Some(7),
            consecutive_gateway: None,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_percent: 50,
        }),
        idle_timeout: None,
        max_requests_per_connection: 100,
        keepalive: Some(Keepalive {
            probes: Some(3),
            time: Some(Duration::from_secs(60)),
            interval: Some(Duration::from_secs(10)),
        }),
        panic_threshold: 0,
        service: Some(ClusterService {
            host: "reviews.default.svc.cluster.local".into(),
            name: "reviews".into(),
            namespace: "default".into(),
        }),
        origin: Some("/apis/networking.istio.io/v1/namespaces/default/destination-rule/reviews".into()),
        ..Cluster::new(name, Discovery::Eds(name.into()))
    }
}

fn application_cluster() -> Cluster {
    Cluster {
        balancer: Balancer::Provided,
        bind: Some("127.0.0.6".parse().unwrap()),
        ..Cluster::new("inbound|9080||", Discovery::OriginalDestination { port: None })
    }
}

fn reviews_endpoints() -> LoadAssignment {
    let endpoint = |address: &str, mtls| Endpoint {
        address: EndpointAddress::Socket(address.parse().unwrap()),
        health: Health::Healthy,
        hostname: String::new(),
        weight: 1,
        mtls,
        workload: mtls.then(|| EndpointWorkload {
            name: "reviews-v1".into(),
            namespace: "default".into(),
            canonical_name: "reviews".into(),
            canonical_revision: "v1".into(),
            cluster_id: "Kubernetes".into(),
        }),
    };
    LoadAssignment {
        cluster: "outbound|9080|v1|reviews.default.svc.cluster.local".into(),
        localities: vec![LocalityEndpoints {
            locality: Locality { region: "r1".into(), zone: "z1".into(), sub_zone: String::new() },
            priority: 0,
            weight: Some(2),
            endpoints: vec![endpoint("10.0.0.7:9080", true), endpoint("[fd00::7]:9080", false)],
        }],
    }
}
