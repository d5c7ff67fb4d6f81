//! Arbitrary clusters, endpoints, workloads and name tables.

use super::basic::{duration, ip, name, socket, text};
use super::security::tls_parameters;
use crate::model::cluster::*;
use crate::model::endpoint::*;
use crate::model::tls::*;
use crate::model::workload::{NameInfo, NameTable, Workload};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use std::time::Duration;

pub(super) fn cluster() -> BoxedStrategy<Cluster> {
    let upstream = (tls_parameters(), text(), any::<bool>(), any::<bool>()).prop_map(
        |(common, sni, auto_sni, auto_san)| Box::new(UpstreamTls { common, sni, auto_sni, auto_san }),
    );
    let upstream = upstream.boxed();
    let tls = prop_oneof![
        Just(ClusterTls::Never),
        upstream.clone().prop_map(ClusterTls::Always),
        upstream.prop_map(ClusterTls::WhenOffered),
    ];
    let http = prop_oneof![
        Just(UpstreamHttp::Http1),
        Just(UpstreamHttp::Http2),
        Just(UpstreamHttp::SameAsClient),
        Just(UpstreamHttp::Negotiated),
    ];
    let limits = prop_oneof![
        Just(Limits::default()),
        Just(Limits::UNLIMITED),
        any::<[u32; 4]>().prop_map(|n| Limits {
            max_connections: n[0],
            max_pending: n[1],
            max_requests: n[2],
            max_retries: n[3],
        }),
    ];
    (
        (name(), discovery(), lookup(), duration(), http, tls, limits),
        (of(outlier()), of(ip()), of(duration()), any::<u32>(), of(keepalive()), 0u32..=100),
        (of(service()), of(name())),
    )
        .prop_map(
            |(
                (name, (discovery, balancer), lookup, connect_timeout, http, tls, limits),
                more,
                (service, origin),
            )| {
                let (outlier, bind, idle_timeout, max_requests_per_connection, keepalive, panic_threshold) =
                    more;
                Cluster {
                    name,
                    lookup: if discovery.is_by_name() { lookup } else { NameLookup::default() },
                    discovery,
                    connect_timeout,
                    balancer,
                    http,
                    tls,
                    limits,
                    outlier,
                    bind,
                    idle_timeout,
                    max_requests_per_connection,
                    keepalive,
                    panic_threshold,
                    service,
                    origin,
                }
            },
        )
        .boxed()
}

fn discovery() -> BoxedStrategy<(Discovery, Balancer)> {
    let kind = prop_oneof![
        assignment().prop_map(Discovery::Static),
        name().prop_map(Discovery::Eds),
        assignment().prop_map(Discovery::StrictDns),
        assignment().prop_map(Discovery::LogicalDns),
    ];
    let balancer = prop_oneof![
        Just(Balancer::RoundRobin),
        any::<u32>().prop_map(|choices| Balancer::LeastRequest { choices }),
        Just(Balancer::Random),
        any::<u64>().prop_map(|min_size| Balancer::RingHash { min_size }),
        any::<u64>().prop_map(|table_size| Balancer::Maglev { table_size }),
    ];
    prop_oneof![
        4 => (kind, balancer),
        1 => of(1u16..).prop_map(|port| (Discovery::OriginalDestination { port }, Balancer::Provided)),
    ]
    .boxed()
}

fn service() -> BoxedStrategy<ClusterService> {
    let names = (name(), name(), name());
    names.prop_map(|(host, name, namespace)| ClusterService { host, name, namespace }).boxed()
}

