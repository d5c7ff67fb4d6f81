//! Pure. Checks ServiceEntries: each of their hosts becomes a service.

use super::finding::Findings;
use super::{origin, service, value};
use crate::catalog::service::{Registry, Resolution, Service, ServicePort, StaticEndpoint, TargetPort};
use crate::catalog::visibility::Labels;
use crate::flow::Protocol;
use api::resource::object::Object;
use api::resource::selector::Port;
use api::resource::service_entry as written;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn check(f: &mut Findings, object: &Object, spec: &written::ServiceEntry) -> Vec<Arc<Service>> {
    let ports = ports(f, &spec.ports);
    let resolution = resolution(f, spec);
    let template = Service {
        host: String::new(),
        name: String::new(),
        namespace: object.namespace().to_owned(),
        origin: origin(object),
        registry: Registry::External,
        addresses: value::subnets(f, "spec.addresses", &spec.addresses),
        allocated: vec![],
        unallocated: object
            .labels
            .get("networking.istio.io/enable-autoallocate-ip")
            .is_some_and(|wanted| wanted.eq_ignore_ascii_case("false")),
        alias_of: None,
        endpoints: endpoints(f, spec, resolution, &ports),
        ports,
        headless: false,
        resolution,
        mesh_external: spec.location != Some(written::Location::MeshInternal),
        selector: spec.workload_selector.as_ref().map(|s| s.labels.clone()).unwrap_or_default(),
        publish_not_ready: false,
        subject_alt_names: spec.subject_alt_names.clone(),
        export_to: value::export_to(f, "spec.exportTo", &spec.export_to, object.namespace()),
    };
    warn_of_untold(f, &template);
    hosts(f, spec)
        .into_iter()
        .map(|host| Arc::new(Service { name: host.clone(), host, ..template.clone() }))
        .collect()
}

/// Connections of plain TCP show nothing but their address: without one no rule of the entry can hold.
fn warn_of_untold(f: &mut Findings, service: &Service) {
    let addressed = !service.addresses.is_empty()
        || (service.resolution != Resolution::Passthrough && !service.unallocated);
    let tcp = service.ports.iter().position(|p| p.protocol == Protocol::Tcp);
    if let Some(i) = tcp.filter(|_| !addressed) {
        f.warn(
            format!("spec.ports[{i}]"),
            "takes no connection: nothing tells TCP to this host from other TCP on the port",
            "give spec.addresses",
        );
    }
}

fn hosts(f: &mut Findings, spec: &written::ServiceEntry) -> Vec<String> {
    if spec.hosts.is_empty() {
        f.missing("spec.hosts");
    }
    let resolved =
        matches!(spec.resolution, Some(written::Resolution::Dns | written::Resolution::DnsRoundRobin));
    let mut hosts: Vec<String> = vec![];
    for (i, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{i}]");
        if host == "*" {
            f.error(path, "`*` would take every host", "name hosts, or write *.domain");
            continue;
        }
        if resolved && spec.endpoints.is_empty() && host.starts_with('*') {
            f.error(path, format!("`{host}` cannot be resolved"), "give endpoints, or use resolution NONE");
            continue;
        }
        if !value::host(f, &path, host, true) {
            continue;
        }
        let host = host.to_ascii_lowercase();
        if hosts.contains(&host) {
            f.error(path, format!("`{host}` is named twice"), "keep one of the two");
        }
        hosts.push(host);
    }
    hosts
}

