//! Pure. The environment variables that give the sidecar its identity and place. Names and formats are a contract with
//! the proxy, with Istio's own agent, and with anything that reads `ISTIO_META_…` as node metadata.

use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector};

use crate::render::{
    context::{Context, PROXY_NAME},
    proxy_config::Interception,
    removal_wait,
};

/// Values from other parts of rendering that the sidecar gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// How Prometheus would have scraped the application's metrics, as JSON.
    pub scrape: Option<String>,
    /// The application's own probes, as JSON.
    pub probers: Option<String>,
}

/// The variable with the application's own probes.
pub const APP_PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";
/// The variable with the application's metrics pages.
pub const SCRAPE: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
/// The variable with the pod's ports.
pub const POD_PORTS: &str = "ISTIO_META_POD_PORTS";
/// The variable with the names of the application's containers.
pub const APP_CONTAINERS: &str = "ISTIO_META_APP_CONTAINERS";

/// Returns the sidecar's variables. Those of `proxyMetadata`, then those of the webhook path, come last and replace
/// others of the same name.
pub fn variables(context: &Context, inputs: &Inputs) -> Vec<EnvVar> {
    let mut variables = vec![
        text("PILOT_CERT_PROVIDER", "istiod"),
        text("CA_ADDR", &context.template.ca_address),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("INSTANCE_IP", "status.podIP"),
        field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        field("HOST_IP", "status.hostIP"),
        cpu_limit(),
        text("PROXY_CONFIG", &context.proxy_config.to_json()),
        text(POD_PORTS, &ports(context)),
        text(APP_CONTAINERS, &names(context)),
        text("ISTIO_META_CLUSTER_ID", &context.template.cluster_id),
        field("ISTIO_META_NODE_NAME", "spec.nodeName"),
        text("ISTIO_META_INTERCEPTION_MODE", interception(context)),
    ];
    if let Some(network) = context.network() {
        variables.push(text("ISTIO_META_NETWORK", network));
    }
    variables.push(text("ISTIO_META_WORKLOAD_NAME", context.workload_name()));
    variables.push(text("ISTIO_META_OWNER", &context.workload.owner));
    variables.push(text("ISTIO_META_MESH_ID", mesh_id(context)));
    variables.push(text("TRUST_DOMAIN", &context.template.trust_domain));
    if context.captures_dns() {
        variables.push(text("ISTIO_META_DNS_CAPTURE", "true"));
    }
    if ![0, context.status_port()].contains(&context.probe_port()) {
        variables.push(text("OSTRIA_PROBE_PORT", &context.probe_port().to_string()));
    }
    let wait = context.removal_wait;
    if wait.shortened {
        variables.push(text(removal_wait::WAIT, &format!("{}ms", wait.limit.as_millis())));
    }
    let optional = [(APP_PROBERS, &inputs.probers), (SCRAPE, &inputs.scrape)];
    variables.extend(optional.iter().filter_map(|(name, value)| Some(text(name, value.as_ref()?))));
    let of_path = context.template.variables.iter().map(|(name, value)| text(name, value));
    for variable in metadata(context).into_iter().chain(of_path) {
        variables.retain(|other| other.name != variable.name);
        variables.push(variable);
    }
    variables
}

/// The variables of `proxyMetadata`.
pub fn metadata(context: &Context) -> Vec<EnvVar> {
    context.proxy_config.metadata().iter().map(|(name, value)| text(name, value)).collect()
}

fn text(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: None, field_path: path.to_owned() };
    from(name, EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() })
}

fn cpu_limit() -> EnvVar {
    let field =
        ResourceFieldSelector { resource: "limits.cpu".to_owned(), ..ResourceFieldSelector::default() };
    from("ISTIO_CPU_LIMIT", EnvVarSource { resource_field_ref: Some(field), ..EnvVarSource::default() })
}

fn from(name: &str, source: EnvVarSource) -> EnvVar {
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// The ports of the pod's containers, as JSON. A sidecar's ports do not belong to the workload; a gateway's do.
pub fn ports(context: &Context) -> String {
    let containers = context.pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers = containers.filter(|container| context.is_gateway() || container.name != PROXY_NAME);
    let ports: Vec<_> = containers.flat_map(|container| container.ports.iter().flatten()).collect();
    serde_json::to_string(&ports).expect("ports of a parsed pod are plain JSON")
}

/// The names of the application's containers.
pub fn names(context: &Context) -> String {
    context.application().map(|container| container.name.as_str()).collect::<Vec<_>>().join(",")
}

fn interception(context: &Context) -> &'static str {
    match context.interception() {
        Interception::Redirect => "REDIRECT",
        Interception::None => "NONE",
    }
}

fn mesh_id<'a>(context: &'a Context) -> &'a str {
    let template = context.template;
    if template.mesh_id.is_empty() { &template.trust_domain } else { &template.mesh_id }
}
