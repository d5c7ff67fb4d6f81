//! Bootstraps in all their forms, refusals with their paths, and the content of dumps.

use super::*;
use crate::model::Resource;
use crate::model::endpoint::LoadAssignment;
use crate::model::secret::SecretContent;
use crate::model::tls::CertificateSource;
use crate::wire::any::type_name;
use crate::wire::xds::Any;
use crate::wire::{Target, decode, encode, strategy};
use crate::wire::{filter, ignored};
use base64::Engine;
use proptest::prelude::*;
use prost::Name;
use prost_reflect::DynamicMessage;
use serde_json::Value;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn json_keeps_every_resource(resource in strategy::resource()) {
        let any = encode(&resource, &Target { istio_extensions: true });
        let schema = Schema::load();
        let value = schema.to_json(&any);
        let kind = type_name(&any.type_url);
        let Some(descriptor) = schema.pool.get_message_by_name(kind) else { return Ok(()) };
        let mut fields = value;
        fields.as_object_mut().unwrap().remove("@type");
        let message = DynamicMessage::deserialize(descriptor, fields).unwrap();
        let back = Any { type_url: any.type_url, value: prost::Message::encode_to_vec(&message) };
        prop_assert_eq!(decode(&back), Ok(resource));
    }

    #[test]
    fn text_of_any_kind_is_survived(text in "\\PC{0,60}") {
        let _ = Bootstrap::parse(&text);
    }
}

