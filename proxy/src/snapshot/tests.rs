//! Tests of applying updates: what is kept, rejected and requested.

use super::*;
use crate::credentials::Store;
use api::model::Resource;
use api::model::cluster::{ClusterTls, Discovery};
use api::model::endpoint::{Endpoint, EndpointAddress, Health, LocalityEndpoints};
use api::model::filter::fault::{AbortStatus, Fault, FaultAbort};
use api::model::filter::{Filter, HttpFilter};
use api::model::listener::{
    ChainMatch, Direction, FilterChain, HttpConnection, Inspect, Protocol, RouteSource,
};
use api::model::matcher::{Fraction, HeaderMutations};
use api::model::route::{PathMatch, Route, RouteAction, RouteMatch, VirtualHost};
use std::borrow::Cow;

fn apply(last: &Snapshot, upsert: Vec<Resource>) -> (Snapshot, Vec<Rejected>) {
    last.apply(Update { upsert, remove: vec![] }, &Store::new())
}

fn good(last: &Snapshot, upsert: Vec<Resource>) -> Snapshot {
    let (next, rejected) = apply(last, upsert);
    assert_eq!(rejected, []);
    next
}

fn routes(name: &str, path: PathMatch) -> Resource {
    let route = Route {
        name: "r".into(),
        criteria: RouteMatch::path(path),
        action: RouteAction::Direct { status: 200, body: String::new() },
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        filters: vec![],
        origin: None,
    };
    Resource::Route(RouteConfiguration {
        name: name.into(),
        virtual_hosts: vec![VirtualHost {
            name: "h".into(),
            domains: vec!["*".into()],
            routes: vec![route],
            ..Default::default()
        }],
        ..Default::default()
    })
}

fn eds(name: &str) -> Resource {
    Resource::Cluster(Box::new(api::model::cluster::Cluster::new(name, Discovery::Eds(String::new()))))
}

fn endpoints(cluster: &str, last: u8) -> Resource {
    let endpoint = Endpoint {
        address: EndpointAddress::Socket(([10, 0, 0, last], 80).into()),
        health: Health::Healthy,
        hostname: String::new(),
        weight: 1,
        mtls: false,
        workload: None,
    };
    Resource::Endpoints(LoadAssignment {
        cluster: cluster.into(),
        localities: vec![LocalityEndpoints { endpoints: vec![endpoint], ..Default::default() }],
    })
}

fn listener(name: &str, chains: &[(&str, &str)]) -> Resource {
    let chain = |(name, routes): &(&str, &str)| FilterChain {
        name: (*name).into(),
        criteria: ChainMatch::default(),
        tls: None,
        authorization: vec![],
        protocol: Protocol::Http(Box::new(HttpConnection::new("s", RouteSource::Rds((*routes).into())))),
    };
    Resource::Listener(api::model::listener::Listener {
        name: name.into(),
        address: "127.0.0.1:80".parse().unwrap(),
        bind_to_port: false,
        direction: Direction::Outbound,
        use_original_destination: false,
        inspect: Inspect::default(),
        chains: chains.iter().map(chain).collect(),
        default_chain: None,
    })
}

#[test]
fn referenced_resources_are_missing_until_they_arrive() {
    let first = good(&Snapshot::empty(), vec![eds("c"), listener("l", &[("a", "80"), ("b", "81")])]);
    let expected = [(Kind::Endpoints, "c"), (Kind::Route, "80"), (Kind::Route, "81")];
    assert_eq!(first.missing(), expected.map(|(k, n)| (k, n.to_owned())));
    let next = good(&first, vec![endpoints("c", 1), routes("80", PathMatch::Prefix("/".into()))]);
    assert_eq!(next.missing(), [(Kind::Route, "81".to_owned())]);
    assert_eq!(next.references(Kind::Route).into_iter().collect::<Vec<_>>(), ["80", "81"]);
    assert!(
        !next.is_complete(|_, _| false) && next.is_complete(|kind, name| (kind, name) == (Kind::Route, "81"))
    );
}

