//! Uses a configuration as requests and connections do: looks up routes in all tables, chains in all listeners and
//! endpoints in all clusters. A configuration that the decoder accepts must not fail later with traffic.

use api::model::Resource;
use api::model::filter::buffer::Buffer;
use api::model::filter::fault::Fault;
use api::model::filter::{Filter, HttpFilter};
use api::model::listener::Transport;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proxy::balance::ejection::Ejecting;
use proxy::balance::{PickContext, Picker};
use proxy::credentials::Store;
use proxy::filter::merge::Filters;
use proxy::filter::rbac::decide;
use proxy::filter::step::{Event, FilterState, RequestHeaders, RequestView, ResponseView};
use proxy::filter::table::EffectiveFilter;
use proxy::flow::head::Head;
use proxy::flow::node::Node;
use proxy::flow::peer::Peer;
use proxy::flow::subject::Subject;
use proxy::format::context::Context;
use proxy::identify::chain;
use proxy::identify::sniff::Sniffed;
use proxy::policy::retry;
use proxy::route;
use proxy::snapshot::cluster::Cluster;
use proxy::snapshot::listener::{Listener, Protocol, Routes};
use proxy::snapshot::table::{Action, RouteTable};
use proxy::snapshot::{Rejected, Snapshot, Update};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Applies resources to an empty configuration and uses the result. Returns the refused resources.
pub fn apply(resources: Vec<Resource>) -> Vec<Rejected> {
    let store = Store::new();
    let resources: Vec<Resource> = resources.into_iter().filter(harmless).collect();
    for resource in &resources {
        if let Resource::Secret(secret) = resource {
            drop(store.set(&secret.name, &secret.content));
        }
    }
    let names: Vec<_> = resources.iter().map(|r| (r.kind(), r.name().to_owned())).collect();
    let update = |upsert| Update { upsert, remove: vec![] };
    let (snapshot, rejected) = Snapshot::empty().apply(update(resources.clone()), &store);
    let (same, again) = snapshot.apply(update(resources), &store);
    assert_eq!(rejected, again, "a configuration that is applied twice gets the same refusals");
    assert_eq!(snapshot.missing(), same.missing());
    on(&same);
    let (empty, _) = same.apply(Update { upsert: vec![], remove: names }, &store);
    assert!(empty.listeners().is_empty() && empty.clusters().is_empty() && empty.routes().is_empty());
    rejected
}

/// Whether a resource refers to no files: a fuzzer would name devices, which block the reader.
pub fn harmless(resource: &Resource) -> bool {
    let shown = format!("{resource:?}");
    !shown.contains("Files(") && !shown.contains("File(")
}

/// Uses a configuration with requests and connections.
pub fn on(snapshot: &Snapshot) {
    for model in snapshot.clusters() {
        pick(snapshot.cluster(&model.name).expect("a cluster is found by its name"));
    }
    for listener in snapshot.compiled_listeners().values() {
        connect(listener);
    }
    for model in snapshot.routes() {
        request(snapshot.table(&model.name).expect("a table is found by its name"));
    }
}

/// Looks up a few requests in a table, and evaluates all settings of each route.
pub fn request(table: &RouteTable) {
    let headers = headers();
    let targets = ["/", "/a/b?x=1&y=2", "/productpage", "/a//../b%41", "*", "/%"];
    let declared = table.exact.keys().map(|name| &**name);
    for authority in ["", "reviews", "reviews:9080", "[::1]:80", "a.example.com"].into_iter().chain(declared)
    {
        for target in targets {
            let head = Head { method: &Method::GET, authority, target, scheme: "http", headers: &headers };
            for random in [0, 1, 49, 99, u32::MAX] {
                let _ = route::find(table, &head, random);
            }
        }
    }
    let head = Head {
        method: &Method::POST,
        authority: "a:80",
        target: targets[1],
        scheme: "https",
        headers: &headers,
    };
    let buffer = Filter::Buffer(Buffer { max_request_bytes: 9 });
    let kinds =
        [Filter::Fault(Fault::default()), Filter::Rbac(vec![]), buffer, Filter::Cors, Filter::GrpcWeb];
    let filters = Filters::compile(&kinds.map(HttpFilter::from)).expect("they have no settings");
    let filters = Arc::new(filters);
    for route in table.hosts.iter().flat_map(|host| &host.routes) {
        mutated(&route.request_headers);
        mutated(&route.response_headers);
        run_filters(&route.filters.for_listener(&filters), &head);
        match &route.action {
            Action::Forward(forward) => {
                if let Some(target) = route::rewrite::target(forward, head.target) {
                    assert!(target.starts_with('/'), "{target:?} is not a path");
                }
                for random in [0, 7, u32::MAX] {
                    let chosen = route::cluster(&forward.clusters, &headers, random);
                    let named = matches!(forward.clusters, proxy::snapshot::table::Clusters::Header(_));
                    assert!(chosen.is_some() || named, "some cluster is always chosen");
                }
                if let Some(policy) = &forward.retry {
                    for number in [0, 1, 31, 32, 64, u32::MAX] {
                        assert!(
                            retry::wait(policy.policy.back_off, number, u32::MAX)
                                <= policy.policy.back_off.max.max(policy.policy.back_off.base)
                        );
                    }
                }
            }
            Action::Redirect(redirect) => {
                let location = route::redirect::location(redirect, &head);
                assert!(location.contains("://"), "{location:?} is not an absolute URL");
            }
            Action::Direct(status, _) => assert!((100..1000).contains(status), "{status} is not a status"),
        }
    }
}

