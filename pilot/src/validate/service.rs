//! Pure. Validates Kubernetes Services, Endpoints and EndpointSlices.

use super::export;
use crate::catalog::host;
use crate::catalog::kind::Item;
use crate::catalog::node::Distribution;
use crate::catalog::policy::Mesh;
use crate::catalog::service::{Registry, Resolution, Service, ServicePort, StaticEndpoint, TargetPort};
use crate::catalog::visibility::{ExportTo, Labels, Origin};
use crate::check::finding::Findings;
use crate::check::value;
use crate::flow::Protocol;
use api::model::endpoint::Locality;
use api::resource::object::Object;
use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn service(f: &mut Findings, object: &Object, body: &core::Service, mesh: &Mesh) -> Service {
    let spec = body.spec.clone().unwrap_or_default();
    let external = spec.external_name.as_ref().filter(|_| spec.type_.as_deref() == Some("ExternalName"));
    let external = external.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
    let headless = external.is_none() && spec.cluster_ip.as_deref() == Some("None");
    let export = object.annotations.get("networking.istio.io/exportTo").map_or(ExportTo::Unset, |text| {
        let names: Vec<String> = text.split(',').map(|n| n.trim().to_owned()).collect();
        export::export_to(f, "metadata.annotations[networking.istio.io/exportTo]", &names, object.namespace())
    });
    let outside = outside(body, external.as_deref());
    let endpoints = external.iter().filter(|name| value::host(f, "spec.externalName", name, false));
    Service {
        host: host::service_host(object.name(), object.namespace(), &mesh.domain),
        name: object.name().to_owned(),
        namespace: object.namespace().to_owned(),
        origin: Origin::of(object),
        registry: Registry::Kubernetes,
        endpoints: endpoints
            .map(|name| plain_endpoint(name.clone(), Arc::default()))
            .collect::<Vec<_>>()
            .into(),
        addresses: if headless || external.is_some() { vec![] } else { addresses(f, &spec) },
        allocated: vec![],
        unallocated: true,
        alias_of: external.clone(),
        ports: ports(f, &spec),
        headless,
        resolution: if external.is_some() { Resolution::Dns } else { Resolution::Endpoints },
        mesh_external: external.is_some(),
        // In Kubernetes an empty selector selects nothing.
        selector: spec.selector.filter(|labels| external.is_none() && !labels.is_empty()),
        publish_not_ready: spec.publish_not_ready_addresses == Some(true),
        subject_alt_names: vec![],
        export_to: export,
        distribution: distribution(object, spec.traffic_distribution.as_deref()),
        outside,
        translates_ports: value::translates_ports(object),
    }
}

/// Which endpoints clients prefer, by the field, else by Istio's annotation.
pub(super) fn distribution(object: &Object, field: Option<&str>) -> Distribution {
    let annotation = object.annotations.get("networking.istio.io/traffic-distribution");
    let named = |text: &str| match text {
        "preferclose" | "prefersamezone" => Some(Distribution::SameZone),
        "prefersamenode" => Some(Distribution::SameNode),
        _ => None,
    };
    let by_field = field.and_then(|text| named(&text.to_ascii_lowercase()));
    by_field.or_else(|| named(&annotation?.to_ascii_lowercase())).unwrap_or_default()
}

/// The addresses by which clients outside of the cluster reach a Service.
fn outside(body: &core::Service, external: Option<&str>) -> Vec<String> {
    if let Some(name) = external {
        return vec![name.to_owned()];
    }
    let balancer = body.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let given = balancer.into_iter().flat_map(|balancer| balancer.ingress.iter().flatten());
    let given = given.filter_map(|one| one.ip.clone().or_else(|| one.hostname.clone()));
    let own = body.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten().cloned());
    given.chain(own).filter(|address| !address.is_empty()).collect()
}

fn addresses(f: &mut Findings, spec: &core::ServiceSpec) -> Vec<IpNet> {
    let mut addresses = vec![];
    for text in spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).filter(|text| !text.is_empty()) {
        match text.parse::<IpAddr>().map(IpNet::from) {
            Ok(address) if addresses.contains(&address) => {}
            Ok(address) => addresses.push(address),
            Err(_) => {
                f.error(
                    "spec.clusterIP",
                    format!("`{text}` is not an IP address"),
                    "write an address or None",
                );
            }
        }
    }
    addresses
}

fn ports(f: &mut Findings, spec: &core::ServiceSpec) -> Vec<ServicePort> {
    let written = spec.ports.as_deref().unwrap_or_default();
    let mut ports: Vec<ServicePort> = vec![];
    for (i, port) in written.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let number = value::port(f, &format!("{path}.port"), i64::from(port.port));
        let name = port.name.clone().unwrap_or_default();
        if written.len() > 1 && name.is_empty() {
            f.missing(format!("{path}.name"));
        }
        if written.len() > 1 && ports.iter().any(|p| p.name == name && !name.is_empty()) {
            f.error(
                format!("{path}.name"),
                format!("`{name}` is already the name of another port"),
                "rename one",
            );
        }
        let target = match &port.target_port {
            None | Some(IntOrString::Int(0)) => TargetPort::Number(number),
            Some(IntOrString::Int(n)) => {
                TargetPort::Number(value::port(f, &format!("{path}.targetPort"), i64::from(*n)))
            }
            Some(IntOrString::String(name)) => match name.parse::<u16>() {
                Ok(n) if n != 0 => TargetPort::Number(n),
                _ => TargetPort::Name(name.clone()),
            },
        };
        let transport = port.protocol.as_deref().unwrap_or("TCP");
        let protocol = protocol(transport, port.app_protocol.as_deref(), &name, number);
        ports.push(ServicePort { number, name, protocol, target });
    }
    ports
}