#[test]
fn a_bad_resource_is_refused_alone_and_its_last_version_stays() {
    let first = good(&Snapshot::empty(), vec![routes("80", PathMatch::Prefix("/".into()))]);
    let broken = routes("80", PathMatch::Regex("(".into()));
    let (next, rejected) = apply(&first, vec![broken, routes("81", PathMatch::Prefix("/".into()))]);
    let [Rejected { kind: Kind::Route, name, reason }] = &rejected[..] else { panic!("{rejected:?}") };
    assert_eq!(name, "80");
    assert!(reason.starts_with("virtual_hosts[0] (h): routes[0] (r): regular expression `(`"), "{reason}");
    assert!(Arc::ptr_eq(next.table("80").unwrap(), first.table("80").unwrap()));
    assert!(next.table("81").is_some());
}

#[test]
fn unchanged_resources_are_shared() {
    let chains = [("a", "80"), ("b", "81")];
    let first = good(&Snapshot::empty(), vec![eds("c"), endpoints("c", 1), listener("l", &chains)]);
    let same = good(&first, vec![eds("c"), endpoints("c", 1), listener("l", &chains)]);
    assert!(Arc::ptr_eq(same.cluster("c").unwrap(), first.cluster("c").unwrap()));
    assert!(Arc::ptr_eq(&same.compiled_listeners()["l"], &first.compiled_listeners()["l"]));
    let other = good(&first, vec![listener("l", &[("a", "80"), ("b", "82")])]);
    let chains = |s: &Snapshot| s.compiled_listeners()["l"].chains().cloned().collect::<Vec<_>>();
    let (before, after) = (chains(&first), chains(&other));
    assert!(Arc::ptr_eq(&before[0], &after[0]), "an unchanged chain keeps its connections");
    assert!(!Arc::ptr_eq(&before[1], &after[1]));
}

#[test]
fn an_endpoint_keeps_its_health_when_others_come_and_go() {
    let first = good(&Snapshot::empty(), vec![eds("c"), endpoints("c", 1)]);
    assert!(first.cluster("c").is_some(), "health is of clusters in use");
    let Resource::Endpoints(mut both) = endpoints("c", 1) else { unreachable!() };
    let Resource::Endpoints(second) = endpoints("c", 2) else { unreachable!() };
    both.localities.extend(second.localities);
    let next = good(&first, vec![Resource::Endpoints(both)]);
    let list = |s: &Snapshot| s.cluster("c").unwrap().endpoints.clone().unwrap();
    assert_eq!(list(&next).list.len(), 2);
    assert!(Arc::ptr_eq(&list(&next).list[0], &list(&first).list[0]));
    let (gone, _) =
        next.apply(Update { upsert: vec![], remove: vec![(Kind::Endpoints, "c".into())] }, &Store::new());
    assert!(gone.cluster("c").unwrap().endpoints.is_none());
}

#[test]
fn an_unused_cluster_is_built_on_first_use_with_the_newest_endpoints() {
    let awake = |snapshot: &Snapshot| snapshot.clusters["c"].awake().is_some();
    let first = good(&Snapshot::empty(), vec![eds("c"), endpoints("c", 1)]);
    let next = good(&first, vec![endpoints("c", 2)]);
    assert_eq!((next.clusters().len(), next.endpoints().len()), (1, 1));
    assert!(!awake(&first) && !awake(&next), "a dump wakes no watcher");
    let called = next.cluster("c").unwrap().endpoints.clone().unwrap();
    assert_eq!(called.list[0].address, ([10, 0, 0, 2], 80).into());
    assert!(awake(&next));
    let last = good(&next, vec![endpoints("c", 3)]);
    assert!(awake(&last), "one that was called stays ready");
    assert_eq!(
        last.cluster("c").unwrap().endpoints.as_ref().unwrap().list[0].address,
        ([10, 0, 0, 3], 80).into()
    );
}