fn mutated(changes: &proxy::format::mutation::Mutations) {
    let request = headers();
    let mut changed = headers();
    let context = Context { remote: Some(PEER), ..Context::of(&request) };
    changes.apply(&mut changed, &context);
}

fn connect(listener: &Listener) {
    let seen = |transport, name: Option<&str>, protocols: &[&str]| Sniffed {
        transport,
        server_name: name.map(str::to_owned),
        protocols: protocols.iter().map(|p| p.as_bytes().to_vec()).collect(),
    };
    let cases = [
        seen(None, None, &[]),
        seen(Some(Transport::Raw), None, &["http/1.1"]),
        seen(Some(Transport::Tls), Some("a.example.com"), &["istio-http/1.1", "h2"]),
        seen(Some(Transport::Tls), None, &["istio-peer-exchange", "istio"]),
    ];
    for seen in &cases {
        let _ = chain::choose(listener, HERE, PEER, seen);
    }
    let headers = headers();
    let head =
        Head { method: &Method::GET, authority: "a", target: "/a?b", scheme: "http", headers: &headers };
    for chain in listener.chains() {
        for rules in &chain.authorization {
            let _ = decide::decide(rules, &caller(&known_client()));
        }
        if let Protocol::Http(http) = &chain.protocol {
            run_filters(http.filters.effective(), &head);
            if let Routes::Inline(table) = &http.routes {
                request(table);
                for route in table.hosts.iter().flat_map(|host| &host.routes) {
                    run_filters(&route.filters.for_listener(&http.filters), &head);
                }
            }
        }
    }
}

fn known_client() -> Peer {
    Peer { uris: ["spiffe://cluster.local/ns/a/sa/b".into()].into(), ..Peer::default() }
}

fn caller(client: &Peer) -> Subject<'_> {
    Subject {
        destination: HERE,
        source: PEER,
        client: PEER.ip(),
        server_name: Some("a"),
        tls: true,
        peer: Some(client),
        head: None,
    }
}

/// Runs the filters for a request and its response.
fn run_filters(filters: &[EffectiveFilter], head: &Head<'_>) {
    let client = known_client();
    let request = RequestView {
        method: head.method,
        authority: head.authority,
        target: head.target,
        scheme: head.scheme,
        subject: caller(&client),
        cluster: "c",
        forwarded: true,
        grpc: false,
        ends: false,
        random: &|| 1,
        count: &|_| (),
    };
    for filter in filters {
        let (mut headers, mut state) = (head.headers.clone(), FilterState::default());
        let mut changing = RequestHeaders::new(&mut headers);
        drop(filter.request(&Event::Head, &request, &mut changing, &mut state));
        let status = http::StatusCode::OK;
        let node = Node::anonymous();
        let mut response =
            ResponseView { status: &status, headers: &mut headers, ends: false, node: &node, count: &|_| () };
        let _ = filter.response(&Event::Head, &mut response, &mut state);
    }
}

fn pick(cluster: &Arc<Cluster>) {
    let Some(endpoints) = &cluster.endpoints else { return };
    let policy = cluster.model.balancer;
    // Large rings and Maglev tables are slow and find nothing.
    if endpoints.list.len() > 64 || is_large(policy) {
        return;
    }
    for random in [0, u32::MAX / 3, u32::MAX] {
        let picker = Picker::new(endpoints, policy, 50, &|i| i % 2 == 0, &|| random);
        let context =
            PickContext { active: &|i| i as u32, hash: Some(u64::from(random)), random: &|| random };
        if let Some(place) = picker.pick(&context) {
            assert!(place < endpoints.list.len(), "the picked endpoint exists");
        }
        let mut ejecting = Ejecting::new(endpoints, policy, 50, &|| random);
        for second in [0, 1, 400] {
            let now = Duration::from_secs(second);
            if let (1, Some(rules), Some(first)) = (second, &cluster.model.outlier, endpoints.list.first()) {
                first.health.eject(now, rules);
                endpoints.ejections.add();
            }
            if let Some(place) = ejecting.at(endpoints, now, &|| random).pick(&context) {
                assert!(place < endpoints.list.len(), "the picked endpoint exists");
            }
        }
    }
}

fn is_large(policy: api::model::cluster::Balancer) -> bool {
    use api::model::cluster::Balancer;
    match policy {
        Balancer::RingHash { min_size } => min_size > 4096,
        Balancer::Maglev { table_size } => table_size > 4096,
        _ => false,
    }
}

fn headers() -> HeaderMap {
    let pairs =
        [("host", "a"), ("end-user", "jason"), ("x-version", "2"), ("content-type", "application/grpc")];
    pairs.into_iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
}

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 244, 0, 9)), 41000);
const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 244, 0, 1)), 9080);