fn ports(f: &mut Findings, written: &[Port]) -> Vec<ServicePort> {
    if written.is_empty() {
        f.missing("spec.ports");
    }
    let mut ports: Vec<ServicePort> = vec![];
    for (i, port) in written.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let number = value::port(f, &format!("{path}.number"), port.number.into());
        if port.name.is_empty() {
            f.missing(format!("{path}.name"));
        }
        for other in &ports {
            if other.name == port.name {
                f.error(
                    format!("{path}.name"),
                    format!("`{}` is the name of another port", port.name),
                    "rename one",
                );
            }
            if other.number == number {
                f.error(format!("{path}.number"), format!("{number} is declared twice"), "remove one");
            }
        }
        let declared = port.protocol.as_str();
        if !declared.is_empty() && service::by_name(declared).is_none() {
            f.error(
                format!("{path}.protocol"),
                format!("`{declared}` is no protocol"),
                "write HTTP, HTTP2, GRPC, HTTPS, TLS, TCP or UDP",
            );
        }
        let application = Some(declared).filter(|d| !d.is_empty());
        let transport = if declared.eq_ignore_ascii_case("UDP") { "UDP" } else { "TCP" };
        let protocol = service::protocol(transport, application, "", number);
        let target =
            port.target_port.map_or(number, |t| value::port(f, &format!("{path}.targetPort"), t.into()));
        let target = TargetPort::Number(target);
        ports.push(ServicePort { number, name: port.name.clone(), protocol, target });
    }
    ports
}

fn resolution(f: &mut Findings, spec: &written::ServiceEntry) -> Resolution {
    let chosen = spec.resolution.unwrap_or(written::Resolution::None);
    let selects = spec.workload_selector.as_ref().is_some_and(|s| !s.labels.is_empty());
    if selects && !spec.endpoints.is_empty() {
        f.error("spec.workloadSelector", "excludes spec.endpoints", "keep one of the two");
    }
    match chosen {
        written::Resolution::None => {
            if !spec.endpoints.is_empty() {
                f.error(
                    "spec.endpoints",
                    "are not used with resolution NONE",
                    "set spec.resolution to STATIC",
                );
            }
            Resolution::Passthrough
        }
        written::Resolution::Static => {
            if spec.endpoints.is_empty() && !selects {
                f.error(
                    "spec.endpoints",
                    "are needed with resolution STATIC",
                    "add endpoints or a workloadSelector",
                );
            }
            Resolution::Endpoints
        }
        written::Resolution::Dns | written::Resolution::DnsRoundRobin if selects => {
            f.error(
                "spec.workloadSelector",
                "is not used with resolution DNS",
                "set spec.resolution to STATIC",
            );
            Resolution::Dns
        }
        written::Resolution::Dns => Resolution::Dns,
        written::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
        written::Resolution::DynamicDns => {
            f.not_supported("spec.resolution", "DYNAMIC_DNS is");
            Resolution::Passthrough
        }
    }
}

fn endpoints(
    f: &mut Findings,
    spec: &written::ServiceEntry,
    resolution: Resolution,
    ports: &[ServicePort],
) -> Vec<StaticEndpoint> {
    let all = spec.endpoints.iter().enumerate();
    all.map(|(i, endpoint)| {
        let path = format!("spec.endpoints[{i}]");
        f.unserved(format!("{path}.network"), &endpoint.network);
        f.unserved(format!("{path}.locality"), &endpoint.locality);
        address(f, &format!("{path}.address"), &endpoint.address, resolution);
        for (name, number) in &endpoint.ports {
            let path = format!("{path}.ports.{name}");
            value::port(f, &path, (*number).into());
            if ports.iter().all(|p| p.name != *name) {
                f.error(path, format!("no port of spec.ports is named `{name}`"), "correct the name");
            }
        }
        StaticEndpoint {
            host: endpoint.address.clone(),
            ports: endpoint.ports.iter().map(|(name, n)| (name.clone(), *n as u16)).collect(),
            serves: vec![],
            labels: Labels::clone(&endpoint.labels),
            weight: endpoint.weight.unwrap_or(1).max(1),
            service_account: endpoint.service_account.clone(),
            ready: true,
        }
    })
    .collect()
}

fn address(f: &mut Findings, path: &str, address: &str, resolution: Resolution) {
    let is_ip = address.parse::<IpAddr>().is_ok();
    match resolution {
        _ if address.is_empty() => f.missing(path),
        Resolution::Endpoints if !is_ip && !address.starts_with("unix:///") => {
            f.error(path, format!("`{address}` is no IP address"), "write an address, or use resolution DNS");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if !is_ip => {
            value::host(f, path, address, false);
        }
        _ => {}
    }
}
