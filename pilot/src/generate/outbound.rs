//! Pure. Generates a sidecar's outbound listeners, for requests of its application, and their route tables.
//!
//! Captured connections reach `virtualOutbound`, which passes them to the listener of their original destination: one
//! for the address of a single service, else one for the port at any address, else itself (unknown destinations). At
//! "any address", services are distinguished by HTTP host, by SNI, or by destination address range. A connection with
//! none of these is treated as an unknown destination: no service ever takes a whole port.

use super::filters::{self, Side};
use super::opaque::{self, Condition};
use super::view::View;
use super::{mesh_tls, route, spelling};
use crate::catalog::service::{Service, ServicePort};
use crate::flow::Protocol;
use api::model::listener::{
    ChainMatch, Direction, FilterChain, HttpConnection, HttpExtra, Inspect, Listener,
    Protocol as ChainProtocol, RouteSource, Transport,
};
use api::model::route::{ClusterChoice, RouteConfiguration};
use api::name;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The port that captured outbound connections are redirected to.
pub(super) const CAPTURE_PORT: u16 = 15001;

/// All outbound listeners and the route tables that they refer to.
pub(super) fn listeners_and_routes(view: &View) -> (Vec<Listener>, Vec<RouteConfiguration>) {
    // If two services claim the same address and port, the older one gets it.
    let mut services: Vec<&Service> = view.services().map(AsRef::as_ref).collect();
    services.retain(|service| !view.is_alias(service));
    services.sort_by(|a, b| (&a.origin, &a.host).cmp(&(&b.origin, &b.host)));
    let mut plan = Plan { shared: shared_tls(view, &services), ..Plan::default() };
    for service in &services {
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            plan.add(view, service, port);
        }
    }
    let mut routes = route::of_ports(view, &plan.http, &services);
    routes.extend(plan.sniffed.iter().map(|(service, port)| route::of_service(view, service, *port)));
    // A port with HTTP has a listener even without other chains.
    for port in &plan.http {
        plan.listeners.entry((ANY, *port)).or_default();
    }
    let mut listeners: Vec<_> = plan
        .listeners
        .into_iter()
        .map(|((address, port), chains)| {
            let http = address == ANY && plan.http.contains(&port);
            let grpc_web = plan.grpc_web.contains(&port);
            if http {
                http_listener(view, port, chains, grpc_web)
            } else {
                other_listener(view, address, port, chains)
            }
        })
        .collect();
    listeners.push(capture(view));
    (listeners, routes)
}

/// The addresses and ports that several services with TLS claim; SNI distinguishes the services there.
fn shared_tls(view: &View, services: &[&Service]) -> HashSet<(IpAddr, u16)> {
    let mut claims: HashMap<(IpAddr, u16), usize> = HashMap::new();
    for service in services {
        for port in service.ports.iter().filter(|p| p.protocol.is_tls()) {
            for address in spelling::addresses(view, service) {
                *claims.entry((address, port.number)).or_default() += 1;
            }
        }
    }
    claims.into_iter().filter(|(_, services)| *services > 1).map(|(claim, _)| claim).collect()
}

/// The listeners to generate.
#[derive(Default)]
struct Plan<'a> {
    /// Ports where HTTP requests are routed by host, at any address.
    http: BTreeSet<u16>,
    /// Those of them where some service uses gRPC-Web.
    grpc_web: BTreeSet<u16>,
    /// Filter chains by address (unspecified for any) and port.
    listeners: BTreeMap<(IpAddr, u16), Chains>,
    /// Services with a route table of their own, and the port that it is for.
    sniffed: Vec<(&'a Service, u16)>,
    /// Addresses and ports where services are distinguished by SNI.
    shared: HashSet<(IpAddr, u16)>,
}

/// The filter chains of one address and port.
#[derive(Default)]
struct Chains {
    list: Vec<FilterChain>,
    /// For connections that no chain matches.
    default: Option<FilterChain>,
    /// Criteria already used by a chain in the list.
    taken: HashSet<Cell>,
}

/// One combination of match criteria. Envoy refuses a listener in which two chains have the same.
type Cell = (Option<IpNet>, Option<String>, Option<Transport>, Vec<String>);

