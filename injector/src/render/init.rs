//! Pure. Renders the container that sets up capture before anything else runs: `ostria-proxy init` with flags from the
//! pod's annotations and the mesh's defaults.

use k8s_openapi::api::core::v1::{Capabilities, Container, SecurityContext};

use crate::render::{
    container,
    context::{Context, INIT_NAME, PROXY_ID},
    environment,
};

/// The init container.
pub fn init(context: &Context) -> Container {
    let metadata = environment::metadata(context);
    Container {
        name: INIT_NAME.to_owned(),
        image: Some(context.init_image()),
        image_pull_policy: container::pull_policy(context),
        command: Some(vec!["ostria-proxy".to_owned()]),
        args: Some(arguments(context)),
        env: (!metadata.is_empty()).then_some(metadata),
        resources: Some(container::resources(context)),
        security_context: Some(security()),
        ..Container::default()
    }
}

fn arguments(context: &Context) -> Vec<String> {
    let (requested, mesh) = (&context.overrides.traffic, &context.template.traffic);
    let or = |requested: &Option<String>, mesh: &str| requested.as_deref().unwrap_or(mesh).to_owned();
    let mut arguments: Vec<String> = ["init", "-p", "15001", "-z", "15006"].map(ToOwned::to_owned).into();
    let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    flag("-u", unless_root(context.owner.user));
    if context.owner.group != PROXY_ID {
        flag("-g", unless_root(context.owner.group));
    }
    flag("-m", "REDIRECT".to_owned());
    flag("-i", or(&requested.include_ip_ranges, &mesh.include_ip_ranges));
    flag("-x", or(&requested.exclude_ip_ranges, &mesh.exclude_ip_ranges));
    flag("-b", or(&requested.include_inbound_ports, &mesh.include_inbound_ports));
    flag("-d", excluded_inbound(context, &or(&requested.exclude_inbound_ports, &mesh.exclude_inbound_ports)));
    let optional = [
        ("-q", or(&requested.include_outbound_ports, &mesh.include_outbound_ports)),
        ("-o", or(&requested.exclude_outbound_ports, &mesh.exclude_outbound_ports)),
        ("-c", or(&requested.exclude_interfaces, "")),
        ("-k", or(&requested.reroute_interfaces, "")),
    ];
    for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_empty()) {
        flag(name, value);
    }
    if context.captures_dns() {
        arguments.push("--redirect-dns".to_owned());
    }
    arguments
}

/// Returns the ID whose traffic is not captured; for root the proxy's default ID, since traffic of root may be the
/// application's.
fn unless_root(id: i64) -> String {
    if id == 0 { PROXY_ID } else { id }.to_string()
}

/// The excluded inbound ports. The sidecar's own health and metrics ports are always excluded.
fn excluded_inbound(context: &Context, asked: &str) -> String {
    let mut ports = vec!["15090".to_owned(), "15021".to_owned()];
    let own = [context.probe_port(), context.status_port()]
        .into_iter()
        .filter(|port| *port != 0)
        .map(|port| port.to_string());
    for port in own.chain(asked.split(',').map(ToOwned::to_owned)) {
        if !port.is_empty() && !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports.join(",")
}

fn security() -> SecurityContext {
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: list(&["NET_ADMIN", "NET_RAW"]), drop: list(&["ALL"]) }),
        privileged: Some(false),
        read_only_root_filesystem: Some(false),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        run_as_user: Some(0),
        ..SecurityContext::default()
    }
}
