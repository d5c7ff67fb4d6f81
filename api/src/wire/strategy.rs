//! Arbitrary resources, for the property that decoding inverts encoding.
//!
//! Only values that mean something are made: lower-case header names, limits that are not zero, one kind of
//! certificate source in a TLS context, policies and log fields in order of their names.

use crate::model::Resource;
use crate::model::access_log::{AccessLog, LogFormat, LogSink};
use crate::model::authorization::{Action, Authorization, Permission, Policy, Principal};
use crate::model::cluster::*;
use crate::model::endpoint::*;
use crate::model::listener::*;
use crate::model::matcher::*;
use crate::model::route::*;
use crate::model::secret::{Secret, SecretContent};
use crate::model::tls::*;
use crate::model::workload::{NameInfo, NameTable, Workload};
use ipnet::IpNet;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(super) fn resource() -> BoxedStrategy<Resource> {
    prop_oneof![
        listener().prop_map(Resource::Listener),
        route_configuration().prop_map(Resource::Route),
        cluster().prop_map(|c| Resource::Cluster(Box::new(c))),
        assignment().prop_map(Resource::Endpoints),
        secret().prop_map(Resource::Secret),
        workload().prop_map(Resource::Workload),
        names().prop_map(Resource::Names),
    ]
    .boxed()
}

fn name() -> BoxedStrategy<String> {
    "[a-z][a-z0-9.|_-]{0,10}".boxed()
}

fn text() -> BoxedStrategy<String> {
    "\\PC{0,8}".boxed()
}

/// Never zero, which would mean "no limit".
fn duration() -> BoxedStrategy<Duration> {
    (1u64..100_000_000).prop_map(Duration::from_millis).boxed()
}

fn ip() -> BoxedStrategy<IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)].boxed()
}

fn socket() -> BoxedStrategy<SocketAddr> {
    (ip(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port)).boxed()
}

fn net() -> BoxedStrategy<IpNet> {
    (ip(), 0u8..=128)
        .prop_map(|(ip, n)| IpNet::new(ip, if ip.is_ipv4() { n % 33 } else { n }).unwrap())
        .boxed()
}

fn fraction() -> BoxedStrategy<Fraction> {
    prop_oneof![Just(100u32), Just(10_000), Just(1_000_000)]
        .prop_flat_map(|d| (0..=d).prop_map(move |n| Fraction { numerator: n, denominator: d }))
        .boxed()
}

fn string_match() -> BoxedStrategy<StringMatch> {
    let pattern = prop_oneof![
        text().prop_map(Pattern::Exact),
        text().prop_map(Pattern::Prefix),
        text().prop_map(Pattern::Suffix),
        text().prop_map(Pattern::Contains),
        text().prop_map(Pattern::Regex),
    ];
    (pattern, any::<bool>()).prop_map(|(pattern, ignore_case)| StringMatch { pattern, ignore_case }).boxed()
}

fn header_match() -> BoxedStrategy<HeaderMatch> {
    let test = prop_oneof![
        any::<bool>().prop_map(HeaderTest::Present),
        string_match().prop_map(HeaderTest::Text),
        (any::<i64>(), any::<i64>()).prop_map(|(a, b)| HeaderTest::Range(a, b)),
    ];
    (name(), test, any::<bool>(), any::<bool>())
        .prop_map(|(name, test, invert, missing_as_empty)| HeaderMatch {
            name,
            test,
            invert,
            missing_as_empty,
        })
        .boxed()
}

fn mutations() -> BoxedStrategy<HeaderMutations> {
    let action = prop_oneof![
        Just(HeaderAction::Append),
        Just(HeaderAction::Set),
        Just(HeaderAction::AddIfAbsent),
        Just(HeaderAction::SetIfPresent),
    ];
    let write =
        (name(), text(), action).prop_map(|(name, value, action)| HeaderWrite { name, value, action });
    (vec(name(), 0..2), vec(write, 0..3))
        .prop_map(|(remove, write)| HeaderMutations { remove, write })
        .boxed()
}

