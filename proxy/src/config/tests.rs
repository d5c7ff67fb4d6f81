//! Settings from flags, environment and mounted files, with every error at once.

use super::*;
use args::level;
use serde_json::json;

fn args(role: Role) -> MeshArgs {
    MeshArgs {
        role,
        domain: Some("shop.svc.cluster.local".into()),
        concurrency: None,
        log_level: None,
        proxy_log_level: None,
        component_log_level: None,
        log_output_level: None,
        log_as_json: false,
        podinfo: PathBuf::new(),
    }
}

fn raw(extra: &[(&str, &str)]) -> Raw {
    let base = [
        ("POD_NAME", "reviews-v1-6b9-x2"),
        ("POD_NAMESPACE", "shop"),
        ("INSTANCE_IP", "10.1.0.7"),
        ("SERVICE_ACCOUNT", "reviews"),
        ("ISTIO_META_WORKLOAD_NAME", "reviews-v1"),
        ("CA_ADDR", "citadel.istio-system.svc:8060"),
    ];
    let environment =
        base.iter().chain(extra).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Raw { environment, labels: "app=\"reviews\"\nversion=\"v1\"\n".into(), ..Raw::default() }
}

fn parse(extra: &[(&str, &str)]) -> Config {
    Config::parse(&args(Role::Sidecar), &raw(extra)).unwrap()
}

