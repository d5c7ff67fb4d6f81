//! Pure. The fields of Envoy's messages that are read and have no effect, each with its reason.
//!
//! Decoding drops only the fields in this list and in the lists of HTTP filters beside their codecs. It refuses every
//! other field that it does not support.

/// A field without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ignored {
    /// Field number.
    pub(super) tag: u32,
    /// Field name.
    pub(super) name: &'static str,
}

/// A message by its full name, and its ignored fields.
pub(super) type OfMessage = (&'static str, &'static [Ignored]);

/// The ignored fields of a message.
pub(super) fn fields(package: &str, message: &str) -> &'static [Ignored] {
    let of = |full: &str| {
        full.strip_prefix(package).and_then(|r| r.strip_prefix('.')).is_some_and(|name| name == message)
    };
    IGNORED.iter().find(|(full, _)| of(full)).map_or(&[], |(_, fields)| fields)
}

pub(super) const fn field(tag: u32, name: &'static str, reason: &'static str) -> Ignored {
    // The reason is for readers of the source; without this use it would be dead code.
    assert!(!reason.is_empty());
    Ignored { tag, name }
}

pub(super) const METRIC_NAME: &str = "names Envoy's own statistics";
const METADATA: &str = "nothing reads metadata but Istio's; operators that print metadata find nothing";
const SOCKET_TUNING: &str = "tunes Envoy's sockets, threads or buffers";
const KEPT_BODY: &str = "a body of at most 1 MiB is kept for a retry or a mirror, whatever is configured";
pub(super) const SPANS: &str = "tracing is not supported; trace headers are forwarded unchanged";
pub(super) const RUNTIME_KEY: &str = "there is no runtime, so the default value applies";
const SLOW_START: &str = "an endpoint gets its whole share of the requests at once";
const DNS_QUERIES: &str = "tunes Envoy's resolver; ours queries each server once, with a timeout of 2 s";
const FLOODS: &str = "limits on floods are constants (docs/limits.md)";
const RESUMPTION: &str = "sessions are resumed for an hour at most, until a certificate or root changes";