impl<'a> Plan<'a> {
    fn add(&mut self, view: &View, service: &'a Service, port: &ServicePort) {
        let number = port.number;
        if service.headless {
            self.add_targets(view, service, port);
        }
        if port.protocol.is_http() {
            self.http.insert(number);
            if port.protocol == Protocol::GrpcWeb {
                self.grpc_web.insert(number);
            }
            return;
        }
        let sniffed = port.protocol == Protocol::Sniffed;
        let tls = port.protocol.is_tls();
        let addresses = spelling::addresses(view, service);
        let ranges: Vec<IpNet> = service.ranges().collect();
        if sniffed && !(addresses.is_empty() && ranges.is_empty()) {
            self.sniffed.push((service, number));
        }
        for address in addresses {
            let by_name = tls && self.shared.contains(&(address, number));
            let condition = Condition { by_name, ..Condition::default() };
            self.put(view, service, port, address, &condition);
            if by_name {
                // A client without SNI reaches the oldest service.
                self.put(view, service, port, address, &Condition::default());
            }
        }
        if !ranges.is_empty() {
            self.put(view, service, port, ANY, &Condition { ranges, by_name: tls });
        }
        if service.addresses.is_empty() && !service.headless && (sniffed || tls) {
            let condition = Condition { by_name: true, ..Condition::default() };
            let chains = opaque::tls_chains(view, service, number, &condition);
            self.listeners.entry((ANY, number)).or_default().extend(chains);
            if sniffed {
                self.http.insert(number);
            }
        }
    }

    /// Adds the pods of a headless service whose port has a different target port. Nothing translates the port of a
    /// headless service, so clients use the pods' own.
    fn add_targets(&mut self, view: &View, service: &'a Service, port: &ServicePort) {
        let mut told_by_host = false;
        for pod in view.pods(service).filter(|pod| !pod.finished) {
            let Some(number) = port.on(pod).filter(|n| service.port(*n).is_none()) else { continue };
            for address in &pod.addresses {
                told_by_host |= port.protocol.is_http();
                self.put_at(view, service, port, (*address, number), &Condition::default());
            }
        }
        if told_by_host {
            self.sniffed.push((service, port.number));
        }
    }

    /// Adds the chains of a service at an address.
    fn put(
        &mut self,
        view: &View,
        service: &Service,
        port: &ServicePort,
        address: IpAddr,
        condition: &Condition,
    ) {
        self.put_at(view, service, port, (address, port.number), condition);
    }

    /// Adds the chains of a service's port at an address and a port number.
    fn put_at(
        &mut self,
        view: &View,
        service: &Service,
        port: &ServicePort,
        place: (IpAddr, u16),
        condition: &Condition,
    ) {
        let chains = self.listeners.entry(place).or_default();
        if port.protocol == Protocol::Sniffed || port.protocol.is_http() {
            chains.add(sniffed_chain(view, service, port.number, condition));
        }
        chains.extend(if port.protocol.is_tls() {
            opaque::tls_chains(view, service, port.number, condition)
        } else {
            opaque::tcp_chains(view, service, port.number, condition)
        });
    }
}

impl Chains {
    fn extend(&mut self, chains: Vec<FilterChain>) {
        for chain in chains {
            self.add(chain);
        }
    }

    /// Adds a chain, without the criteria that an earlier chain already has.
    fn add(&mut self, mut chain: FilterChain) {
        if chain.criteria == ChainMatch::default() {
            self.default.get_or_insert(chain);
            return;
        }
        let criteria = &mut chain.criteria;
        if self.overlaps(criteria) {
            let only = |net: &IpNet| ChainMatch { destination: vec![*net], ..criteria.clone() };
            let destination: Vec<_> =
                criteria.destination.iter().copied().filter(|net| !self.overlaps(&only(net))).collect();
            let only = |name: &String| ChainMatch { server_names: vec![name.clone()], ..criteria.clone() };
            let names: Vec<_> =
                criteria.server_names.iter().filter(|name| !self.overlaps(&only(name))).cloned().collect();
            match (destination.is_empty(), names.is_empty()) {
                (false, _) => criteria.destination = destination,
                (true, false) => criteria.server_names = names,
                (true, true) => return,
            }
        }
        self.taken.extend(cells(criteria));
        self.list.push(chain);
    }

    fn overlaps(&self, criteria: &ChainMatch) -> bool {
        cells(criteria).any(|cell| self.taken.contains(&cell))
    }

    fn inspects_tls(&self) -> bool {
        self.list.iter().any(|c| c.criteria.transport.is_some() || !c.criteria.server_names.is_empty())
    }

    fn inspects_http(&self) -> bool {
        self.list.iter().any(|c| !c.criteria.application_protocols.is_empty())
    }
}

