//! Pure. The fields of Envoy's messages that are read and have no effect, each with its reason.
//!
//! This list, and those of HTTP filters beside their codecs, are the whole of what decoding drops. Everything else that
//! is not understood is refused.

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
    // The reason is for readers; a constant that nobody reads would be dead code.
    assert!(!reason.is_empty());
    Ignored { tag, name }
}

pub(super) const METRIC_NAME: &str = "names Envoy's own statistics";
const METADATA: &str = "metadata that is not Istio's steers filters that are refused anyway";
const SOCKET_TUNING: &str = "tunes Envoy's sockets, threads or buffers";
pub(super) const TRACE_DETAIL: &str = "words spans, not traffic";
pub(super) const RUNTIME_KEY: &str = "there is no runtime layer, so the default value holds";
const DNS_PACE: &str = "paces Envoy's resolver; ours follows the records' TTL";

/// By message.
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
            field(22, "access_log", "logs connections that no chain takes; the log says so anyway"),
            field(24, "tcp_backlog_size", SOCKET_TUNING),
            field(34, "max_connections_to_accept_per_socket_event", SOCKET_TUNING),
            field(31, "ignore_global_conn_limit", "there is no global limit"),
            field(35, "bypass_overload_manager", "there is no overload manager"),
        ],
    ),
    (
        "envoy.config.listener.v3.FilterChain",
        &[
            field(5, "metadata", METADATA),
            field(9, "transport_socket_connect_timeout", "handshakes have a limit of their own"),
        ],
    ),
    (
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
        &[
            field(1, "enable_ja3_fingerprinting", "fingerprints are only logged"),
            field(3, "enable_ja4_fingerprinting", "fingerprints are only logged"),
            field(2, "initial_read_buffer_size", SOCKET_TUNING),
        ],
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        &[
            field(12, "drain_timeout", "draining is paced by the process"),
            field(62, "drain_timeout_jitter", "draining is paced by the process"),
            field(26, "delayed_close_timeout", SOCKET_TUNING),
            field(59, "stream_flush_timeout", "the stream idle timeout covers it"),
            field(54, "access_log_flush_interval", "a request is logged once, at its end"),
            field(56, "access_log_options", "a request is logged once, at its end"),
            field(18, "proxy_100_continue", "100 Continue is always passed on"),
            field(36, "request_id_extension", "request ids are UUIDs"),
            field(58, "http1_safe_max_connection_duration", "connections always end between requests"),
        ],
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.Tracing",
        &[
            field(3, "client_sampling", "only the random share is used"),
            field(5, "overall_sampling", "only the random share is used"),
            field(6, "verbose", TRACE_DETAIL),
            field(7, "max_path_tag_length", TRACE_DETAIL),
            field(8, "custom_tags", TRACE_DETAIL),
            field(9, "provider", "where spans go is set for the process"),
            field(10, "spawn_upstream_span", TRACE_DETAIL),
            field(11, "operation", TRACE_DETAIL),
            field(12, "upstream_operation", TRACE_DETAIL),
        ],
    ),
    (
        "envoy.config.core.v3.Http1ProtocolOptions",
        &[
            field(1, "allow_absolute_url", "absolute targets are always understood"),
            field(4, "header_key_format", "header names are case-insensitive"),
            field(5, "enable_trailers", "trailers are always passed on"),
            field(9, "use_balsa_parser", SOCKET_TUNING),
        ],
    ),
    (
        "envoy.config.core.v3.Http2ProtocolOptions",
        &[
            field(1, "hpack_table_size", SOCKET_TUNING),
            field(2, "max_concurrent_streams", "towards a cluster the server's own limit decides"),
            field(3, "initial_stream_window_size", SOCKET_TUNING),
            field(4, "initial_connection_window_size", SOCKET_TUNING),
            field(7, "max_outbound_frames", "flood limits are the HTTP library's"),
            field(8, "max_outbound_control_frames", "flood limits are the HTTP library's"),
            field(
                9,
                "max_consecutive_inbound_frames_with_empty_payload",
                "flood limits are the HTTP library's",
            ),
            field(10, "max_inbound_priority_frames_per_stream", "flood limits are the HTTP library's"),
            field(
                11,
                "max_inbound_window_update_frames_per_data_frame_sent",
                "flood limits are the HTTP library's",
            ),
            field(16, "use_oghttp2_codec", SOCKET_TUNING),
            field(18, "enable_huffman_encoding", SOCKET_TUNING),
        ],
    ),
    (
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        &[
            field(15, "access_log_flush_interval", "a connection is logged once, at its end"),
            field(16, "flush_access_log_on_connected", "a connection is logged once, at its end"),
            field(17, "access_log_options", "a connection is logged once, at its end"),
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
            field(11, "max_direct_response_body_size_bytes", "bodies are taken as they are"),
            field(17, "metadata", METADATA),
        ],
    ),
    (
        "envoy.config.route.v3.VirtualHost",
        &[
            field(5, "virtual_clusters", METRIC_NAME),
            field(18, "per_request_buffer_limit_bytes", SOCKET_TUNING),
            field(25, "request_body_buffer_limit", SOCKET_TUNING),
            field(24, "metadata", METADATA),
        ],
    ),
    (
        "envoy.config.route.v3.Route",
        &[
            field(4, "metadata", METADATA),
            field(5, "decorator", TRACE_DETAIL),
            field(16, "per_request_buffer_limit_bytes", SOCKET_TUNING),
            field(19, "stat_prefix", METRIC_NAME),
            field(20, "request_body_buffer_limit", SOCKET_TUNING),
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
    ("envoy.config.route.v3.RequestMirrorPolicy", &[field(4, "trace_sampled", TRACE_DETAIL)]),
    (
        "envoy.config.cluster.v3.Cluster",
        &[
            field(28, "alt_stat_name", METRIC_NAME),
            field(61, "stats_matcher", METRIC_NAME),
            field(5, "per_connection_buffer_limit_bytes", SOCKET_TUNING),
            field(16, "dns_refresh_rate", DNS_PACE),
            field(58, "dns_jitter", DNS_PACE),
            field(44, "dns_failure_refresh_rate", DNS_PACE),
            field(39, "respect_dns_ttl", DNS_PACE),
            field(17, "dns_lookup_family", "every address family of this machine is tried"),
            field(54, "wait_for_warm_on_init", "warming always waits"),
            field(20, "cleanup_interval", "idle original destinations are forgotten anyway"),
            field(25, "metadata", METADATA),
            field(31, "close_connections_on_host_health_failure", "there are no active health checks"),
            field(32, "ignore_health_on_host_removal", "there are no active health checks"),
            field(47, "track_timeout_budgets", METRIC_NAME),
            field(49, "track_cluster_stats", METRIC_NAME),
            field(50, "preconnect_policy", SOCKET_TUNING),
        ],
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
            field(7, "success_rate_minimum_hosts", "ejection by success rate is not enforced"),
            field(8, "success_rate_request_volume", "ejection by success rate is not enforced"),
            field(9, "success_rate_stdev_factor", "ejection by success rate is not enforced"),
            field(16, "failure_percentage_threshold", "ejection by failure share is not enforced"),
            field(19, "failure_percentage_minimum_hosts", "ejection by failure share is not enforced"),
            field(20, "failure_percentage_request_volume", "ejection by failure share is not enforced"),
        ],
    ),
    (
        "envoy.config.endpoint.v3.Policy",
        &[field(3, "overprovisioning_factor", "Envoy's own default is used")],
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
            field(6, "session_timeout", "sessions are resumed as the TLS library allows"),
            field(
                7,
                "disable_stateless_session_resumption",
                "sessions are resumed as the TLS library allows",
            ),
            field(
                10,
                "disable_stateful_session_resumption",
                "sessions are resumed as the TLS library allows",
            ),
            field(8, "ocsp_staple_policy", "nothing is stapled, which the default policy allows"),
            field(9, "full_scan_certs_on_sni_mismatch", "the first certificate answers unknown names"),
            field(11, "prefer_client_ciphers", "all suites that are offered are strong"),
        ],
    ),
    (
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        &[
            field(3, "allow_renegotiation", "renegotiation is never allowed, the safer choice"),
            field(4, "max_session_keys", "sessions are resumed as the TLS library allows"),
            field(5, "enforce_rsa_key_usage", "key usage is always enforced"),
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
            field(4, "cluster_manager", "tunes the order of Envoy's start"),
            field(6, "stats_sinks", "statistics are scraped"),
            field(13, "stats_config", METRIC_NAME),
            field(7, "stats_flush_interval", "statistics are scraped"),
            field(39, "deferred_stat_options", METRIC_NAME),
            field(8, "watchdog", "Envoy's watchdog"),
            field(27, "watchdogs", "Envoy's watchdog"),
            field(17, "layered_runtime", RUNTIME_KEY),
            field(15, "overload_manager", "the kernel and the container bound memory"),
            field(16, "enable_dispatcher_stats", METRIC_NAME),
            field(31, "typed_dns_resolver_config", DNS_PACE),
            field(38, "application_log_config", "the log has options of its own"),
        ],
    ),
    (
        "envoy.config.bootstrap.v3.Admin",
        &[
            field(1, "access_log_path", "calls of the admin port are not logged"),
            field(5, "access_log", "calls of the admin port are not logged"),
            field(2, "profile_path", "Envoy's profiler"),
            field(6, "ignore_global_conn_limit", "there is no global limit"),
        ],
    ),
];