fn lookup() -> BoxedStrategy<NameLookup> {
    let interval = || (2u64..1_000_000).prop_map(Duration::from_millis);
    let failure =
        (interval(), interval()).prop_map(|(base, more)| FailurePace { base, longest: base + more });
    let family = prop_oneof![
        Just(AddressFamily::V6OrV4),
        Just(AddressFamily::V4OrV6),
        Just(AddressFamily::V4),
        Just(AddressFamily::V6),
        Just(AddressFamily::All),
    ];
    (interval(), of(failure), duration(), any::<bool>(), family)
        .prop_map(|(refresh, failure, jitter, respect_ttl, family)| NameLookup {
            refresh,
            failure,
            jitter,
            respect_ttl,
            family,
        })
        .boxed()
}

fn outlier() -> BoxedStrategy<Outlier> {
    (of(1u32..), of(1u32..), duration(), duration(), duration(), 0u32..=100)
        .prop_map(
            |(consecutive_5xx, consecutive_gateway, interval, base_ejection, max_ejection, max_percent)| {
                Outlier {
                    consecutive_5xx,
                    consecutive_gateway,
                    interval,
                    base_ejection,
                    max_ejection,
                    max_percent,
                }
            },
        )
        .boxed()
}

fn keepalive() -> BoxedStrategy<Keepalive> {
    let seconds = || of((0u64..100_000).prop_map(Duration::from_secs));
    (of(any::<u32>()), seconds(), seconds())
        .prop_map(|(probes, time, interval)| Keepalive { probes, time, interval })
        .boxed()
}

pub(super) fn assignment() -> BoxedStrategy<LoadAssignment> {
    let place =
        (text(), text(), text()).prop_map(|(region, zone, sub_zone)| Locality { region, zone, sub_zone });
    let locality = (place, any::<u32>(), of(any::<u32>()), vec(endpoint(), 0..3)).prop_map(
        |(locality, priority, weight, endpoints)| LocalityEndpoints { locality, priority, weight, endpoints },
    );
    (name(), vec(locality, 0..3))
        .prop_map(|(cluster, localities)| LoadAssignment { cluster, localities })
        .boxed()
}

fn endpoint() -> BoxedStrategy<Endpoint> {
    let address = prop_oneof![
        socket().prop_map(EndpointAddress::Socket),
        (name(), any::<u16>()).prop_map(|(host, port)| EndpointAddress::Dns(host, port)),
        name().prop_map(EndpointAddress::Pipe),
    ];
    let health = prop_oneof![
        Just(Health::Healthy),
        Just(Health::Degraded),
        Just(Health::Unhealthy),
        Just(Health::Draining)
    ];
    let workload = vec("[a-z0-9-]{0,8}", 5).prop_map(|p| EndpointWorkload {
        name: p[0].clone(),
        namespace: p[1].clone(),
        canonical_name: p[2].clone(),
        canonical_revision: p[3].clone(),
        cluster_id: p[4].clone(),
    });
    ((address, of(name())), health, any::<u32>(), any::<bool>(), of(workload))
        .prop_map(|((address, hostname), health, weight, mtls, workload)| Endpoint {
            hostname: hostname.unwrap_or_default(),
            address,
            health,
            weight,
            mtls,
            workload,
        })
        .boxed()
}

pub(super) fn workload() -> BoxedStrategy<Workload> {
    (vec(text(), 11), vec(ip(), 0..3))
        .prop_map(|(t, addresses)| Workload {
            uid: t[0].clone(),
            name: t[1].clone(),
            namespace: t[2].clone(),
            addresses,
            trust_domain: t[3].clone(),
            service_account: t[4].clone(),
            workload_name: t[5].clone(),
            canonical_name: t[6].clone(),
            canonical_revision: t[7].clone(),
            app: t[8].clone(),
            version: t[9].clone(),
            cluster_id: t[10].clone(),
        })
        .boxed()
}

pub(super) fn names() -> BoxedStrategy<NameTable> {
    let info =
        (vec(ip(), 0..3), text(), text(), text()).prop_map(|(addresses, registry, short_name, namespace)| {
            NameInfo { addresses, registry, short_name, namespace }
        });
    btree_map(name(), info, 0..4).prop_map(|hosts| NameTable { hosts }).boxed()
}
