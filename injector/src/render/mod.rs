//! Pure. Renders the pod with its sidecar. The sidecar follows the contract of Istio's templates (names of containers,
//! volumes, variables and annotations), because other tools rely on exactly those.

pub mod late;
pub mod standard;
pub mod warning;

pub mod metadata;

pub mod init;

pub mod container;
pub mod probe;

pub mod volume;

pub mod environment;

pub mod ending;

pub mod context;

pub mod overrides;
pub mod removal_wait;

pub mod proxy_config;
pub mod workload;

pub mod error;

use k8s_openapi::api::core::v1::{Container, LocalObjectReference, Pod, PodSpec, Sysctl, Volume};

use crate::{
    config::Template,
    render::{
        context::{Context, INIT_NAME, PROXY_NAME},
        error::RenderError,
    },
};

/// A pod with its sidecar.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The pod.
    pub pod: Pod,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Adds the sidecar that `pod` requests, or completes the gateway's container.
pub fn render(pod: &Pod, namespace: &str, template: &Template) -> Result<Rendered, RenderError> {
    let context = Context::new(pod, namespace, template)?;
    metadata::check_scraping(&context)?;
    let mut pod = pod.clone();
    let scrape = metadata::take_over_scraping(&mut pod.metadata, &context);
    let mut spec = pod.spec.take().ok_or(RenderError::NoSpec)?;
    let probers =
        context.rewrites_probes().then(|| probe::rewrite(&mut spec, context.probe_port())).flatten();
    let environment = environment::Inputs { scrape, probers };
    let volumes = volume::volumes(&context);
    if !context.is_gateway() {
        ending::wait(&mut spec, &context);
    }
    place(&mut spec, &context, &environment);
    let status = metadata::Status::new(&context, &volumes);
    add_volumes(&mut spec, volumes);
    add_pull_secrets(&mut spec, template);
    if context.is_gateway() || context.overrides.bind_low_ports {
        open_low_ports(&mut spec);
    }
    metadata::mark(&mut pod.metadata, &context, &status);
    let warnings = warning::of_rendering(&context);
    pod.spec = Some(spec);
    Ok(Rendered { pod, warnings })
}

/// Adjusts a pod that has its sidecar already.
pub fn again(pod: &Pod, namespace: &str, template: &Template) -> Result<Rendered, RenderError> {
    let context = Context::new(pod, namespace, template)?;
    metadata::check_scraping(&context)?;
    Ok(Rendered { pod: late::adjusted(pod, &context), warnings: warning::of_pod(&context) })
}

/// Inserts the containers in start order. A native sidecar starts first, so that the application's init containers are
/// in the mesh too. A classic one starts beside the application, so capture begins only after those init containers,
/// which would have no proxy.
fn place(spec: &mut PodSpec, context: &Context, environment: &environment::Inputs) {
    let own = take_named(spec, PROXY_NAME);
    let proxy = container::proxy(context, environment, own);
    if context.is_gateway() {
        let at = if context.holds_application() { 0 } else { spec.containers.len() };
        spec.containers.insert(at, proxy);
        return;
    }
    let init = context.captures().then(|| {
        let own = take_named(spec, INIT_NAME);
        container::overlaid(init::init(context), own)
    });
    let first = spec.init_containers.get_or_insert_default();
    if context.is_native() {
        first.insert(0, proxy);
        first.splice(0..0, init);
        late::order(spec, context);
        return;
    }
    first.extend(init);
    if first.is_empty() {
        spec.init_containers = None;
    }
    let at = if context.holds_application() { 0 } else { spec.containers.len() };
    spec.containers.insert(at, proxy);
}

fn take_named(spec: &mut PodSpec, name: &str) -> Option<Container> {
    let lists = [Some(&mut spec.containers), spec.init_containers.as_mut()];
    lists.into_iter().flatten().find_map(|list| {
        let at = list.iter().position(|container| container.name == name)?;
        Some(list.remove(at))
    })
}

/// Adds volumes. A volume of the user with the same name is kept.
fn add_volumes(spec: &mut PodSpec, volumes: Vec<Volume>) {
    let there = spec.volumes.get_or_insert_default();
    for volume in volumes {
        if !there.iter().any(|other| other.name == volume.name) {
            there.push(volume);
        }
    }
}

/// Lets the proxy's user bind ports below 1024, such as 80 and 443. Kubernetes counts this sysctl as safe; a
/// capability would require a proxy that runs as root.
fn open_low_ports(spec: &mut PodSpec) {
    let sysctls = spec.security_context.get_or_insert_default().sysctls.get_or_insert_default();
    if !sysctls.iter().any(|sysctl| sysctl.name == LOW_PORTS) {
        sysctls.push(Sysctl { name: LOW_PORTS.to_owned(), value: "0".to_owned() });
    }
}

fn add_pull_secrets(spec: &mut PodSpec, template: &Template) {
    for name in &template.image_pull_secrets {
        let secret = LocalObjectReference { name: name.clone() };
        let there = spec.image_pull_secrets.get_or_insert_default();
        if !there.contains(&secret) {
            there.push(secret);
        }
    }
}

const LOW_PORTS: &str = "net.ipv4.ip_unprivileged_port_start";