fn access_log() -> BoxedStrategy<AccessLog> {
    let sink = prop_oneof![
        Just(LogSink::Stdout),
        Just(LogSink::Stderr),
        name().prop_map(|n| LogSink::File(format!("/var/log/{n}"))),
    ];
    let format = prop_oneof![
        Just(LogFormat::DefaultText),
        text().prop_map(LogFormat::Text),
        btree_map(name(), text(), 0..4).prop_map(|m| LogFormat::Json(m.into_iter().collect())),
    ];
    (sink, format).prop_map(|(sink, format)| AccessLog { sink, format }).boxed()
}

fn permission() -> BoxedStrategy<Permission> {
    let leaf = prop_oneof![
        Just(Permission::Any),
        header_match().prop_map(Permission::Header),
        string_match().prop_map(Permission::Path),
        net().prop_map(Permission::DestinationIp),
        any::<u16>().prop_map(Permission::DestinationPort),
        (0i32..65_536, 0i32..65_536).prop_map(|(a, b)| Permission::DestinationPorts(a, b)),
        string_match().prop_map(Permission::ServerName),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Permission::And),
            vec(inner.clone(), 0..3).prop_map(Permission::Or),
            inner.prop_map(|p| Permission::Not(Box::new(p))),
        ]
    })
    .boxed()
}

fn principal() -> BoxedStrategy<Principal> {
    let leaf = prop_oneof![
        Just(Principal::Any),
        of(string_match()).prop_map(Principal::Authenticated),
        net().prop_map(Principal::DirectRemoteIp),
        net().prop_map(Principal::RemoteIp),
        header_match().prop_map(Principal::Header),
        string_match().prop_map(Principal::Path),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Principal::And),
            vec(inner.clone(), 0..3).prop_map(Principal::Or),
            inner.prop_map(|p| Principal::Not(Box::new(p))),
        ]
    })
    .boxed()
}

fn authorization() -> BoxedStrategy<Authorization> {
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny), Just(Action::Log)];
    let rules = (vec(permission(), 0..3), vec(principal(), 0..3));
    (action, btree_map(name(), rules, 0..4), any::<bool>())
        .prop_map(|(action, policies, shadow)| {
            let policies = policies
                .into_iter()
                .map(|(name, (permissions, principals))| Policy { name, permissions, principals })
                .collect();
            Authorization { action, policies, shadow }
        })
        .boxed()
}

fn tls_parameters() -> BoxedStrategy<TlsParameters> {
    let version = || of(prop_oneof![Just(TlsVersion::V1_2), Just(TlsVersion::V1_3)]);
    let given = prop_oneof![
        (name(), name()).prop_map(|(certificate, key)| CertificateSource::Files { certificate, key }),
        (text(), text()).prop_map(|(certificate, key)| CertificateSource::Inline { certificate, key }),
    ];
    let secrets = prop_oneof![Just("default".to_owned()), name()].prop_map(CertificateSource::Sds);
    let certificates = prop_oneof![vec(given, 0..3), vec(secrets, 0..3)];
    (version(), version(), vec(name(), 0..3), certificates, of(validation()))
        .prop_map(|(min, max, alpn, certificates, validation)| TlsParameters {
            min,
            max,
            alpn,
            certificates,
            validation,
        })
        .boxed()
}

fn validation() -> BoxedStrategy<Validation> {
    let roots = prop_oneof![
        prop_oneof![Just("ROOTCA".to_owned()), name()].prop_map(RootSource::Sds),
        name().prop_map(RootSource::File),
        text().prop_map(RootSource::Inline),
        Just(RootSource::None),
    ];
    let kind = prop_oneof![Just(SanKind::Dns), Just(SanKind::Uri), Just(SanKind::Ip), Just(SanKind::Email)]
        .prop_map(Some);
    let typed = (kind, string_match()).prop_map(|(kind, value)| SanMatch { kind, value });
    let untyped = string_match().prop_map(|value| SanMatch { kind: None, value });
    let names = prop_oneof![vec(typed, 0..3), vec(untyped, 0..3)];
    (roots, names).prop_map(|(roots, subject_alt_names)| Validation { roots, subject_alt_names }).boxed()
}