fn mistakes(raw: &Raw) -> Vec<String> {
    Config::parse(&args(Role::Sidecar), raw).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn an_injected_pod_is_described_as_istio_does() {
    let config = parse(&[
        ("ISTIO_META_MESH_ID", "mesh"),
        ("ISTIO_META_POD_PORTS", "[{\"containerPort\":9080}]"),
        ("ISTIO_METAJSON_EXTRA", "{\"a\": [1]}"),
        ("PROXY_CONFIG", r#"{"discoveryAddress": "pilot:15010", "proxyMetadata": {"ISTIO_META_X": "y"}}"#),
    ]);
    assert_eq!(config.node.id, "sidecar~10.1.0.7~reviews-v1-6b9-x2.shop~shop.svc.cluster.local");
    assert_eq!(config.node.cluster, "reviews.shop");
    let expected = json!({
        "NAME": "reviews-v1-6b9-x2",
        "NAMESPACE": "shop",
        "INSTANCE_IPS": "10.1.0.7",
        "SERVICE_ACCOUNT": "reviews",
        "WORKLOAD_NAME": "reviews-v1",
        "CLUSTER_ID": "Kubernetes",
        "METADATA_DISCOVERY": "true",
        "ENVOY_STATUS_PORT": 15021,
        "ENVOY_PROMETHEUS_PORT": 15090,
        "PROXY_CONFIG": {"discoveryAddress": "pilot:15010", "proxyMetadata": {"ISTIO_META_X": "y"}},
        "LABELS": {"app": "reviews", "version": "v1"},
        "MESH_ID": "mesh",
        "POD_PORTS": "[{\"containerPort\":9080}]",
        "EXTRA": {"a": [1]},
        "X": "y",
    });
    assert_eq!(serde_json::Value::Object(config.node.metadata), expected);
    assert!(config.node.extensions.contains(&"istio.alpn".to_owned()));
    assert!(!config.discovery.tls, "15010 is the plaintext port");
    assert_eq!(config.authority, "citadel.istio-system.svc:8060");
}

#[test]
fn annotations_are_sent_up_to_the_control_planes_limits() {
    let annotations = format!("a=\"1\"\nlong=\"{}\"\nz=\"2\"\n", "x".repeat(100_000));
    let config = Config::parse(&args(Role::Sidecar), &Raw { annotations, ..raw(&[]) }).unwrap();
    assert_eq!(config.node.metadata["ANNOTATIONS"], json!({"a": "1", "z": "2"}));
}

#[test]
fn unset_settings_have_istios_defaults() {
    let config = parse(&[]);
    assert_eq!((config.discovery.address.as_str(), config.discovery.tls), (DISCOVERY, true));
    let ports =
        Ports { admin: 15000, status: 15020, probes: 0, health: 15021, prometheus: 15090, dns: 15053 };
    assert_eq!(config.ports, ports);
    assert_eq!(config.drain.termination, Duration::from_secs(5));
    assert_eq!(config.drain.limit, Duration::from_secs(45));
    assert_eq!((config.concurrency, config.socket_mark, config.scrape), (2, None, vec![]));
    assert_eq!(config.certificate_life, None);
    assert_eq!(parse(&[("SECRET_TTL", "1h")]).certificate_life, Some(Duration::from_hours(1)));
    let router = Config::parse(&args(Role::Router), &raw(&[])).unwrap();
    assert!(router.node.id.starts_with("router~10.1.0.7~"));
}

#[test]
fn threads_come_from_the_flag_then_the_mesh_then_the_limit() {
    let table = [
        (Some(3), Some("{\"concurrency\": 4}"), Some("8"), Some(1.0), 3),
        (Some(0), Some("{\"concurrency\": 4}"), Some("8"), None, 8),
        (None, Some("{\"concurrency\": 0}"), Some("8"), None, 8),
        (None, None, Some("1"), Some(4.0), 1),
        (None, None, None, Some(1.5), 2),
        (None, None, None, Some(0.1), 1),
        (None, None, None, None, 2),
        (None, None, Some("100000"), None, 256),
    ];
    for (flag, proxy_config, limit, kernel, expected) in table {
        let given = [("PROXY_CONFIG", proxy_config), ("ISTIO_CPU_LIMIT", limit)];
        let given: Vec<(&str, &str)> =
            given.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
        let raw = Raw { cpu_limit: kernel, ..raw(&given) };
        let args = MeshArgs { concurrency: flag, ..args(Role::Sidecar) };
        assert_eq!(
            Config::parse(&args, &raw).unwrap().concurrency,
            expected,
            "{flag:?} {given:?} {kernel:?}"
        );
    }
}

#[test]
fn all_errors_are_reported_together_with_their_settings() {
    let broken = raw(&[
        ("INSTANCE_IP", "here"),
        ("CA_ADDR", "citadel"),
        ("PROXY_CONFIG", r#"{"discoveryAddress": "pilot", "concurrency": -1, "drainDuration": "soon"}"#),
        ("ISTIO_KUBE_APP_PROBERS", r#"{"/app-health/a/livez": {}}"#),
        ("ISTIO_PROMETHEUS_ANNOTATIONS", "{"),
        ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "maybe"),
        ("OSTRIA_SOCKET_MARK", "blue"),
        ("ISTIO_CPU_LIMIT", "many"),
        ("ISTIO_METAJSON_X", "{"),
        ("SECRET_TTL", "9s"),
    ]);
    let found = mistakes(&broken);
    for expected in [
        "INSTANCE_IP: `here` is not an IP address",
        "CA_ADDR: `citadel` is not an address; write it as host:port",
        "PROXY_CONFIG.discoveryAddress: `pilot` is not an address; write it as host:port",
        "PROXY_CONFIG.concurrency: -1 is not a whole number in range",
        "PROXY_CONFIG.drainDuration: \"soon\" is not a duration such as 5s",
        "ISTIO_KUBE_APP_PROBERS: `/app-health/a/livez`: names neither httpGet, tcpSocket nor grpc",
        "ISTIO_PROMETHEUS_ANNOTATIONS: is not an object in JSON",
        "EXIT_ON_ZERO_ACTIVE_CONNECTIONS: `maybe` is neither true nor false",
        "OSTRIA_SOCKET_MARK: `blue` is not a mark",
        "ISTIO_CPU_LIMIT: `many` is not a number of cores",
        "ISTIO_METAJSON_X: is not JSON",
        "SECRET_TTL: is shorter than 10s",
    ] {
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "{expected} in {found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
    assert_eq!(mistakes(&Raw::default()).len(), 2, "the pod's name and address have no default");
}

#[test]
fn probes_and_the_metrics_page_are_read_as_injection_writes_them() {
    let config = parse(&[
        (
            "ISTIO_KUBE_APP_PROBERS",
            r#"{"/app-health/a/readyz": {"httpGet": {"path": "ok", "port": 8080, "scheme": "HTTPS",
                "httpHeaders": [{"name": "Host", "value": "x"}]}, "timeoutSeconds": 3},
                "/app-health/a/livez": {"tcpSocket": {"port": "6379"}},
                "/app-health/b/startupz": {"grpc": {"port": 9000, "service": "s"}}}"#,
        ),
        ("ISTIO_PROMETHEUS_ANNOTATIONS", r#"{"scrape": "true", "path": "", "port": "9080"}"#),
    ]);
    let http = HttpProbe {
        host: None,
        port: 8080,
        path: "/ok".into(),
        tls: true,
        headers: vec![("Host".into(), "x".into())],
    };
    let expected = [
        ("/app-health/a/livez", Action::Tcp(None, 6379), 1),
        ("/app-health/a/readyz", Action::Http(http), 3),
        ("/app-health/b/startupz", Action::Grpc(9000, "s".into()), 1),
    ]
    .map(|(path, action, seconds)| {
        (path.to_owned(), Prober { action, timeout: Duration::from_secs(seconds) })
    });
    assert_eq!(config.probers, expected.into());
    assert_eq!(config.scrape, [Scrape { port: 9080, path: "/metrics".into() }]);
}

#[test]
fn several_metrics_pages_are_configured_separately() {
    let several = r#"{"scrape":"true","path":"/a","port":"1","targets":[{"port":"1","path":"/a"},{"port":"2","path":"b"}]}"#;
    let page = |port, path: &str| Scrape { port, path: path.into() };
    for (text, expected) in [
        (several, vec![page(1, "/a"), page(2, "/b")]),
        (r#"{"scrape":"false","port":"1","targets":[{"port":"1"}]}"#, vec![]),
        (r#"{"scrape":"","path":"/a","port":"1"}"#, vec![page(1, "/a")]),
        (r#"{"scrape":"1","port":"1"}"#, vec![page(1, "/metrics")]),
    ] {
        assert_eq!(parse(&[("ISTIO_PROMETHEUS_ANNOTATIONS", text)]).scrape, expected, "{text}");
    }
}

#[test]
fn capture_is_checked_if_injection_configured_it() {
    let mode = "ISTIO_META_INTERCEPTION_MODE";
    let table: [(&[(&str, &str)], bool); 5] = [
        (&[(mode, "REDIRECT")], true),
        (&[(mode, "NONE")], false),
        (&[], false),
        (&[(mode, "REDIRECT"), ("OSTRIA_CAPTURE_CHECK", "false")], false),
        (
            &[(mode, "REDIRECT"), ("PROXY_CONFIG", r#"{"proxyMetadata":{"OSTRIA_CAPTURE_CHECK":"false"}}"#)],
            false,
        ),
    ];
    for (settings, expected) in table {
        assert_eq!(parse(settings).checks_capture, expected, "{settings:?}");
    }
}

#[test]
fn the_port_of_probes_is_one_more_unless_it_is_the_status_port() {
    for (port, expected) in [("123", 123), ("15020", 0)] {
        let ports = parse(&[("OSTRIA_PROBE_PORT", port)]).ports;
        assert_eq!((ports.status, ports.probes), (15020, expected));
    }
}

#[test]
fn labels_are_read_from_the_downward_api() {
    let read = podinfo("a=\"b\"\n\nquote=\"say \\\"hi\\\"\\n\"\nbytes=\"\\xc3\\xa9\\u00e9\"\n").unwrap();
    let expected = [("a", "b"), ("bytes", "éé"), ("quote", "say \"hi\"\n")];
    assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    for wrong in ["a", "a=b", "a=\"\\q\"", "a=\"\\x4\""] {
        assert!(podinfo(wrong).unwrap_err().starts_with("line 1 "), "{wrong}");
    }
}

#[test]
fn envoys_names_of_log_levels_are_accepted() {
    for (ours, envoys, expected) in
        [(None, Some("warning"), "warn"), (Some("debug"), Some("warning"), "debug"), (None, None, "info")]
    {
        let args = MeshArgs {
            log_level: ours.map(|text| level(text).unwrap()),
            proxy_log_level: envoys.map(|text| level(text).unwrap()),
            ..args(Role::Sidecar)
        };
        assert_eq!(args.level(), expected);
    }
    assert!(level("loud").unwrap_err().contains("write error, warn, info, debug, trace"));
}
