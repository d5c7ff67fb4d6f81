//! Pure. The ports that a gateway listens on. Merges the servers of all Gateway objects that select the gateway, by
//! port. Each host and each SNI belongs to one server: the one with the most specific matching host, and among equals
//! the first. The losing object is reported together with the winner.

use super::gateway::{Gateway, Server, ServerHost, ServerProtocol, ServerTls};
use super::gateway_view::GatewayView;
use super::route::{GatewayRef, RouteSet, SourceMatch, TcpDestination};
use super::target::Target;
use super::visibility::{Labels, Origin, selects};
use super::workload::Workload;
use super::{Catalog, host};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The ports of a gateway, by number.
#[derive(Debug, Default)]
pub struct GatewayPorts {
    /// By the port number that the listener binds.
    pub ports: BTreeMap<u16, GatewayPort>,
    /// Parts of objects that have no effect.
    pub overridden: Vec<Overridden>,
}

/// One port of a gateway.
#[derive(Debug, Default)]
pub struct GatewayPort {
    /// The servers, in order of precedence; all can share the port.
    pub servers: Vec<PortServer>,
    /// The indexes of servers with TLS, by host.
    owners: BTreeMap<String, usize>,
}

/// A server of a port.
#[derive(Debug)]
pub struct PortServer {
    /// The Gateway object that declares the server.
    pub gateway: Arc<Gateway>,
    /// Its index in `spec.servers`.
    index: usize,
    /// Its hosts, without those that belong to another server.
    pub hosts: BTreeSet<String>,
    /// Where its connections go if they are not processed as HTTP.
    pub opaque: Vec<OpaqueRoute>,
}

/// A port of a gateway's pod that a Service targets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GatewayTarget {
    /// Host of the Service.
    pub host: String,
    /// Namespace of the Service.
    pub namespace: String,
    /// Whether gateways that the Service selects listen on the target ports rather than on the Service's ports.
    pub translates: bool,
    /// The Service's port.
    pub port: u16,
    /// The pod's port.
    pub number: u16,
}

/// A route for opaque connections.
#[derive(Debug)]
pub struct OpaqueRoute {
    /// The SNI names that it matches; empty: all connections.
    pub names: Vec<String>,
    /// The destinations; never empty.
    pub destinations: Vec<TcpDestination>,
}

/// A part of an object that has no effect because of another object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overridden {
    /// The object whose part has no effect.
    pub loser: Origin,
    /// The field path of that part.
    pub path: String,
    /// The object that takes its place.
    pub winner: Origin,
    /// Whether the winner names the host more specifically; otherwise it comes first.
    pub closer: bool,
    /// What the winner does, for the message.
    pub effect: String,
}

impl Catalog {
    /// The ports of a gateway's pod that Services target.
    pub fn gateway_targets(&self, pod: &Workload) -> Vec<GatewayTarget> {
        let target = |target: &Target| GatewayTarget {
            host: target.service.host.clone(),
            namespace: target.service.namespace.clone(),
            translates: target.service.translates_ports,
            port: target.port().number,
            number: target.number,
        };
        self.targets_of(pod).iter().map(target).collect()
    }