fn listener() -> BoxedStrategy<Listener> {
    let direction =
        prop_oneof![Just(Direction::Unspecified), Just(Direction::Inbound), Just(Direction::Outbound)];
    let inspect = (any::<[bool; 4]>(), of(duration())).prop_map(|(flags, timeout)| Inspect {
        original_destination: flags[0],
        tls: flags[1],
        http: flags[2],
        timeout,
        continue_on_timeout: flags[3],
    });
    let head = (name(), socket(), any::<bool>(), direction, any::<bool>(), inspect);
    (head, vec(chain(), 0..3), of(chain()))
        .prop_map(
            |(
                (name, address, bind_to_port, direction, use_original_destination, inspect),
                chains,
                default_chain,
            )| {
                Listener {
                    name,
                    address,
                    bind_to_port,
                    direction,
                    use_original_destination,
                    inspect,
                    chains,
                    default_chain,
                }
            },
        )
        .boxed()
}

fn chain() -> BoxedStrategy<FilterChain> {
    let transport = of(prop_oneof![Just(Transport::Raw), Just(Transport::Tls)]);
    let names = || vec(name(), 0..2);
    let criteria = (of(any::<u16>()), vec(net(), 0..2), vec(net(), 0..2), names(), transport, names())
        .prop_map(
            |(destination_port, destination, source, server_names, transport, application_protocols)| {
                ChainMatch {
                    destination_port,
                    destination,
                    source,
                    server_names,
                    transport,
                    application_protocols,
                }
            },
        );
    let tls = (tls_parameters(), any::<bool>()).prop_map(|(common, require_client_certificate)| {
        DownstreamTls { common, require_client_certificate }
    });
    let protocol = prop_oneof![
        connection().prop_map(|c| Protocol::Http(Box::new(c))),
        tcp_proxy().prop_map(Protocol::Tcp),
    ];
    (name(), criteria, of(tls), vec(authorization(), 0..2), protocol)
        .prop_map(|(name, criteria, tls, authorization, protocol)| FilterChain {
            name,
            criteria,
            tls,
            authorization,
            protocol,
        })
        .boxed()
}

fn tcp_proxy() -> BoxedStrategy<TcpProxy> {
    let weighted = (name(), any::<u32>()).prop_map(|(name, weight)| WeightedCluster {
        name,
        weight,
        request_headers: HeaderMutations::default(),
        response_headers: HeaderMutations::default(),
        host_rewrite: None,
    });
    let clusters = prop_oneof![
        name().prop_map(ClusterChoice::Single),
        vec(weighted, 1..3).prop_map(ClusterChoice::Weighted),
    ];
    (name(), clusters, of(duration()), 1u32..5, vec(access_log(), 0..2))
        .prop_map(|(stat_prefix, clusters, idle_timeout, max_connect_attempts, access_log)| TcpProxy {
            stat_prefix,
            clusters,
            idle_timeout,
            max_connect_attempts,
            access_log,
        })
        .boxed()
}

fn connection() -> BoxedStrategy<HttpConnection> {
    let routes =
        prop_oneof![route_configuration().prop_map(RouteSource::Inline), name().prop_map(RouteSource::Rds),];
    let codec = prop_oneof![Just(Codec::Auto), Just(Codec::Http1), Just(Codec::Http2)];
    let tracing = of((0u32..=1_000_000).prop_map(|numerator| Fraction { numerator, denominator: 1_000_000 }));
    (
        (name(), routes, codec, vec(http_filter(), 0..4), of(name()), client_certificate()),
        (any::<[bool; 6]>(), vec(name(), 0..2), vec(access_log(), 0..2), tracing, http_extra()),
        (vec(of(duration()), 5), any::<[u32; 4]>()),
    )
        .prop_map(|((stat_prefix, routes, codec, filters, server_name, client_certificate), more, limits)| {
            let (flags, upgrades, access_log, tracing, extra) = more;
            let (durations, numbers) = limits;
            HttpConnection {
                stat_prefix,
                codec,
                routes,
                filters,
                server_name,
                use_remote_address: flags[0],
                trusted_hops: numbers[0],
                client_certificate,
                generate_request_id: flags[1],
                preserve_request_id: flags[2],
                normalize_path: flags[3],
                merge_slashes: flags[4],
                upgrades,
                stream_idle_timeout: durations[0],
                request_timeout: durations[1],
                headers_timeout: durations[2],
                idle_timeout: durations[3],
                max_connection_duration: durations[4],
                max_headers_kib: numbers[1],
                max_headers_count: numbers[2],
                accept_http_10: flags[5],
                max_concurrent_streams: numbers[3],
                access_log,
                tracing,
                extra,
            }
        })
        .boxed()
}

