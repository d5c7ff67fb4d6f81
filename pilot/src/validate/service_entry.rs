//! Pure. Validates ServiceEntries. Each host becomes a service.

use super::{export, service};
use crate::catalog::node;
use crate::catalog::service::{Registry, Resolution, Service, ServicePort, StaticEndpoint, TargetPort};
use crate::catalog::visibility::{Labels, Origin};
use crate::check::finding::Findings;
use crate::check::value;
use crate::flow::Protocol;
use api::resource::kind::service_entry as written;
use api::resource::object::Object;
use api::resource::selector::Port;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn check(f: &mut Findings, object: &Object, spec: &written::ServiceEntry) -> Vec<Arc<Service>> {
    value::selector(f, "spec.workloadSelector.labels", spec.workload_selector.as_ref().map(|s| &s.labels));
    at_most(f, "spec.addresses", spec.addresses.len(), 256);
    let ports = ports(f, &spec.ports);
    let resolution = resolution(f, spec);
    opaque_ports(f, spec, &ports);
    let (addresses, unspecified) = addresses(f, &spec.addresses);
    let template = Service {
        host: String::new(),
        name: String::new(),
        namespace: object.namespace().to_owned(),
        origin: Origin::of(object),
        registry: Registry::External,
        addresses,
        allocated: vec![],
        unallocated: object
            .labels
            .get("networking.istio.io/enable-autoallocate-ip")
            .is_some_and(|wanted| wanted.eq_ignore_ascii_case("false"))
            || unspecified,
        alias_of: None,
        endpoints: endpoints(f, spec, resolution, &ports).into(),
        ports,
        headless: false,
        resolution,
        mesh_external: spec.location != Some(written::Location::MeshInternal),
        selector: spec.workload_selector.as_ref().map(|s| s.labels.clone()),
        publish_not_ready: false,
        subject_alt_names: spec.subject_alt_names.clone(),
        export_to: export::export_to(f, "spec.exportTo", &spec.export_to, object.namespace()),
        distribution: service::distribution(object, None),
        outside: vec![],
        translates_ports: value::translates_ports(object),
    };
    warn_of_unidentified_traffic(f, spec, &template);
    hosts(f, spec)
        .into_iter()
        .map(|host| Arc::new(Service { name: host.clone(), host, ..template.clone() }))
        .collect()
}

/// Parses virtual addresses. Also returns whether an unusable address was left out: as in Istio, such an entry gets no
/// allocated address.
fn addresses(f: &mut Findings, texts: &[String]) -> (Vec<IpNet>, bool) {
    let mut found = value::subnets(f, "spec.addresses", texts);
    let whole = found.len();
    found.retain(|net| !(net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len()));
    let unspecified = found.len() < whole;
    if unspecified {
        let reason = "is an unspecified address, to which no client connects: it has no effect";
        f.warn("spec.addresses", reason, "remove it, or write a range such as 0.0.0.0/0");
    }
    (found, unspecified)
}

/// Warns of plain TCP ports without an address. Such connections are identified only by their destination address, so
/// without one no rule of the entry can apply.
fn warn_of_unidentified_traffic(f: &mut Findings, spec: &written::ServiceEntry, service: &Service) {
    let allocated = service.resolution != Resolution::Passthrough && !service.unallocated;
    let next = "set spec.addresses, or name the protocol in spec.ports[].protocol";
    let of = |protocol| service.ports.iter().position(|p| p.protocol == protocol);
    if !service.addresses.is_empty() {
        return;
    }
    // Addresses are allocated for plain names, not for wildcards.
    let every_host = allocated && spec.hosts.iter().all(|host| !host.starts_with('*'));
    if let Some(i) = of(Protocol::Tcp).filter(|_| !every_host) {
        let reason = "accepts no connection: TCP connections to this host cannot be distinguished from others on the port";
        f.warn(format!("spec.ports[{i}]"), reason, "set spec.addresses");
    } else if let Some(i) = of(Protocol::Sniffed).filter(|_| !allocated) {
        let reason = "accepts only HTTP and TLS, which show the host";
        f.warn(format!("spec.ports[{i}]"), reason, next);
    }
}

/// The endpoints that the entry lists.
fn given(spec: &written::ServiceEntry) -> &[written::WorkloadEntry] {
    spec.endpoints.as_deref().unwrap_or_default()
}

