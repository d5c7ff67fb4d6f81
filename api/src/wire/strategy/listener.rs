//! Arbitrary listeners, their filter chains and their network filters.

use super::basic::{access_log, duration, header_match, log_format, mutations, name, net, socket, text};
use super::route::route_configuration;
use super::security::{authorization, tls_parameters};
use crate::model::listener::*;
use crate::model::matcher::*;
use crate::model::port_set::PortSet;
use crate::model::route::*;
use crate::model::tls::*;
use crate::wire::filter;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

pub(super) fn listener() -> BoxedStrategy<Listener> {
    let direction =
        prop_oneof![Just(Direction::Unspecified), Just(Direction::Inbound), Just(Direction::Outbound)];
    let inspect = ([ports(), ports(), ports()], of(duration()), any::<bool>()).prop_map(
        |([original_destination, tls, http], timeout, continue_on_timeout)| Inspect {
            original_destination,
            tls,
            http,
            timeout,
            continue_on_timeout,
        },
    );
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

fn ports() -> impl Strategy<Value = PortSet> {
    prop_oneof![
        any::<bool>().prop_map(PortSet::from),
        vec(any::<u16>(), 0..3).prop_map(|ports| ports.into_iter().collect()),
        vec(any::<u16>(), 0..3).prop_map(|ports| ports.into_iter().collect::<PortSet>().complement()),
    ]
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
    (
        (name(), routes, codec, vec(filter::arbitrary(), 0..4), of(name()), client_certificate()),
        (any::<[bool; 6]>(), vec(name(), 0..2), vec(access_log(), 0..2), http_extra()),
        (vec(of(duration()), 5), any::<[u32; 4]>()),
    )
        .prop_map(|((stat_prefix, routes, codec, filters, server_name, client_certificate), more, limits)| {
            let (flags, upgrades, access_log, extra) = more;
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
    // `keep_server` needs a server name, so it is not generated here.
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
        (log_format(), any::<bool>(), of(name())).prop_map(|(format, omit_empty, kind)| ReplyFormat {
            format,
            omit_empty,
            content_type: kind.unwrap_or_default(),
        })
    };
    let headers = mutations().prop_map(|m| HeaderMutations { remove: vec![], ..m });
    let mapper = (filter, of(any::<u16>()), of(text()), of(format()), headers).prop_map(
        |(filter, status, body, format, headers)| ReplyMapper { filter, status, body, format, headers },
    );
    (vec(mapper, 0..2), of(format())).prop_map(|(mappers, format)| LocalReply { mappers, format }).boxed()
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