fn http_extra() -> BoxedStrategy<HttpExtra> {
    let host_port = prop_oneof![Just(HostPort::Keep), Just(HostPort::StripOwn), Just(HostPort::Strip)];
    let slashes = prop_oneof![
        Just(EscapedSlashes::Keep),
        Just(EscapedSlashes::Reject),
        Just(EscapedSlashes::Redirect),
        Just(EscapedSlashes::Unescape),
    ];
    let underscores =
        prop_oneof![Just(Underscores::Allow), Just(Underscores::Reject), Just(Underscores::Drop)];
    let names = (of(name()), of(name()));
    // Only where there is a name is there one to keep, so that flag is not made here.
    (vec(net(), 0..2), any::<[bool; 3]>(), host_port, slashes, underscores, names, local_reply())
        .prop_map(|(internal_addresses, flags, host_port, escaped_slashes, underscores, names, reply)| {
            HttpExtra {
                internal_addresses,
                skip_forwarded_for: flags[0],
                via: names.0.unwrap_or_default(),
                keep_server: false,
                host_port,
                strip_host_dot: flags[1],
                escaped_slashes,
                underscores,
                request_id_in_response: flags[2],
                default_host: names.1.unwrap_or_default(),
                local_reply: reply,
            }
        })
        .boxed()
}

fn local_reply() -> BoxedStrategy<LocalReply> {
    let comparison = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::AtLeast),
        Just(Comparison::AtMost),
        Just(Comparison::Other),
    ];
    let leaf = prop_oneof![
        (comparison, any::<u32>()).prop_map(|(op, number)| ReplyFilter::Status(op, number)),
        vec(name(), 0..3).prop_map(ReplyFilter::Flags),
        header_match().prop_map(ReplyFilter::Header),
    ];
    let filter = leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(ReplyFilter::And),
            vec(inner, 0..3).prop_map(ReplyFilter::Or),
        ]
    });
    let format = || {
        let text = prop_oneof![
            text().prop_map(LogFormat::Text),
            btree_map(name(), text(), 0..4).prop_map(|m| LogFormat::Json(m.into_iter().collect())),
        ];
        (text, of(name()))
            .prop_map(|(format, kind)| ReplyFormat { format, content_type: kind.unwrap_or_default() })
    };
    let headers = mutations().prop_map(|m| HeaderMutations { remove: vec![], ..m });
    let mapper = (filter, of(any::<u16>()), of(text()), of(format()), headers).prop_map(
        |(filter, status, body, format, headers)| ReplyMapper { filter, status, body, format, headers },
    );
    (vec(mapper, 0..2), of(format())).prop_map(|(mappers, format)| LocalReply { mappers, format }).boxed()
}

fn http_filter() -> BoxedStrategy<HttpFilter> {
    prop_oneof![
        authorization().prop_map(HttpFilter::Authorization),
        fault().prop_map(HttpFilter::Fault),
        Just(HttpFilter::Cors),
        Just(HttpFilter::GrpcWeb),
        Just(HttpFilter::GrpcStats),
        Just(HttpFilter::Alpn),
        Just(HttpFilter::Stats),
        Just(HttpFilter::PeerMetadata),
        Just(HttpFilter::Router),
    ]
    .boxed()
}

fn client_certificate() -> BoxedStrategy<ForwardClientCertificate> {
    let mode = prop_oneof![
        Just(ForwardMode::Sanitize),
        Just(ForwardMode::ForwardOnly),
        Just(ForwardMode::AppendForward),
        Just(ForwardMode::SanitizeSet),
        Just(ForwardMode::AlwaysForwardOnly),
    ];
    (mode, any::<[bool; 5]>())
        .prop_map(|(mode, f)| ForwardClientCertificate {
            mode,
            subject: f[0],
            uri: f[1],
            dns: f[2],
            cert: f[3],
            chain: f[4],
        })
        .boxed()
}