    /// Finds parts of objects that gateways ignore because another object comes first or names the host more
    /// specifically.
    pub fn overridden_at_gateways(&self) -> Vec<Overridden> {
        let (gateways, view) = (self.list::<Gateway>(), self.gateway_view());
        let chosen = |pod: &&Arc<Workload>| {
            gateways.iter().any(|g| !g.selector.is_empty() && selects(&g.selector, &pod.labels))
        };
        let pods = self.workloads().filter(chosen);
        let pods = pods.map(|pod| (pod.namespace.as_str(), self.gateway_targets(pod), &pod.labels));
        // Gateways without a running proxy.
        let root = self.mesh().root_namespace.as_str();
        let others = gateways.iter().map(|gateway| (root, vec![], &gateway.selector));
        let mut seen = BTreeSet::new();
        let mut all = vec![];
        for (namespace, targets, labels) in pods.chain(others) {
            // Pods with the same Gateways differ only in what their namespace sees.
            let same: Vec<Origin> = self.gateways_for(labels).iter().map(|g| g.origin.clone()).collect();
            if !seen.insert(same) {
                continue;
            }
            let found = view.ports(namespace, &targets, labels);
            let hidden = found.hidden_routes(self, namespace);
            for one in found.overridden.into_iter().chain(hidden) {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        all
    }
}

impl GatewayView {
    /// Returns the ports of the gateways in `namespace` with these labels, whose Services have these targets.
    pub fn ports(&self, namespace: &str, targets: &[GatewayTarget], labels: &Labels) -> GatewayPorts {
        let GatewayPorts { mut ports, mut overridden } = GatewayPorts::default();
        for gateway in self.chosen_by(labels) {
            for (index, server) in gateway.servers.iter().enumerate() {
                for number in target_ports(gateway, targets, server.port) {
                    ports.entry(number).or_default().add(gateway, index, &mut overridden);
                }
            }
        }
        for port in ports.values_mut() {
            port.route(self, namespace, &mut overridden);
        }
        GatewayPorts { ports, overridden }
    }
}

/// Returns the ports that a gateway listens on for a server. The server names a port of the gateway's Service, and the
/// gateway listens on the targets of that port. A Gateway that names Services has only their ports.
fn target_ports(gateway: &Gateway, targets: &[GatewayTarget], number: u16) -> BTreeSet<u16> {
    let named = |target: &GatewayTarget| match &gateway.services {
        Some(hosts) => hosts.contains(&target.host) && target.namespace == gateway.origin.namespace,
        None => target.translates,
    };
    let here = targets.iter().filter(|target| target.port == number && named(target));
    let targets: BTreeSet<u16> = here.map(|target| target.number).collect();
    if targets.is_empty() && gateway.services.is_none() { BTreeSet::from([number]) } else { targets }
}

impl GatewayPort {
    /// The most specific host of a server on this port that covers `name`, a host or a host pattern.
    fn closest(&self, name: &str) -> Option<&str> {
        host::closest(name, self.owners.keys().map(String::as_str))
    }

    /// Returns the server that names a host more specifically than `server` does.
    fn closer(&self, server: &PortServer, name: &str) -> Option<&PortServer> {
        let close = self.closest(name).filter(|close| !server.hosts.contains(*close))?;
        self.servers.get(*self.owners.get(close)?)
    }

    /// Whether this server, which has TLS, serves a host.
    pub fn serves(&self, server: &PortServer, name: &str) -> bool {
        self.closest(name).is_some_and(|closest| server.hosts.contains(closest))
    }

    /// The hosts that other servers with TLS serve.
    pub fn others(&self, server: &PortServer) -> impl Iterator<Item = &str> {
        self.owners.keys().map(String::as_str).filter(|name| !server.hosts.contains(*name))
    }

    /// The number of names in the port's tables if each table listed the hosts of all servers with TLS.
    pub fn names(&self) -> usize {
        self.servers.len() * self.owners.len()
    }

    fn add(&mut self, gateway: &Arc<Gateway>, index: usize, overridden: &mut Vec<Overridden>) {
        let server = &gateway.servers[index];
        let overridden_at = |path: &str, effect: String, winner: &PortServer| Overridden {
            loser: gateway.origin.clone(),
            path: format!("{}.{path}", server.field),
            winner: winner.origin(),
            closer: false,
            effect,
        };
        if let Some(first) = self.servers.first().filter(|first| !mixes(first.server(), server)) {
            let (port, own) = (server.port, word(server.protocol));
            let theirs = word(first.server().protocol);
            let effect = format!("has port {port} for {theirs}; this server, for {own}, has no effect");
            return overridden.push(overridden_at("port", effect, first));
        }
        let mut hosts = BTreeSet::new();
        for (at, ServerHost { host, .. }) in server.hosts.iter().enumerate() {
            if server.tls.is_some() {
                let owner = *self.owners.entry(host.clone()).or_insert(self.servers.len());
                let other = self.servers.get(owner);
                if let Some(other) = other.filter(|other| !(passes(other.server()) && passes(server))) {
                    let effect = format!("serves `{host}` on the same port; here it has no effect");
                    overridden.push(overridden_at(&format!("hosts[{at}]"), effect, other));
                    continue;
                }
            }
            hosts.insert(host.clone());
        }
        if !hosts.is_empty() {
            self.servers.push(PortServer { gateway: gateway.clone(), index, hosts, opaque: vec![] });
        }
    }

    /// Sets the routes for opaque connections.
    fn route(&mut self, view: &GatewayView, namespace: &str, overridden: &mut Vec<Overridden>) {
        let ends_tls = |s: &&PortServer| matches!(s.server().tls, Some(ServerTls::Terminate { .. }));
        let ended = self.servers.iter().filter(ends_tls);
        let mut taken: ClaimedNames =
            ended.flat_map(|s| s.hosts.iter().map(|h| (h.clone(), s.origin()))).collect();
        for at in 0..self.servers.len() {
            let server = &self.servers[at];
            let sets = || view.route_sets(namespace, &server.reference());
            let opaque = match (server.server().protocol, &server.server().tls) {
                (ServerProtocol::Http, _) | (ServerProtocol::Https, Some(ServerTls::Terminate { .. })) => {
                    continue;
                }
                (_, Some(ServerTls::Passthrough)) => {
                    sets().iter().flat_map(|set| self.passed(server, set, &mut taken, overridden)).collect()
                }
                _ => server.first_route(&sets(), overridden),
            };
            self.servers[at].opaque = opaque;
        }
    }

    /// Returns the SNI routes of a VirtualService at a server that passes TLS through.
    fn passed(
        &self,
        server: &PortServer,
        set: &RouteSet,
        taken: &mut ClaimedNames,
        overridden: &mut Vec<Overridden>,
    ) -> Vec<OpaqueRoute> {
        let mut routes = vec![];
        for (r, route) in set.tls.iter().enumerate() {
            for (m, matched) in route.matches.iter().enumerate().filter(|(_, m)| server.applies(&m.source)) {
                let wanted = matched.sni_hosts.iter().enumerate();
                let wanted = wanted.flat_map(|(at, sni)| {
                    let path = format!("spec.tls[{r}].match[{m}].sniHosts[{at}]");
                    server.narrowed(set, sni).into_iter().map(move |name| (name, path.clone()))
                });
                let mut names = vec![];
                for (name, path) in wanted {
                    match self.claim(server, set, &name, taken) {
                        None => names.push(name),
                        Some(loss) => overridden.push(Overridden { path, ..loss }),
                    }
                }
                if !names.is_empty() {
                    // A route that matches every name needs no names.
                    let names = if names.iter().any(|name| name == "*") { vec![] } else { names };
                    routes.push(OpaqueRoute { names, destinations: route.destinations.clone() });
                }
            }
        }
        routes
    }

    /// Assigns an SNI name of a server to a VirtualService. If the name already belongs to another object, returns the
    /// loss.
    fn claim(
        &self,
        server: &PortServer,
        set: &RouteSet,
        name: &str,
        taken: &mut ClaimedNames,
    ) -> Option<Overridden> {
        let closer = self.closer(server, name).map(PortServer::origin);
        let is_closer = closer.is_some();
        let Some(winner) = closer.or_else(|| taken.get(name).cloned()) else {
            taken.insert(name.to_owned(), set.origin.clone());
            return None;
        };
        Some(Overridden {
            loser: set.origin.clone(),
            path: String::new(),
            winner,
            closer: is_closer,
            effect: format!("takes connections for `{name}`; here it has no effect"),
        })
    }
}

/// The object that takes each SNI name.
type ClaimedNames = BTreeMap<String, Origin>;

impl PortServer {
    /// The server as declared in the Gateway.
    pub fn server(&self) -> &Server {
        &self.gateway.servers[self.index]
    }

    /// The reference by which VirtualServices name the Gateway.
    pub fn reference(&self) -> GatewayRef {
        self.gateway.reference.clone()
    }

    /// The hosts that the server and a VirtualService have in common: the narrower of each overlapping pair.
    pub fn common_hosts(&self, set: &RouteSet) -> BTreeSet<String> {
        set.hosts.iter().flat_map(|wanted| self.narrowed(set, wanted)).collect()
    }

    /// The hosts that the server serves within a host of a VirtualService.
    fn narrowed(&self, set: &RouteSet, wanted: &str) -> BTreeSet<String> {
        let from_here = |h: &&ServerHost| h.namespace.as_ref().is_none_or(|n| *n == set.origin.namespace);
        let own = self.server().hosts.iter().filter(from_here).filter(|h| self.hosts.contains(&h.host));
        own.filter_map(|own| {
            if host::covers(&own.host, wanted) {
                Some(wanted.to_owned())
            } else {
                host::covers(wanted, &own.host).then(|| own.host.clone())
            }
        })
        .collect()
    }

    /// Returns the first TCP route; a server uses at most one.
    fn first_route(&self, sets: &[Arc<RouteSet>], overridden: &mut Vec<Overridden>) -> Vec<OpaqueRoute> {
        let bound = sets.iter().filter(|set| !self.common_hosts(set).is_empty());
        let mut routed = bound.filter_map(|set| {
            let here = |source: &SourceMatch| self.applies(source);
            let applies = |r: &super::route::TcpRoute| {
                r.matches.is_empty() || r.matches.iter().any(|m| here(&m.source))
            };
            let at = set.tcp.iter().position(applies)?;
            Some((set, at))
        });
        let Some((first, at)) = routed.next() else { return vec![] };
        overridden.extend(routed.map(|(set, at)| Overridden {
            loser: set.origin.clone(),
            path: format!("spec.tcp[{at}]"),
            winner: first.origin.clone(),
            closer: false,
            effect: format!("takes the connections to port {}; this route has no effect", self.server().port),
        }));
        let names = if self.hosts.contains("*") || self.server().tls.is_none() {
            vec![]
        } else {
            self.hosts.iter().cloned().collect()
        };
        vec![OpaqueRoute { names, destinations: first.tcp[at].destinations.clone() }]
    }

    /// Whether a source condition holds at this server. A gateway ignores conditions on the client's workload.
    pub(super) fn applies(&self, source: &SourceMatch) -> bool {
        source.port.is_none_or(|port| port == self.server().port)
            && (source.gateways.is_empty() || source.gateways.contains(&self.reference()))
    }

    fn origin(&self) -> Origin {
        self.gateway.origin.clone()
    }
}

/// Whether two servers can be merged on one port. Two TCP servers cannot: nothing distinguishes their connections.
fn mixes(first: &Server, other: &Server) -> bool {
    first.listens_as(other) && first.protocol != ServerProtocol::Tcp
}

fn word(protocol: ServerProtocol) -> &'static str {
    match protocol {
        ServerProtocol::Http => "HTTP",
        ServerProtocol::Https | ServerProtocol::Tls => "TLS",
        ServerProtocol::Tcp => "TCP",
    }
}

fn passes(server: &Server) -> bool {
    server.tls == Some(ServerTls::Passthrough)
}
