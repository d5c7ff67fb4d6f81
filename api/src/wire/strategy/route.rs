//! Arbitrary route tables, with retries and settings of filters.

use super::basic::{duration, fraction, header_match, mutations, name, string_match, text};
use crate::model::matcher::*;
use crate::model::route::*;
use crate::wire::filter::arbitrary_settings;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::time::Duration;

pub(super) fn route_configuration() -> BoxedStrategy<RouteConfiguration> {
    let changes = (mutations(), mutations(), vec(name(), 0..2), arbitrary_settings());
    (name(), vec(virtual_host(), 0..3), any::<[bool; 2]>(), changes)
        .prop_map(|(name, virtual_hosts, flags, changes)| RouteConfiguration {
            name,
            virtual_hosts,
            ignore_port_in_host: flags[0],
            request_headers: changes.0,
            response_headers: changes.1,
            internal_only_headers: changes.2,
            most_specific_wins: flags[1],
            filters: changes.3,
        })
        .boxed()
}

fn virtual_host() -> BoxedStrategy<VirtualHost> {
    let flags = any::<(bool, bool, bool)>();
    let settings = (of(retry()), arbitrary_settings());
    (name(), vec(name(), 0..3), vec(route(), 0..3), flags, mutations(), mutations(), settings)
        .prop_map(
            |(
                name,
                domains,
                routes,
                (require_tls, attempt_count, attempt_count_in_response),
                request_headers,
                response_headers,
                (retry, filters),
            )| {
                VirtualHost {
                    name,
                    domains,
                    routes,
                    require_tls,
                    attempt_count,
                    attempt_count_in_response,
                    request_headers,
                    response_headers,
                    retry,
                    filters,
                }
            },
        )
        .boxed()
}

fn route() -> BoxedStrategy<Route> {
    let action = prop_oneof![
        4 => forward().prop_map(|f| RouteAction::Forward(Box::new(f))),
        1 => redirect().prop_map(RouteAction::Redirect),
        1 => (any::<u16>(), text()).prop_map(|(status, body)| RouteAction::Direct { status, body }),
    ];
    (name(), criteria(), action, mutations(), mutations(), arbitrary_settings(), of(name()))
        .prop_map(|(name, criteria, action, request_headers, response_headers, filters, origin)| Route {
            name,
            criteria,
            action,
            request_headers,
            response_headers,
            filters,
            origin,
        })
        .boxed()
}

fn criteria() -> BoxedStrategy<RouteMatch> {
    let path = prop_oneof![
        text().prop_map(PathMatch::Prefix),
        text().prop_map(PathMatch::Exact),
        text().prop_map(PathMatch::Regex),
        text().prop_map(PathMatch::Segments),
    ];
    let query = (name(), of(string_match()), any::<bool>()).prop_map(|(name, value, absent)| {
        let absent = absent && value.is_none();
        QueryMatch { name, value, absent }
    });
    (path, any::<bool>(), vec(header_match(), 0..3), vec(query, 0..2), any::<bool>(), of(fraction()))
        .prop_map(|(path, ignore_case, headers, query, grpc, fraction)| RouteMatch {
            path,
            ignore_case,
            headers,
            query,
            grpc,
            fraction,
        })
        .boxed()
}

fn redirect() -> BoxedStrategy<Redirect> {
    let rewrite = prop_oneof![
        Just((None, None, None)),
        text().prop_map(|p| (Some(p), None, None)),
        text().prop_map(|p| (None, Some(p), None)),
        (text(), text()).prop_map(|p| (None, None, Some(p))),
    ];
    let status = prop_oneof![Just(301u16), Just(302), Just(303), Just(307), Just(308)];
    let scheme = of(prop_oneof![Just("https".to_owned()), Just("http".to_owned())]);
    (status, scheme, of(name()), of(1u16..), rewrite, any::<bool>())
        .prop_map(|(status, scheme, host, port, (path, prefix, regex), strip_query)| Redirect {
            status,
            scheme,
            host,
            port,
            path,
            prefix,
            regex,
            strip_query,
        })
        .boxed()
}

fn forward() -> BoxedStrategy<Forward> {
    let weighted = (name(), any::<u32>(), mutations(), mutations(), of(name())).prop_map(
        |(name, weight, request_headers, response_headers, host_rewrite)| WeightedCluster {
            name,
            weight,
            request_headers,
            response_headers,
            host_rewrite,
        },
    );
    let clusters = prop_oneof![
        name().prop_map(ClusterChoice::Single),
        vec(weighted, 0..3).prop_map(ClusterChoice::Weighted),
        name().prop_map(ClusterChoice::Header),
    ];
    let zero_or_more = || of(prop_oneof![Just(Duration::ZERO), duration()]);
    let mirror = (name(), fraction(), any::<bool>()).prop_map(|(cluster, fraction, keep_host)| Mirror {
        cluster,
        fraction,
        keep_host,
    });
    let missing = prop_oneof![Just(503u16), Just(404), Just(500)];
    let host = prop_oneof![
        name().prop_map(HostRewrite::Literal),
        Just(HostRewrite::Endpoint),
        name().prop_map(HostRewrite::Header),
        (text(), text()).prop_map(|(pattern, text)| HostRewrite::Path(pattern, text)),
    ];
    let rewrites = (of(name()), of((text(), text())), of(host), any::<bool>());
    let times = (of(duration()), zero_or_more(), zero_or_more());
    (clusters, times, of(retry()), rewrites, vec(mirror, 0..2), vec(hash_key(), 0..2), missing)
        .prop_map(|(clusters, times, retry, rewrites, mirrors, hash, cluster_not_found)| Forward {
            clusters,
            timeout: times.0,
            max_grpc_timeout: times.1,
            idle_timeout: times.2,
            retry,
            prefix_rewrite: rewrites.0,
            regex_rewrite: rewrites.1,
            host_rewrite: rewrites.2,
            append_forwarded_host: rewrites.3,
            mirrors,
            hash,
            cluster_not_found,
        })
        .boxed()
}

fn hash_key() -> BoxedStrategy<HashKey> {
    let ttl = of(prop_oneof![Just(Duration::ZERO), duration()]);
    prop_oneof![
        name().prop_map(HashKey::Header),
        (name(), text(), ttl).prop_map(|(name, path, ttl)| HashKey::Cookie { name, path, ttl }),
        Just(HashKey::SourceIp),
        name().prop_map(HashKey::Query),
    ]
    .boxed()
}

fn retry() -> BoxedStrategy<RetryPolicy> {
    let condition = prop::sample::select(RetryOn::NAMES.map(|(c, _)| c).to_vec());
    let back_off = (duration(), duration()).prop_map(|(base, max)| BackOff { base, max });
    let headers = (vec(header_match(), 0..2), vec(header_match(), 0..2));
    let numbers = (any::<u32>(), 0u32..10);
    (vec(condition, 0..4), vec(any::<u16>(), 0..3), numbers, of(duration()), back_off, headers)
        .prop_map(|(on, status_codes, numbers, per_try_timeout, back_off, headers)| RetryPolicy {
            on,
            status_codes,
            attempts: numbers.0,
            per_try_timeout,
            back_off,
            avoid_previous_hosts: numbers.1,
            headers: headers.0,
            request_headers: headers.1,
        })
        .boxed()
}