fn cells(criteria: &ChainMatch) -> impl Iterator<Item = Cell> {
    let nets: Vec<_> = if criteria.destination.is_empty() {
        vec![None]
    } else {
        criteria.destination.iter().map(|net| Some(net.trunc())).collect()
    };
    let names: Vec<_> = if criteria.server_names.is_empty() {
        vec![None]
    } else {
        criteria.server_names.iter().cloned().map(Some).collect()
    };
    let (transport, protocols) = (criteria.transport, criteria.application_protocols.clone());
    nets.into_iter().flat_map(move |net| {
        let protocols = protocols.clone();
        names.clone().into_iter().map(move |name| (net, name, transport, protocols.clone()))
    })
}

/// The listener for HTTP on a port at any address, with the other chains of that port. Other connections go to their
/// original destination.
fn http_listener(view: &View, port: u16, chains: Chains, grpc_web: bool) -> Listener {
    let by_host = http_chain(view, RouteSource::Rds(port.to_string()), "0.0.0.0", port, grpc_web);
    Listener {
        inspect: Inspect {
            original_destination: false.into(),
            tls: true.into(),
            http: true.into(),
            // Clients of declared HTTP send first. A late one must not fall through to another chain.
            timeout: Some(view.mesh().detection_timeout.max(DECLARED_DETECTION)),
            continue_on_timeout: true,
        },
        chains: std::iter::once(by_host).chain(chains.list).collect(),
        default_chain: Some(opaque::unknown_chain(view)),
        ..listener(format!("0.0.0.0_{port}"), ANY, port)
    }
}

fn other_listener(view: &View, address: IpAddr, port: u16, chains: Chains) -> Listener {
    let (tls, http) = (chains.inspects_tls(), chains.inspects_http());
    Listener {
        inspect: Inspect {
            original_destination: false.into(),
            tls: tls.into(),
            http: http.into(),
            timeout: (tls || http).then_some(view.mesh().detection_timeout),
            continue_on_timeout: true,
        },
        chains: chains.list,
        default_chain: Some(chains.default.unwrap_or_else(|| opaque::unknown_chain(view))),
        ..listener(format!("{address}_{port}"), address, port)
    }
}

fn listener(name: String, address: IpAddr, port: u16) -> Listener {
    Listener {
        name,
        address: SocketAddr::new(address, port),
        bind_to_port: false,
        direction: Direction::Outbound,
        use_original_destination: false,
        inspect: Inspect::default(),
        chains: vec![],
        default_chain: None,
    }
}

/// The listener that captured connections arrive at. A connection that no other listener takes has an unknown
/// destination.
fn capture(view: &View) -> Listener {
    let loop_end = FilterChain {
        name: "virtualOutbound-blackhole".into(),
        criteria: ChainMatch { destination_port: Some(CAPTURE_PORT), ..ChainMatch::default() },
        tls: None,
        authorization: vec![],
        protocol: opaque::tcp(view, ClusterChoice::Single(name::BLACK_HOLE_CLUSTER.into())),
    };
    let unknown = FilterChain { name: "virtualOutbound-catchall-tcp".into(), ..opaque::unknown_chain(view) };
    Listener {
        bind_to_port: true,
        use_original_destination: true,
        inspect: Inspect { original_destination: true.into(), ..Inspect::default() },
        chains: vec![loop_end, unknown],
        ..listener(name::VIRTUAL_OUTBOUND.into(), ANY, CAPTURE_PORT)
    }
}

/// The chain for detected HTTP on a port of a service without a declared protocol. The destination address identifies
/// the service, so requests for any host belong to it.
fn sniffed_chain(view: &View, service: &Service, port: u16, condition: &Condition) -> FilterChain {
    let routes = RouteSource::Rds(route::sniffed_name(service, port));
    let mut chain = http_chain(view, routes, &service.host, port, false);
    chain.criteria.destination.clone_from(&condition.ranges);
    chain
}

fn http_chain(view: &View, routes: RouteSource, address: &str, port: u16, grpc_web: bool) -> FilterChain {
    let shared = view.http_connection(format!("outbound_{address}_{port}"), routes);
    FilterChain {
        name: String::new(),
        criteria: ChainMatch {
            transport: Some(Transport::Raw),
            application_protocols: mesh_tls::plain_http(view.scope.http_10)
                .iter()
                .map(|a| (*a).to_owned())
                .collect(),
            ..ChainMatch::default()
        },
        tls: None,
        authorization: vec![],
        protocol: ChainProtocol::Http(Box::new(HttpConnection {
            filters: filters::of(Side::Outbound, view.scope.istio_extensions, grpc_web),
            // `reviews.shop.svc.cluster.local.` refers to the same service.
            extra: HttpExtra { strip_host_dot: true, ..shared.extra },
            ..shared
        })),
    }
}

/// The address of listeners for a port at any address. Listeners for a specific address take precedence.
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
const DECLARED_DETECTION: Duration = Duration::from_secs(5);
