//! Pure. Validates MeshConfig, from the ConfigMap `istio` (`istio-<revision>`) of the root namespace or from a file.

use super::export;
use super::virtual_service::retry;
use crate::catalog::kind::Item;
use crate::catalog::kind::sidecar;
use crate::catalog::policy::{IngressMode, IngressSettings, Mesh, PathNormalization};
use crate::catalog::visibility::{ExportTo, Labels};
use crate::check::finding::Findings;
use crate::check::value;
use api::format::{self, Place as Within};
use api::identity::TrustDomain;
use api::model::access_log::{AccessLog, JsonFormat, LogFormat, LogSink};
use api::process::duration;
use api::resource::document::Place;
use api::resource::mesh_config::{
    AccessLogEncoding, IngressControllerMode, MeshConfig, NamespaceSelector, Normalization,
};
use api::resource::name::is_label;
use api::resource::object::Object;
use api::resource::parse;
use api::resource::selector::requirement::Selector;
use k8s_openapi::api::core::v1::ConfigMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn config_map(
    f: &mut Findings,
    place: &Place,
    object: &Object,
    body: &ConfigMap,
    mesh_in_force: &Mesh,
) -> Item {
    // Starts from the settings without MeshConfig, not from the result of an earlier version of this object: a setting
    // that it omits has its default.
    let base = mesh_in_force.base.as_deref().unwrap_or(mesh_in_force);
    let (root, named) = (&base.root_namespace, object.name() == base.config_map);
    let networks = body.data.as_ref().and_then(|data| data.get("meshNetworks"));
    let empty = ["", "{}", "networks: {}", "networks:"];
    if networks.is_some_and(|text| !empty.contains(&text.trim())) && named && object.namespace() == root {
        f.not_supported("data.meshNetworks", "networks of the mesh are");
    }
    let Some(text) = body.data.as_ref().and_then(|data| data.get("mesh")) else { return Item::Other };
    if !named || object.namespace() != root {
        if named || object.namespace() == root {
            let reason = format!(
                "has no effect: the MeshConfig is read only from ConfigMap {root}/{}",
                base.config_map
            );
            f.warn("data.mesh", reason, "move it there, or rename the key");
        }
        return Item::Other;
    }
    match parse::mesh_config(place, text) {
        Ok(config) => {
            let mesh = mesh(f, "data.mesh", &config, base);
            // In a cluster, the injector reads the same object.
            if !matches!(place, Place::Cluster { .. }) {
                of_the_injector(f, "data.mesh", &config);
            }
            Item::Mesh(Arc::new(Mesh { base: Some(Arc::new(base.clone())), ..mesh }))
        }
        Err(refusals) => {
            for refusal in refusals {
                f.error(joined("data.mesh", &refusal.path), refusal.reason, &refusal.next);
            }
            Item::Other
        }
    }
}