fn hosts(f: &mut Findings, spec: &written::ServiceEntry) -> Vec<String> {
    if spec.hosts.is_empty() {
        f.missing("spec.hosts");
    }
    at_most(f, "spec.hosts", spec.hosts.len(), 256);
    let mut hosts: Vec<String> = vec![];
    for (i, host) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{i}]");
        if host == "*" {
            f.error(path, "`*` would match every host", "name hosts, or write *.domain");
            continue;
        }
        if resolved(spec) && given(spec).is_empty() && !host.is_empty() && !value::is_domain(host) {
            f.error(path, format!("`{host}` cannot be resolved"), "add endpoints, or use resolution NONE");
            continue;
        }
        if !value::domain(f, &path, host, true) {
            continue;
        }
        if host.starts_with('*') && !host.starts_with("*.") {
            f.warn(
                &path,
                format!("`{host}` has a wildcard within a label, which never matches a TLS server name"),
                "write `*.domain`, or name hosts",
            );
        }
        let host = host.to_ascii_lowercase();
        if hosts.contains(&host) {
            f.warn(path, format!("`{host}` is a duplicate"), "keep one of the two");
            continue;
        }
        hosts.push(host);
    }
    hosts
}

/// Whether the addresses come from DNS.
fn resolved(spec: &written::ServiceEntry) -> bool {
    matches!(spec.resolution, Some(written::Resolution::Dns | written::Resolution::DnsRoundRobin))
}

/// Checks a limit of Istio's CustomResourceDefinition.
fn at_most(f: &mut Findings, path: &str, number: usize, limit: usize) {
    if number > limit {
        f.error(
            path,
            format!("has {number} entries; at most {limit} are allowed"),
            "write several ServiceEntries",
        );
    }
}

/// Checks ports whose connections do not identify their host, and addresses that DNS resolution excludes.
fn opaque_ports(f: &mut Findings, spec: &written::ServiceEntry, ports: &[ServicePort]) {
    let known = |p: &ServicePort| p.protocol.is_http() || p.protocol.is_tls();
    let none = matches!(spec.resolution, None | Some(written::Resolution::None));
    let several = spec.hosts.len() > 1;
    if let Some(i) = ports.iter().position(|port| !known(port))
        && several
        && !none
    {
        let reason = format!("connections to port {} do not show which host they are for", ports[i].number);
        f.error(format!("spec.ports[{i}].protocol"), reason, "write a ServiceEntry for each host");
    }
    if let Some(i) = ports.iter().position(|port| !port.protocol.is_http())
        && several
        && resolved(spec)
        && !spec.addresses.is_empty()
    {
        let reason = format!("the hosts share addresses, also for port {}", ports[i].number);
        f.warn("spec.addresses", reason, "write a ServiceEntry for each host");
    }
    let dynamic = resolved(spec) || spec.resolution == Some(written::Resolution::DynamicDns);
    for (i, address) in spec.addresses.iter().enumerate().filter(|(_, text)| dynamic && text.contains('/')) {
        let reason = format!("`{address}` is a network, which cannot stand for names that DNS resolves");
        f.error(format!("spec.addresses[{i}]"), reason, "write single addresses, or use STATIC or NONE");
    }
}