/// The protocol of a port: from `appProtocol`, else from the prefix of the name before `-`, else detected from the
/// first bytes. Well-known ports of server-first protocols are exempt from detection.
pub(super) fn protocol(transport: &str, application: Option<&str>, name: &str, number: u16) -> Protocol {
    // Only TCP is captured.
    if ["UDP", "SCTP"].iter().any(|other| transport.eq_ignore_ascii_case(other)) {
        return Protocol::Udp;
    }
    let declared = match application {
        Some(application) => by_name(application),
        None => by_prefix(name),
    };
    match (declared, number) {
        (Some(protocol), _) => protocol,
        (None, 25 | 53 | 3306 | 27017) => Protocol::Tcp,
        (None, _) => Protocol::Sniffed,
    }
}

fn by_prefix(name: &str) -> Option<Protocol> {
    let name = name.to_ascii_lowercase();
    if name == "grpc-web" || name.starts_with("grpc-web-") {
        return Some(Protocol::GrpcWeb);
    }
    by_name(name.split('-').next().unwrap_or_default())
}

/// Returns the protocol with this name in Istio.
pub(super) fn by_name(name: &str) -> Option<Protocol> {
    Some(match name.to_ascii_lowercase().as_str() {
        "http" | "http_proxy" | "kubernetes.io/ws" => Protocol::Http,
        "http2" | "kubernetes.io/h2c" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        "grpc-web" => Protocol::GrpcWeb,
        "https" | "kubernetes.io/wss" => Protocol::Https,
        "tls" => Protocol::Tls,
        "tcp" | "mongo" | "redis" | "mysql" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    })
}

pub(super) fn endpoints(object: &Object, body: &core::Endpoints) -> Item {
    let mut endpoints = vec![];
    for subset in body.subsets.iter().flatten() {
        let ports = subset.ports.iter().flatten().map(|p| (p.name.clone(), Some(p.port)));
        let ports = by_port_name(ports);
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let waiting = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
        endpoints.extend(
            ready
                .chain(waiting)
                .map(|(a, ready)| StaticEndpoint { ready, ..plain_endpoint(a.ip.clone(), ports.clone()) }),
        );
    }
    Item::Endpoints { service: object.name().to_owned(), selected: false, endpoints: Arc::new(endpoints) }
}

pub(super) fn slice(object: &Object, body: &EndpointSlice) -> Item {
    let ports = by_port_name(body.ports.iter().flatten().map(|p| (p.name.clone(), p.port)));
    let selected = object.labels.get(MANAGED_BY).is_some_and(|manager| manager == CONTROLLER);
    let mut endpoints = vec![];
    // The controller lists a pod without ports if it has none of the Service's named ports.
    let by_address =
        body.endpoints.iter().filter(|_| body.address_type != "FQDN" && !(selected && ports.is_empty()));
    for endpoint in by_address {
        let state = State::of(endpoint);
        let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
        let pod = pod.and_then(|target| target.name.as_deref());
        let addresses = endpoint.addresses.iter().cloned();
        endpoints.extend(addresses.map(|address| {
            StaticEndpoint {
                ready: state == State::Ready,
                draining: state == State::Draining,
                pod: pod.map(Into::into),
                locality: endpoint
                    .zone
                    .as_deref()
                    .filter(|zone| !zone.is_empty())
                    .map(|zone| Arc::new(Locality { zone: zone.to_owned(), ..Locality::default() })),
                ..plain_endpoint(address, ports.clone())
            }
        }));
    }
    let service = object.labels.get("kubernetes.io/service-name").cloned();
    Item::Endpoints { service: service.unwrap_or_default(), selected, endpoints: Arc::new(endpoints) }
}

/// What an endpoint's conditions mean. Absent ones count as Kubernetes says: ready, serving if ready, not terminating.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Draining,
    Unready,
}

impl State {
    fn of(endpoint: &Endpoint) -> Self {
        let conditions = endpoint.conditions.clone().unwrap_or_default();
        let ready = conditions.ready.unwrap_or(true);
        match (ready, conditions.serving.unwrap_or(ready), conditions.terminating.unwrap_or(false)) {
            (true, ..) => Self::Ready,
            (false, true, true) => Self::Draining,
            (false, ..) => Self::Unready,
        }
    }
}

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Kubernetes' own controller, which lists the pods that a Service selects.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";

type PortNumbers = Arc<BTreeMap<String, u16>>;

fn by_port_name(ports: impl Iterator<Item = (Option<String>, Option<i32>)>) -> PortNumbers {
    let named = |(name, port): (Option<String>, Option<i32>)| {
        Some((name.unwrap_or_default(), u16::try_from(port?).ok()?))
    };
    Arc::new(ports.filter_map(named).collect())
}

fn plain_endpoint(host: String, ports: PortNumbers) -> StaticEndpoint {
    StaticEndpoint {
        host,
        ports,
        serves: vec![],
        labels: Labels::new(),
        weight: 1,
        service_account: String::new(),
        ready: true,
        draining: false,
        pod: None,
        locality: None,
    }
}