fn fault() -> BoxedStrategy<Fault> {
    let status =
        prop_oneof![any::<u16>().prop_map(AbortStatus::Http), any::<u32>().prop_map(AbortStatus::Grpc),];
    let delay = (duration(), fraction()).prop_map(|(duration, fraction)| FaultDelay { duration, fraction });
    let abort = (status, fraction()).prop_map(|(status, fraction)| FaultAbort { status, fraction });
    let delay = prop_oneof![
        Just((None, None)),
        delay.prop_map(|d| (Some(d), None)),
        fraction().prop_map(|f| (None, Some(f)))
    ];
    let abort = prop_oneof![
        Just((None, None)),
        abort.prop_map(|a| (Some(a), None)),
        fraction().prop_map(|f| (None, Some(f)))
    ];
    (delay, abort, vec(header_match(), 0..2), of(name()))
        .prop_map(|((delay, delay_by_header), (abort, abort_by_header), headers, cluster)| Fault {
            delay,
            abort,
            delay_by_header,
            abort_by_header,
            headers,
            upstream_cluster: cluster.unwrap_or_default(),
        })
        .boxed()
}

fn route_configuration() -> BoxedStrategy<RouteConfiguration> {
    let changes = (mutations(), mutations(), vec(name(), 0..2));
    (name(), vec(virtual_host(), 0..3), any::<[bool; 2]>(), changes)
        .prop_map(|(name, virtual_hosts, flags, changes)| RouteConfiguration {
            name,
            virtual_hosts,
            ignore_port_in_host: flags[0],
            request_headers: changes.0,
            response_headers: changes.1,
            internal_only_headers: changes.2,
            most_specific_wins: flags[1],
        })
        .boxed()
}

fn virtual_host() -> BoxedStrategy<VirtualHost> {
    let flags = any::<(bool, bool, bool)>();
    (name(), vec(name(), 0..3), vec(route(), 0..3), flags, mutations(), mutations(), of(retry()))
        .prop_map(
            |(
                name,
                domains,
                routes,
                (require_tls, attempt_count, attempt_count_in_response),
                request_headers,
                response_headers,
                retry,
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
    // One set of enforced rules, one of shadow rules, or none at all.
    let rules = |shadow| authorization().prop_map(move |a| Authorization { shadow, ..a });
    let rules = of((of(rules(false)), of(rules(true))))
        .prop_map(|r| r.map(|(a, b)| a.into_iter().chain(b).collect()));
    (name(), criteria(), action, mutations(), mutations(), (of(fault()), rules), of(name()))
        .prop_map(|(name, criteria, action, request_headers, response_headers, settings, origin)| Route {
            name,
            criteria,
            action,
            request_headers,
            response_headers,
            fault: settings.0,
            authorization: settings.1,
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
    let mirror = (name(), fraction()).prop_map(|(cluster, fraction)| Mirror { cluster, fraction });
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

fn cluster() -> BoxedStrategy<Cluster> {
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
    let service =
        (name(), name(), name()).prop_map(|(host, name, namespace)| ClusterService { host, name, namespace });
    (
        (name(), discovery(), duration(), http, tls, limits),
        (of(outlier()), of(ip()), of(duration()), any::<u32>(), of(keepalive()), 0u32..=100),
        (of(service), of(name())),
    )
        .prop_map(
            |((name, (discovery, balancer), connect_timeout, http, tls, limits), more, (service, origin))| {
                let (outlier, bind, idle_timeout, max_requests_per_connection, keepalive, panic_threshold) =
                    more;
                Cluster {
                    name,
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
        1 => Just((Discovery::OriginalDestination, Balancer::Provided)),
    ]
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

fn assignment() -> BoxedStrategy<LoadAssignment> {
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
    let health = prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy), Just(Health::Draining)];
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

fn secret() -> BoxedStrategy<Secret> {
    let content = prop_oneof![
        (text(), text()).prop_map(|(chain, key)| SecretContent::Certificate { chain, key }),
        text().prop_map(|bundle| SecretContent::Roots { bundle }),
    ];
    (name(), content).prop_map(|(name, content)| Secret { name, content }).boxed()
}

fn workload() -> BoxedStrategy<Workload> {
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

fn names() -> BoxedStrategy<NameTable> {
    let info =
        (vec(ip(), 0..3), text(), text(), text()).prop_map(|(addresses, registry, short_name, namespace)| {
            NameInfo { addresses, registry, short_name, namespace }
        });
    btree_map(name(), info, 0..4).prop_map(|hosts| NameTable { hosts }).boxed()
}