/// The ignored fields, by message.
pub(super) const IGNORED: &[OfMessage] = &[
    (
        "envoy.config.listener.v3.Listener",
        &[
            field(28, "stat_prefix", METRIC_NAME),
            field(39, "stats_matcher", METRIC_NAME),
            field(5, "per_connection_buffer_limit_bytes", SOCKET_TUNING),
            field(6, "metadata", METADATA),
            field(8, "drain_type", "listeners drain on removal, change and shutdown alike"),
            field(12, "tcp_fast_open_queue_length", SOCKET_TUNING),
            field(20, "connection_balance_config", SOCKET_TUNING),
            field(21, "reuse_port", SOCKET_TUNING),
            field(29, "enable_reuse_port", SOCKET_TUNING),
            field(22, "access_log", "logs connections that no chain takes; the proxy's own log names them"),
            field(24, "tcp_backlog_size", SOCKET_TUNING),
            field(34, "max_connections_to_accept_per_socket_event", SOCKET_TUNING),
            field(31, "ignore_global_conn_limit", "a worker's limit on connections spares no listener"),
            field(35, "bypass_overload_manager", "there is no overload manager"),
        ],
    ),
    (
        "envoy.config.listener.v3.FilterChain",
        &[
            field(5, "metadata", METADATA),
            field(9, "transport_socket_connect_timeout", "a handshake has 15 s, Istio's value"),
        ],
    ),
    (
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        &[
            field(1, "enable_ja3_fingerprinting", "only operators that are refused print fingerprints"),
            field(3, "enable_ja4_fingerprinting", "only operators that are refused print fingerprints"),
            field(2, "initial_read_buffer_size", SOCKET_TUNING),
        ],
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        &[
            field(12, "drain_timeout", "draining is paced by the process"),
            field(62, "drain_timeout_jitter", "draining is paced by the process"),
            field(26, "delayed_close_timeout", "an ended connection is read for 1 s more"),
            field(59, "stream_flush_timeout", "the stream idle timeout covers it"),
            field(7, "tracing", SPANS),
            field(18, "proxy_100_continue", "the proxy itself sends 100 Continue when it reads the body"),
            field(58, "http1_safe_max_connection_duration", "connections always end between requests"),
        ],
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.InternalAddressConfig",
        &[field(1, "unix_sockets", "there are no clients on Unix sockets")],
    ),
    (
        "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
        &[field(1, "pack_trace_reason", SPANS), field(2, "use_request_id_for_trace_sampling", SPANS)],
    ),
    (
        "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
        &[field(1, "alpn_override", "the proxy knows the lists that Istio sends")],
    ),
    (
        "envoy.config.core.v3.ConfigSource",
        &[
            field(4, "initial_fetch_timeout", "what a resource needs is waited for until it comes"),
            field(6, "resource_api_version", "there is only version 3"),
            field(7, "authorities", "resources have plain names"),
        ],
    ),
    (
        "envoy.config.core.v3.ApiConfigSource",
        &[
            field(3, "refresh_delay", "paces polls by REST, which is refused"),
            field(5, "request_timeout", "limits polls by REST, which is refused"),
            field(7, "set_node_on_first_message_only", "the first request of a stream names the node"),
        ],
    ),
    (
        "envoy.config.core.v3.GrpcService",
        &[field(3, "timeout", "a stream of configuration has no end that could be waited for")],
    ),
    ("envoy.config.core.v3.EnvoyGrpc", &[field(5, "skip_envoy_headers", "no such headers are sent")]),
    (
        "envoy.config.core.v3.DataSource",
        &[field(5, "watched_directory", "files are read again when they change")],
    ),
    (
        "envoy.config.core.v3.Http1ProtocolOptions",
        &[
            field(1, "allow_absolute_url", "absolute targets are always understood"),
            field(5, "enable_trailers", "trailers are passed on to those who take them"),
            field(9, "use_balsa_parser", SOCKET_TUNING),
        ],
    ),
    (
        "envoy.config.core.v3.Http2ProtocolOptions",
        &[
            field(1, "hpack_table_size", SOCKET_TUNING),
            field(
                2,
                "max_concurrent_streams",
                "towards a cluster it is 100, or what the server says if that is less",
            ),
            field(3, "initial_stream_window_size", SOCKET_TUNING),
            field(4, "initial_connection_window_size", SOCKET_TUNING),
            field(7, "max_outbound_frames", FLOODS),
            field(8, "max_outbound_control_frames", FLOODS),
            field(9, "max_consecutive_inbound_frames_with_empty_payload", FLOODS),
            field(10, "max_inbound_priority_frames_per_stream", FLOODS),
            field(11, "max_inbound_window_update_frames_per_data_frame_sent", FLOODS),
            field(16, "use_oghttp2_codec", SOCKET_TUNING),
            field(18, "enable_huffman_encoding", SOCKET_TUNING),
        ],
    ),
    (
        "envoy.extensions.filters.network.rbac.v3.RBAC",
        &[field(3, "stat_prefix", METRIC_NAME), field(5, "shadow_rules_stat_prefix", METRIC_NAME)],
    ),
    (
        "envoy.config.route.v3.RouteConfiguration",
        &[
            field(7, "validate_clusters", "a route may name a cluster that comes later"),
            field(11, "max_direct_response_body_size_bytes", "no body is refused for its size"),
            field(17, "metadata", METADATA),
        ],
    ),
    (
        "envoy.config.route.v3.VirtualHost",
        &[
            field(5, "virtual_clusters", METRIC_NAME),
            field(18, "per_request_buffer_limit_bytes", KEPT_BODY),
            field(25, "request_body_buffer_limit", KEPT_BODY),
            field(24, "metadata", METADATA),
        ],
    ),
    (
        "envoy.config.route.v3.Route",
        &[
            field(4, "metadata", METADATA),
            field(5, "decorator", SPANS),
            field(16, "per_request_buffer_limit_bytes", KEPT_BODY),
            field(19, "stat_prefix", METRIC_NAME),
            field(20, "request_body_buffer_limit", KEPT_BODY),
        ],
    ),
    (
        "envoy.config.route.v3.WeightedCluster",
        &[
            field(2, "runtime_key_prefix", RUNTIME_KEY),
            field(3, "total_weight", "weights are shares of their sum, as in Envoy"),
        ],
    ),
    ("envoy.config.core.v3.RuntimeFractionalPercent", &[field(2, "runtime_key", RUNTIME_KEY)]),
    ("envoy.config.route.v3.RequestMirrorPolicy", &[field(4, "trace_sampled", SPANS)]),
    (
        "envoy.config.cluster.v3.Cluster",
        &[
            field(28, "alt_stat_name", METRIC_NAME),
            field(61, "stats_matcher", METRIC_NAME),
            field(5, "per_connection_buffer_limit_bytes", SOCKET_TUNING),
            field(54, "wait_for_warm_on_init", "warming always waits"),
            field(20, "cleanup_interval", "idle original destinations are forgotten anyway"),
            field(25, "metadata", METADATA),
            field(32, "ignore_health_on_host_removal", "there are no active health checks"),
            field(47, "track_timeout_budgets", METRIC_NAME),
            field(49, "track_cluster_stats", METRIC_NAME),
            field(50, "preconnect_policy", "connections are made when requests need them"),
        ],
    ),
    ("envoy.config.cluster.v3.RoundRobinLbConfig", &[field(1, "slow_start_config", SLOW_START)]),
    ("envoy.config.cluster.v3.LeastRequestLbConfig", &[field(3, "slow_start_config", SLOW_START)]),
    (
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
        &[field(1, "slow_start_config", SLOW_START)],
    ),
    (
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        &[field(3, "slow_start_config", SLOW_START)],
    ),
    ("envoy.config.cluster.v3.Thresholds", &[field(6, "track_remaining", METRIC_NAME)]),
    (
        "envoy.config.cluster.v3.CommonLbConfig",
        &[
            field(3, "locality_weighted_lb_config", "weights of localities are used wherever they are given"),
            field(4, "update_merge_window", "updates are merged by the control plane"),
            field(5, "ignore_new_hosts_until_first_hc", "there are no active health checks"),
        ],
    ),
    (
        "envoy.config.cluster.v3.OutlierDetection",
        &[
            field(
                16,
                "failure_percentage_threshold",
                "enforcement by failure share is off, or the message is refused",
            ),
            field(
                19,
                "failure_percentage_minimum_hosts",
                "enforcement by failure share is off, or the message is refused",
            ),
            field(
                20,
                "failure_percentage_request_volume",
                "enforcement by failure share is off, or the message is refused",
            ),
        ],
    ),
    (
        "envoy.config.endpoint.v3.LocalityLbEndpoints",
        &[field(9, "metadata", METADATA), field(6, "proximity", "no balancer uses it")],
    ),
    ("envoy.config.endpoint.v3.LbEndpoint", &[field(3, "metadata", METADATA)]),
    (
        "envoy.config.endpoint.v3.Endpoint",
        &[
            field(2, "health_check_config", "there are no active health checks"),
            field(5, "observability_name", METRIC_NAME),
        ],
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
        &[
            field(3, "cipher_suites", "only ECDHE suites with AEAD are ever offered"),
            field(4, "ecdh_curves", "only X25519, P-256 and P-384 are ever offered"),
            field(5, "signature_algorithms", "weak algorithms are never offered"),
        ],
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
        &[field(7, "watched_directory", "files are read again when they change")],
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
        &[
            field(11, "watched_directory", "files are read again when they change"),
            field(18, "suppress_client_ca_list", "the list is only a hint to clients"),
        ],
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        &[
            field(6, "session_timeout", RESUMPTION),
            field(7, "disable_stateless_session_resumption", RESUMPTION),
            field(10, "disable_stateful_session_resumption", RESUMPTION),
            field(9, "full_scan_certs_on_sni_mismatch", "the first certificate is used for unknown names"),
            field(11, "prefer_client_ciphers", "all suites that are offered are strong"),
        ],
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        &[
            field(3, "allow_renegotiation", "renegotiation is never allowed, the safer choice"),
            field(4, "max_session_keys", "64 sessions are kept for each server"),
            field(5, "enforce_rsa_key_usage", "no key exchange is offered in which an RSA key encrypts"),
        ],
    ),
    (
        "envoy.config.core.v3.SubstitutionFormatString",
        &[
            field(4, "content_type", "it concerns responses, not logs"),
            field(7, "json_format_options", "keys are written in order"),
        ],
    ),
    (
        "envoy.config.bootstrap.v3.Bootstrap",
        &[
            field(26, "node_context_params", "resources have plain names"),
            field(13, "stats_config", METRIC_NAME),
            field(7, "stats_flush_interval", "statistics are scraped"),
            field(39, "deferred_stat_options", METRIC_NAME),
            field(8, "watchdog", "Envoy's watchdog"),
            field(27, "watchdogs", "Envoy's watchdog"),
            field(17, "layered_runtime", RUNTIME_KEY),
            field(15, "overload_manager", "connections and memory have limits of their own (docs/limits.md)"),
            field(16, "enable_dispatcher_stats", METRIC_NAME),
            field(38, "application_log_config", "the log has options of its own"),
        ],
    ),
    (
        "envoy.config.bootstrap.v3.ClusterManager",
        &[
            field(1, "local_cluster_name", "traffic is not routed by zone"),
            field(5, "enable_deferred_cluster_creation", SOCKET_TUNING),
        ],
    ),
    (
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        &[
            field(
                4,
                "filter_unroutable_families",
                "an address that is not reached is one endpoint that fails",
            ),
            field(5, "udp_max_queries", DNS_QUERIES),
            field(6, "query_timeout_seconds", DNS_QUERIES),
            field(7, "query_tries", DNS_QUERIES),
            field(8, "rotate_nameservers", DNS_QUERIES),
            field(9, "edns0_max_payload_size", DNS_QUERIES),
            field(10, "max_udp_channel_duration", DNS_QUERIES),
            field(11, "reinit_channel_on_timeout", DNS_QUERIES),
            field(12, "qcache_max_ttl", DNS_QUERIES),
        ],
    ),
    (
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
        &[field(1, "num_retries", DNS_QUERIES), field(2, "num_resolver_threads", SOCKET_TUNING)],
    ),
    (
        "envoy.type.matcher.v3.GoogleRE2",
        &[field(1, "max_program_size", "each regular expression has the same limit (docs/limits.md)")],
    ),
    (
        "envoy.config.bootstrap.v3.Admin",
        &[
            field(1, "access_log_path", "calls of the admin port are not logged"),
            field(5, "access_log", "calls of the admin port are not logged"),
            field(2, "profile_path", "Envoy's profiler"),
            field(6, "ignore_global_conn_limit", "the admin port has a limit of its own"),
        ],
    ),
];