fn ports(f: &mut Findings, written: &[Port]) -> Vec<ServicePort> {
    at_most(f, "spec.ports", written.len(), 256);
    let mut ports: Vec<ServicePort> = vec![];
    for (i, port) in written.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let number = value::port(f, &format!("{path}.number"), port.number.into());
        if port.name.is_empty() {
            f.missing(format!("{path}.name"));
        } else if !value::is_label(&port.name) {
            let reason = format!("`{}` is not a valid port name", port.name);
            f.error(format!("{path}.name"), reason, "write letters, digits and `-`");
        }
        for other in &ports {
            if other.name == port.name {
                f.error(
                    format!("{path}.name"),
                    format!("`{}` is already the name of another port", port.name),
                    "rename one",
                );
            }
            if other.number == number {
                f.error(format!("{path}.number"), format!("{number} is a duplicate"), "remove one");
            }
        }
        let declared = port.protocol.as_str();
        if !declared.is_empty() && service::by_name(declared).is_none() {
            f.error(
                format!("{path}.protocol"),
                format!("`{declared}` is not a known protocol"),
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
    let selects = spec.workload_selector.is_some();
    if selects && spec.endpoints.is_some() {
        f.error("spec.workloadSelector", "cannot be combined with spec.endpoints", "keep one of the two");
    }
    match chosen {
        written::Resolution::None => {
            if spec.endpoints.is_some() {
                f.error(
                    "spec.endpoints",
                    "are not used with resolution NONE",
                    "set spec.resolution to STATIC",
                );
            }
            if selects {
                f.warn(
                    "spec.workloadSelector",
                    "is not used with resolution NONE: clients reach the address that they connect to",
                    "set spec.resolution to STATIC",
                );
            }
            Resolution::Passthrough
        }
        written::Resolution::Static => {
            if given(spec).is_empty() && !selects {
                let next = "add endpoints or a workloadSelector";
                f.warn("spec.endpoints", "are missing: every request gets a 503 response", next);
            }
            Resolution::Endpoints
        }
        // The selected workloads have addresses, so nothing is resolved.
        written::Resolution::Dns | written::Resolution::DnsRoundRobin if selects => Resolution::Endpoints,
        written::Resolution::Dns => Resolution::Dns,
        written::Resolution::DnsRoundRobin => {
            if given(spec).len() > 1 {
                f.error(
                    "spec.endpoints",
                    "has several entries, and DNS_ROUND_ROBIN resolves one name",
                    "keep one endpoint, or use resolution DNS",
                );
            }
            Resolution::DnsRoundRobin
        }
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
    at_most(f, "spec.endpoints", given(spec).len(), 4096);
    let all = given(spec).iter().enumerate();
    all.map(|(i, endpoint)| {
        let path = format!("spec.endpoints[{i}]");
        f.unserved(format!("{path}.network"), &endpoint.network);
        value::labels(f, &format!("{path}.labels"), &endpoint.labels);
        // An endpoint without an address has a `network`, which is refused already.
        if !endpoint.network.is_set() || !endpoint.address.is_empty() {
            address(f, &format!("{path}.address"), &endpoint.address, resolution);
        }
        if endpoint.address.starts_with("unix://") {
            socket_ports(f, &path, endpoint, ports);
        }
        for (name, number) in &endpoint.ports {
            let path = format!("{path}.ports.{name}");
            value::port(f, &path, (*number).into());
            if ports.iter().all(|p| p.name != *name) {
                f.error(path, format!("no port of spec.ports is named `{name}`"), "correct the name");
            }
        }
        StaticEndpoint {
            host: endpoint.address.clone(),
            ports: Arc::new(endpoint.ports.iter().map(|(name, n)| (name.clone(), *n as u16)).collect()),
            serves: vec![],
            labels: Labels::clone(&endpoint.labels),
            weight: endpoint.weight.unwrap_or(1).max(1),
            service_account: endpoint.service_account.clone(),
            ready: true,
            draining: false,
            pod: None,
            locality: node::locality(&endpoint.locality).or_else(|| node::labelled(&endpoint.labels)),
        }
    })
    .collect()
}

/// Checks the ports of a Unix domain socket: it has no ports itself and serves one service port.
fn socket_ports(f: &mut Findings, path: &str, endpoint: &written::WorkloadEntry, ports: &[ServicePort]) {
    if !endpoint.ports.is_empty() {
        f.error(format!("{path}.ports"), "are not used with a Unix socket", "remove them");
    }
    if ports.len() != 1 {
        let reason = format!("a Unix socket serves one port, and spec.ports has {}", ports.len());
        f.error(format!("{path}.address"), reason, "write a ServiceEntry for each port");
    }
}

fn address(f: &mut Findings, path: &str, address: &str, resolution: Resolution) {
    let is_ip = address.parse::<IpAddr>().is_ok();
    match (resolution, address.strip_prefix("unix://")) {
        _ if address.is_empty() => f.missing(path),
        (Resolution::Endpoints, Some(socket)) if socket.starts_with('@') => {
            let reason = "an abstract socket is not supported by this version";
            f.error(path, reason, "write the path of a socket");
        }
        (Resolution::Endpoints, Some(socket)) if !socket.starts_with('/') || socket.ends_with('/') => {
            f.error(
                path,
                format!("`{address}` is not an absolute file path"),
                "write it as unix:///run/a.sock",
            );
        }
        (Resolution::Endpoints, None) if !is_ip => {
            f.error(
                path,
                format!("`{address}` is not an IP address"),
                "write an address, or use resolution DNS",
            );
        }
        (Resolution::Dns | Resolution::DnsRoundRobin, _) => {
            value::host(f, path, address, false);
        }
        _ => {}
    }
}