#[test]
fn endpoints_may_come_before_their_cluster() {
    let first = good(&Snapshot::empty(), vec![endpoints("c", 1)]);
    let next = good(&first, vec![eds("c")]);
    assert_eq!(next.cluster("c").unwrap().endpoints.as_ref().unwrap().list.len(), 1);
}

#[test]
fn a_changed_cluster_keeps_its_counts_and_its_tls() {
    let cluster = |seconds| {
        let mut cluster = api::model::cluster::Cluster::new("c", Discovery::Eds("c".into()));
        cluster.tls = ClusterTls::WhenOffered(Box::default());
        cluster.connect_timeout = Duration::from_secs(seconds);
        Resource::Cluster(Box::new(cluster))
    };
    let first = good(&Snapshot::empty(), vec![cluster(1)]);
    assert!(first.cluster("c").is_some(), "counts are of clusters in use");
    let next = good(&first, vec![cluster(2)]);
    let (before, after) = (first.cluster("c").unwrap(), next.cluster("c").unwrap());
    assert!(!Arc::ptr_eq(before, after));
    assert!(Arc::ptr_eq(&before.gauges, &after.gauges));
    assert!(Arc::ptr_eq(before.tls.as_ref().unwrap(), after.tls.as_ref().unwrap()));
}

#[test]
fn removed_resources_are_absent() {
    let first = good(&Snapshot::empty(), vec![eds("c"), listener("l", &[("a", "80")])]);
    let remove = vec![(Kind::Cluster, "c".to_owned()), (Kind::Listener, "l".to_owned())];
    let (next, _) = first.apply(Update { upsert: vec![], remove }, &Store::new());
    assert!(next.clusters().is_empty() && next.listeners().is_empty());
}

#[test]
fn settings_of_routes_are_merged_with_the_filters_of_every_listener_that_uses_them() {
    let always = Fraction { numerator: 1, denominator: 1 };
    let abort = Some(FaultAbort { status: AbortStatus::Http(500), fraction: always });
    let Resource::Route(mut table) = routes("80", PathMatch::Prefix("/".into())) else { unreachable!() };
    table.virtual_hosts[0].filters = vec![Fault { abort, ..Fault::default() }.into()];
    let with = |filters: &[Filter]| {
        let Resource::Listener(mut listener) = listener("l", &[("a", "80"), ("b", "80")]) else {
            unreachable!()
        };
        for (chain, add) in listener.chains.iter_mut().zip([&[][..], filters]) {
            let Protocol::Http(http) = &mut chain.protocol else { unreachable!() };
            let all = [add, &[Filter::Fault(Fault::default()), Filter::Router]].concat();
            http.filters = all.into_iter().map(HttpFilter::from).collect();
        }
        Resource::Listener(listener)
    };
    let is_merged = |snapshot: &Snapshot| {
        let table = snapshot.table("80").unwrap();
        let listeners = &snapshot.compiled_listeners()["l"];
        listeners.chains().all(|chain| {
            let (_, filters) = chain.named_routes().unwrap();
            let effective = table.hosts[0].routes[0].filters.for_listener(filters);
            matches!(effective, Cow::Borrowed(_)) && !effective.is_empty() && filters.effective().is_empty()
        })
    };
    let first = good(&Snapshot::empty(), vec![Resource::Route(table)]);
    let next = good(&first, vec![with(&[])]);
    let used: Vec<_> = next.compiled_listeners()["l"].chains().filter_map(|c| c.named_routes()).collect();
    assert!(Arc::ptr_eq(used[0].1, used[1].1), "equal filters are there once");
    assert!(is_merged(&next));
    let last = good(&next, vec![with(&[Filter::Cors])]);
    assert!(is_merged(&last) && is_merged(&next));
    let unchanged = good(&last, vec![eds("c")]);
    assert!(Arc::ptr_eq(unchanged.table("80").unwrap(), last.table("80").unwrap()));
}