/// Applies a MeshConfig to the settings that hold without it.
pub(super) fn mesh(f: &mut Findings, path: &str, config: &MeshConfig, base: &Mesh) -> Mesh {
    let at = |field: &str| joined(path, field);
    f.unserved(at("trustDomainAliases"), &config.trust_domain_aliases);
    let mut mesh = base.clone();
    if let Some(text) = &config.trust_domain {
        match TrustDomain::configured(text) {
            Ok(domain) => mesh.trust_domain = domain.to_string(),
            Err(error) => f.error(at("trustDomain"), error, "correct it"),
        }
    }
    if let Some(namespace) = &config.root_namespace {
        if is_label(namespace) {
            mesh.root_namespace.clone_from(namespace);
        } else {
            f.error(at("rootNamespace"), format!("`{namespace}` is not a valid namespace"), "correct it");
        }
    }
    let outbound = config.outbound_traffic_policy.as_ref();
    let outbound = outbound.and_then(|p| sidecar::outbound(f, &at("outboundTrafficPolicy"), p));
    mesh.outbound = outbound.unwrap_or(mesh.outbound);
    if let Some(file) = &config.access_log_file {
        mesh.access_log = access_log(f, path, config, file);
    } else {
        let given = [
            ("accessLogFormat", config.access_log_format.is_some()),
            ("accessLogEncoding", config.access_log_encoding.is_some()),
        ];
        for (field, _) in given.into_iter().filter(|(_, given)| *given) {
            f.warn(at(field), "has no effect without accessLogFile", "set accessLogFile to /dev/stdout");
        }
    }
    if let Some(wanted) = &config.path_normalization {
        mesh.paths = match wanted.normalization {
            Normalization::Default | Normalization::Base => PathNormalization::Base,
            Normalization::None => PathNormalization::None,
            Normalization::MergeSlashes => PathNormalization::MergeSlashes,
            Normalization::DecodeAndMergeSlashes => PathNormalization::DecodeAndMergeSlashes,
        };
    }
    let connect = value::period(f, &at("connectTimeout"), config.connect_timeout.as_deref());
    if connect.is_some_and(|timeout| timeout > MAX_CONNECT_TIMEOUT) {
        f.error(at("connectTimeout"), "is longer than an hour", "write at most 1h");
    }
    mesh.connect_timeout = connect.unwrap_or(mesh.connect_timeout);
    let detection = detection(f, &at("protocolDetectionTimeout"), config, base.detection_timeout);
    mesh.detection_timeout = detection.unwrap_or(mesh.detection_timeout);
    mesh.auto_mtls = config.enable_auto_mtls.unwrap_or(mesh.auto_mtls);
    if let Some(retries) = &config.default_http_retry_policy {
        mesh.default_retries = retry::retries(f, &at("defaultHttpRetryPolicy"), Some(retries));
    }
    exports(f, path, config, &mut mesh);
    mesh.discovery = discovery(f, path, &config.discovery_selectors);
    mesh.ingress = ingress(f, path, config);
    mesh
}

/// Parses `discoverySelectors`. One that is empty selects every namespace.
fn discovery(f: &mut Findings, path: &str, written: &[NamespaceSelector]) -> Vec<Selector> {
    let mut selectors = vec![];
    for (i, selector) in written.iter().enumerate() {
        match selector.parse() {
            Ok(selector) => selectors.push(selector),
            Err(error) => {
                let at = joined(path, &format!("discoverySelectors[{i}].{}", error.path()));
                f.error(at, error.reason(), "correct it");
            }
        }
    }
    selectors
}

/// Parses the settings of Ingresses. As in Istio, the gateway's Service names the gateway's label where `ingressSelector`
/// does not.
fn ingress(f: &mut Findings, path: &str, config: &MeshConfig) -> IngressSettings {
    let default = IngressSettings::default();
    let mode = match config.ingress_controller_mode {
        None => default.mode,
        Some(IngressControllerMode::Unspecified | IngressControllerMode::Off) => IngressMode::Off,
        Some(IngressControllerMode::Default) => IngressMode::Default,
        Some(IngressControllerMode::Strict) => IngressMode::Strict,
    };
    let service = match config.ingress_service.as_deref() {
        None => default.service.clone(),
        Some("") => None,
        Some(name) if is_label(name) => Some(name.to_owned()),
        Some(name) => {
            let reason = format!("`{name}` is not a valid name of a Service");
            f.error(joined(path, "ingressService"), reason, "correct it");
            None
        }
    };
    let named = config.ingress_selector.clone().filter(|value| !value.is_empty());
    let by_service = service.clone().filter(|_| service != default.service);
    let selector = named.or(by_service).map(|value| Labels::from([("istio".to_owned(), value)]));
    if let Some(selector) = &selector {
        value::labels(f, &joined(path, "ingressSelector"), selector);
    }
    IngressSettings {
        mode,
        class: config.ingress_class.clone().unwrap_or(default.class),
        selector: selector.unwrap_or(default.selector),
        service,
    }
}