#[test]
fn the_list_of_ignored_fields_names_fields_that_exist() {
    let schema = Schema::load();
    let mut wrong = vec![];
    for (message, fields) in ignored::IGNORED.iter().chain(filter::IGNORED.iter().copied()) {
        let (package, name) = message.rsplit_once('.').unwrap();
        let found = schema.pool.all_messages().find(|m| m.package_name() == package && m.name() == name);
        for field in *fields {
            let named = found.as_ref().and_then(|m| Some(m.get_field(field.tag)?.name().to_owned()));
            if named.as_deref() != Some(field.name) {
                wrong.push(format!("{message} {}: {} is {named:?}", field.tag, field.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A bootstrap with many fields set; each test fills in the `{…}` marks.
const FULL: &str = include_str!("bootstrap.yaml");

fn parsed(text: &str) -> Bootstrap {
    Bootstrap::parse(text).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(text: &str) -> String {
    Bootstrap::parse(text).unwrap_err().to_string()
}

#[test]
fn a_static_bootstrap_becomes_listeners_and_clusters() {
    insta::assert_debug_snapshot!(parsed(FULL));
}

#[test]
fn a_bootstrap_is_the_same_in_json() {
    let value: Value = serde_saphyr::from_str(FULL).unwrap();
    assert_eq!(parsed(&value.to_string()), parsed(FULL));
}

#[test]
fn field_names_may_be_written_in_camel_case() {
    let text = FULL
        .replace("filter_chains", "filterChains")
        .replace("static_resources", "staticResources")
        .replace("port_value", "portValue")
        .replace("connect_timeout", "connectTimeout")
        .replace("virtual_hosts", "virtualHosts");
    assert_ne!(text, FULL);
    assert_eq!(parsed(&text), parsed(FULL));
}

#[test]
fn a_control_plane_is_found_in_the_bootstrap() {
    let text = r#"
        node: {id: "sidecar~10.0.0.1~a.b~b.svc.cluster.local", cluster: a.b, metadata: {NAMESPACE: b}}
        admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}
        dynamic_resources:
          lds_config: {ads: {}, resource_api_version: V3}
          cds_config: {ads: {}, resource_api_version: V3}
          ads_config:
            api_type: DELTA_GRPC
            transport_api_version: V3
            grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]
        static_resources:
          clusters:
          - name: xds-grpc
            type: STRICT_DNS
            typed_extension_protocol_options:
              envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                explicit_http_config: {http2_protocol_options: {}}
            load_assignment:
              cluster_name: xds-grpc
              endpoints:
              - lb_endpoints:
                - endpoint: {address: {socket_address: {address: istiod.istio-system.svc, port_value: 15010}}}
    "#;
    let found = parsed(text);
    let ads = AdsSource { cluster: "xds-grpc".into(), delta: true, listeners: true, clusters: true };
    assert_eq!(found.ads, Some(ads));
    assert_eq!(found.admin, Some("127.0.0.1:15000".parse().unwrap()));
    assert_eq!(found.node.metadata["NAMESPACE"], "b");
}

#[test]
fn refusals_name_the_field() {
    let check = |from: &str, to: &str, expected: &str| {
        let text = FULL.replacen(from, to, 1);
        assert_ne!(text, FULL, "{from} is not in the file");
        assert_eq!(refused(&text), expected);
    };
    let chain = "static_resources.listeners[0].filter_chains[0]";
    check(
        "stat_prefix: http",
        "stat_prefx: http",
        &format!("{chain}.filters[0].typed_config.stat_prefx: is not a known field"),
    );
    check(
        "merge_slashes: true",
        "represent_ipv4_remote_address_as_ipv4_mapped_ipv6: true",
        &format!(
            "{chain}.filters[0].typed_config.represent_ipv4_remote_address_as_ipv4_mapped_ipv6: is not supported"
        ),
    );
    check(
        "port_value: 8443",
        "port_value: many",
        "static_resources.listeners[0].address.socket_address.port_value: invalid digit found in string",
    );
    check(
        "filters.http.fault.v3.HTTPFault",
        "filters.http.lua.v3.Lua",
        &format!(
            "{chain}.filters[0].typed_config.http_filters[0].typed_config.@type: type type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua is not supported"
        ),
    );
    check(
        "http_filters:",
        "access_log: [{name: x, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]\n          http_filters:",
        &format!(
            "{chain}.filters[0].typed_config.access_log[0]: access log x (envoy.extensions.filters.http.router.v3.Router) is not supported"
        ),
    );
    check(
        "timeout: 0s",
        "timeout: soon",
        &format!(
            "{chain}.filters[0].typed_config.route_config.virtual_hosts[0].routes[0].route.timeout: failed to parse duration"
        ),
    );
    check(
        "type: STATIC",
        "type: STATC",
        "static_resources.clusters[0].type: unrecognized enum value 'STATC'",
    );
    check(
        "name: backend\n",
        "name: backend\n    lrs_server: {self: {}}\n",
        "static_resources.clusters[0].lrs_server: is not supported",
    );
}

#[test]
fn malformed_yaml_is_refused() {
    assert!(refused("static_resources: [").starts_with("neither YAML nor JSON: "));
    assert_eq!(refused("just text"), "invalid type: string \"just text\", expected a map");
}

#[test]
fn a_dump_has_envoys_shape_and_shows_no_key() {
    let mut start = parsed(FULL);
    start.secrets = vec![crate::model::secret::Secret {
        name: "static".into(),
        content: SecretContent::Certificate { chain: "chain".into(), key: "TOP-SECRET".into() },
    }];
    let secret = Resource::Secret(crate::model::secret::Secret {
        name: "default".into(),
        content: SecretContent::Certificate { chain: "chain".into(), key: "TOP-SECRET".into() },
    });
    let mut listener = start.listeners[0].clone();
    let tls = listener.chains[0].tls.as_mut().unwrap();
    tls.common.certificates =
        vec![CertificateSource::Inline { certificate: "chain".into(), key: "TOP-SECRET".into() }];
    let listener = Resource::Listener(listener);
    let cluster = Resource::Cluster(Box::new(start.clusters[0].clone()));
    let endpoints = Resource::Endpoints(LoadAssignment { cluster: "eds".into(), localities: vec![] });
    let updated = "2026-01-02T03:04:05Z";
    let entry = |resource, version| Entry { resource, version, updated };
    let entries = [
        entry(&listener, Some("7")),
        entry(&cluster, None),
        entry(&secret, Some("8")),
        entry(&endpoints, Some("9")),
    ];
    let dump = config_dump(&start, &entries, true);
    let text = dump.to_string();
    assert!(!text.contains("TOP-SECRET"));
    assert!(!text.contains(&base64::engine::general_purpose::STANDARD.encode("TOP-SECRET")));
    insta::assert_snapshot!(serde_json::to_string_pretty(&dump).unwrap());
}

#[test]
fn a_message_of_unknown_type_is_shown_as_bytes() {
    let any = Any { type_url: "type.googleapis.com/some.Thing".into(), value: vec![1, 2] };
    assert_eq!(
        to_json(&any),
        serde_json::json!({"@type": "type.googleapis.com/some.Thing", "value": "AQI="})
    );
}

fn read<M: prost::Message + Name + Default>(text: &str) -> Any {
    let value: Value = serde_saphyr::from_str(text).unwrap();
    let read = Schema::load().read::<M>(&value);
    crate::wire::any::pack(&read.unwrap_or_else(|e| panic!("{}: {}", e.path(), e.reason)))
}

#[test]
fn istios_listener_is_understood() {
    let any =
        read::<envoy_types::pb::envoy::config::listener::v3::Listener>(include_str!("istio_listener.yaml"));
    let found = decode(&any).unwrap_or_else(|e| panic!("{e}"));
    insta::assert_debug_snapshot!(found);
}

#[test]
fn istios_cluster_is_understood() {
    let any =
        read::<envoy_types::pb::envoy::config::cluster::v3::Cluster>(include_str!("istio_cluster.yaml"));
    let found = decode(&any).unwrap_or_else(|e| panic!("{e}"));
    insta::assert_debug_snapshot!(found);
}

#[test]
fn a_filter_of_any_other_type_is_refused_by_its_place() {
    let text = include_str!("istio_listener.yaml").replace("stats.PluginConfig", "some.Plugin");
    let any = read::<envoy_types::pb::envoy::config::listener::v3::Listener>(&text);
    assert_eq!(
        decode(&any).unwrap_err().to_string(),
        "Listener \"virtualInbound\": filter_chains[0].filters[1].typed_config.http_filters[5]: \
         filter istio.stats (some.Plugin) is not supported"
    );
}

#[test]
fn an_empty_static_cluster_has_no_endpoints() {
    let any = read::<envoy_types::pb::envoy::config::cluster::v3::Cluster>(
        "{name: BlackHoleCluster, type: STATIC}",
    );
    let Resource::Cluster(found) = decode(&any).unwrap() else { panic!("not a cluster") };
    let none = LoadAssignment { cluster: "BlackHoleCluster".into(), localities: vec![] };
    let discovery = crate::model::cluster::Discovery::Static(none);
    assert_eq!(*found, crate::model::cluster::Cluster::new("BlackHoleCluster", discovery));
}