/// Warns of proxy settings, which pilot does not read. Without a cluster, the injector reads them only from its own file.
fn of_the_injector(f: &mut Findings, path: &str, config: &MeshConfig) {
    let given = [
        ("defaultConfig", config.default_config.is_some()),
        ("enablePrometheusMerge", config.enable_prometheus_merge.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        let reason = "has no effect here: without a cluster, the injector reads it from its own file";
        let next = "set it in the file of ostria-injector's --config, or in a Pod's annotations";
        f.warn(joined(path, field), reason, next);
    }
}

/// Parses `protocolDetectionTimeout`. In Istio, 0 waits forever, so connections of server-first protocols hang.
fn detection(f: &mut Findings, path: &str, config: &MeshConfig, default: Duration) -> Option<Duration> {
    let text = config.protocol_detection_timeout.as_deref();
    if text.is_some_and(|text| duration::parse(text) == Ok(Duration::ZERO)) {
        let reason = format!("0 would disable the timeout: {} is used", duration::display(default));
        f.warn(path, reason, "write at least 1ms, or remove it");
        return None;
    }
    value::period(f, path, text)
}

fn exports(f: &mut Findings, path: &str, config: &MeshConfig, mesh: &mut Mesh) {
    let mut read = |field: &str, names: &Option<Vec<String>>, target: &mut ExportTo| {
        let Some(names) = names else { return };
        // `.` means each object's own namespace, which always sees the object; no other namespace does.
        *target = match names.as_slice() {
            [one] if one == "." || one == "~" => ExportTo::NoNamespace,
            _ => export::export_to(f, &joined(path, field), names, ""),
        };
    };
    read("defaultServiceExportTo", &config.default_service_export_to, &mut mesh.default_service_export);
    let virtual_services = &config.default_virtual_service_export_to;
    read("defaultVirtualServiceExportTo", virtual_services, &mut mesh.default_virtual_service_export);
    let rules = &config.default_destination_rule_export_to;
    read("defaultDestinationRuleExportTo", rules, &mut mesh.default_destination_rule_export);
}

fn access_log(f: &mut Findings, path: &str, config: &MeshConfig, file: &str) -> Vec<AccessLog> {
    let sink = match file {
        "" => return vec![],
        "/dev/stdout" => LogSink::Stdout,
        "/dev/stderr" => LogSink::Stderr,
        other => LogSink::File(other.to_owned()),
    };
    let text = config.access_log_format.as_deref().filter(|text| !text.is_empty());
    let json = config.access_log_encoding == Some(AccessLogEncoding::Json);
    let format = match (text, json) {
        (None, false) => LogFormat::DefaultText,
        // Without a newline at the end, the next request's line would follow on the same line.
        (Some(text), false) => {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            LogFormat::Text(format!("{text}{end}"))
        }
        (None, true) => LogFormat::default_json(),
        (Some(text), true) => {
            let Ok(serde_json::Value::Object(object)) = serde_json::from_str(text) else {
                let next = "write it as {\"key\": \"%OPERATOR%\"}";
                f.error(joined(path, "accessLogFormat"), "is not a JSON object", next);
                return vec![];
            };
            LogFormat::Json(JsonFormat::fields(&object))
        }
    };
    let mistake = format.texts().into_iter().find_map(|text| format::parse(text, Within::Log).err());
    if let Some(mistake) = mistake {
        f.error(joined(path, "accessLogFormat"), mistake, "correct it, or write %% for a percent sign");
    }
    vec![AccessLog { sink, format, omit_empty: false }]
}

fn joined(path: &str, field: &str) -> String {
    match (path, field) {
        ("", other) | (other, "") => other.to_owned(),
        (path, field) => format!("{path}.{field}"),
    }
}

const MAX_CONNECT_TIMEOUT: Duration = Duration::from_hours(1);
