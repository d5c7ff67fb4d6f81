//! Pure. What a gateway listens to: the servers of all Gateway objects that choose it, by port, with each host and
//! each SNI given to one of them alone: the one that names it most closely, and of equals the first. Who comes too late
//! is told, and by whom it lost.

use super::gates::Gates;
use super::gateway::{Gateway, Server, ServerHost, ServerProtocol, ServerTls};
use super::route::{GatewayRef, RouteSet, SourceMatch, TcpDestination};
use super::target::Target;
use super::visibility::{Identity, Labels, Origin, selects};
use super::workload::Workload;
use super::{Catalog, host};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The ports of a gateway.
#[derive(Debug, Default)]
pub struct GatewayPorts {
    /// By the number that is listened to.
    pub ports: BTreeMap<u16, GatewayPort>,
    /// What has no effect.
    pub lost: Vec<Lost>,
}

/// One port of a gateway.
#[derive(Debug, Default)]
pub struct GatewayPort {
    /// Its servers, the first first; all of one kind.
    pub servers: Vec<PortServer>,
    /// Servers with TLS by their hosts.
    owners: BTreeMap<String, usize>,
}

/// A server of a port.
#[derive(Debug)]
pub struct PortServer {
    /// Its object.
    pub gateway: Arc<Gateway>,
    /// Its place there.
    index: usize,
    /// Its hosts without those that are another's.
    pub hosts: BTreeSet<String>,
    /// Where its connections go, if they are not taken for HTTP.
    pub opaque: Vec<OpaqueRoute>,
}

/// A port of a gateway's pod that a Service leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GateTarget {
    /// The Service.
    pub host: String,
    /// Its namespace.
    pub namespace: String,
    /// Gateways that it chooses listen to the targets of its ports.
    pub translates: bool,
    /// The Service's port.
    pub port: u16,
    /// The pod's.
    pub number: u16,
}

/// Connections of opaque bytes and where they go.
#[derive(Debug)]
pub struct OpaqueRoute {
    /// By which SNI they are known; empty: by none.
    pub names: Vec<String>,
    /// Never empty.
    pub destinations: Vec<TcpDestination>,
}

/// A part of an object that has no effect because of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The object.
    pub loser: Origin,
    /// The part.
    pub path: String,
    /// The other object.
    pub winner: Origin,
    /// The other one names a host more closely; else it comes first.
    pub closer: bool,
    /// What the other one does.
    pub effect: String,
}

impl Catalog {
    /// What the Services of a gateway's pod lead to.
    pub fn gate_targets(&self, pod: &Workload) -> Vec<GateTarget> {
        let target = |target: &Target| GateTarget {
            host: target.service.host.clone(),
            namespace: target.service.namespace.clone(),
            translates: target.service.translates_ports,
            port: target.port().number,
            number: target.number,
        };
        self.targets_of(pod).iter().map(target).collect()
    }

    /// What gateways leave out because another object was first, or names it more closely.
    pub fn lost_at_gateways(&self) -> Vec<Lost> {
        let (gateways, gates) = (self.shared_gateways(), self.gates());
        let chosen = |pod: &&Arc<Workload>| {
            gateways.iter().any(|g| !g.selector.is_empty() && selects(&g.selector, &pod.labels))
        };
        let pods = self.workloads().filter(chosen);
        let pods = pods.map(|pod| (pod.namespace.as_str(), self.gate_targets(pod), &pod.labels));
        // Gateways that nothing runs for yet.
        let root = self.mesh().root_namespace.as_str();
        let others = gateways.iter().map(|gateway| (root, vec![], &gateway.selector));
        let mut seen = BTreeSet::new();
        let mut all = vec![];
        for (namespace, targets, labels) in pods.chain(others) {
            // All pods with the same Gateways are alike but for what their namespace sees.
            let same: Vec<Origin> = self.gateways_for(labels).iter().map(|g| g.origin.clone()).collect();
            if !seen.insert(same) {
                continue;
            }
            let gates = gates.ports(namespace, &targets, labels);
            let hidden = gates.hidden_routes(self, namespace);
            for found in gates.lost.into_iter().chain(hidden) {
                if !all.contains(&found) {
                    all.push(found);
                }
            }
        }
        all
    }
}

impl Gates {
    /// The ports of the gateways with these labels in a namespace, whose Services lead to these targets.
    pub fn ports(&self, namespace: &str, targets: &[GateTarget], labels: &Labels) -> GatewayPorts {
        let GatewayPorts { mut ports, mut lost } = GatewayPorts::default();
        for gateway in self.chosen_by(labels) {
            for (index, server) in gateway.servers.iter().enumerate() {
                for number in target_ports(gateway, targets, server.port) {
                    ports.entry(number).or_default().add(gateway, index, &mut lost);
                }
            }
        }
        for port in ports.values_mut() {
            port.route(self, namespace, &mut lost);
        }
        GatewayPorts { ports, lost }
    }
}

/// A server's port is one of the gateway's Services; the gateway itself listens to the targets of that port. A Gateway
/// that names Services has no other ports than theirs.
fn target_ports(gateway: &Gateway, targets: &[GateTarget], number: u16) -> BTreeSet<u16> {
    let named = |target: &GateTarget| match &gateway.services {
        Some(hosts) => hosts.contains(&target.host) && target.namespace == gateway.origin.namespace,
        None => target.translates,
    };
    let here = targets.iter().filter(|target| target.port == number && named(target));
    let targets: BTreeSet<u16> = here.map(|target| target.number).collect();
    if targets.is_empty() && gateway.services.is_none() { BTreeSet::from([number]) } else { targets }
}

impl GatewayPort {
    /// The server that takes connections for a host, or for all hosts of a pattern: the one that names it most closely.
    fn closest(&self, name: &str) -> Option<&str> {
        host::closest(name, self.owners.keys().map(String::as_str))
    }

    /// The server that names a host more closely than this one.
    fn closer(&self, server: &PortServer, name: &str) -> Option<&PortServer> {
        let close = self.closest(name).filter(|close| !server.hosts.contains(*close))?;
        self.servers.get(*self.owners.get(close)?)
    }

    /// Whether a server with TLS answers for a host.
    pub fn serves(&self, server: &PortServer, name: &str) -> bool {
        self.closest(name).is_some_and(|closest| server.hosts.contains(closest))
    }

    /// Hosts for which other servers with TLS answer.
    pub fn others(&self, server: &PortServer) -> impl Iterator<Item = &str> {
        self.owners.keys().map(String::as_str).filter(|name| !server.hosts.contains(*name))
    }

    /// Names that the tables of the port would have, if each named the hosts of all servers with TLS.
    pub fn names(&self) -> usize {
        self.servers.len() * self.owners.len()
    }

    fn add(&mut self, gateway: &Arc<Gateway>, index: usize, lost: &mut Vec<Lost>) {
        let server = &gateway.servers[index];
        let told = |path: &str, effect: String, winner: &PortServer| Lost {
            loser: gateway.origin.clone(),
            path: format!("spec.servers[{index}].{path}"),
            winner: winner.origin(),
            closer: false,
            effect,
        };
        if let Some(first) = self.servers.first().filter(|first| !mixes(first.server(), server)) {
            let (port, own) = (server.port, word(server.protocol));
            let theirs = word(first.server().protocol);
            let effect = format!("has port {port} for {theirs}; this server, for {own}, has no effect");
            return lost.push(told("port", effect, first));
        }
        let mut hosts = BTreeSet::new();
        for (at, ServerHost { host, .. }) in server.hosts.iter().enumerate() {
            if server.tls.is_some() {
                let owner = *self.owners.entry(host.clone()).or_insert(self.servers.len());
                let other = self.servers.get(owner);
                if let Some(other) = other.filter(|other| !(passes(other.server()) && passes(server))) {
                    let effect = format!("serves `{host}` on the same port; here it has no effect");
                    lost.push(told(&format!("hosts[{at}]"), effect, other));
                    continue;
                }
            }
            hosts.insert(host.clone());
        }
        if !hosts.is_empty() {
            self.servers.push(PortServer { gateway: gateway.clone(), index, hosts, opaque: vec![] });
        }
    }

    /// Finds out where connections of opaque bytes go.
    fn route(&mut self, gates: &Gates, namespace: &str, lost: &mut Vec<Lost>) {
        let ends_tls = |s: &&PortServer| matches!(s.server().tls, Some(ServerTls::Terminate { .. }));
        let ended = self.servers.iter().filter(ends_tls);
        let mut taken: Taken = ended.flat_map(|s| s.hosts.iter().map(|h| (h.clone(), s.origin()))).collect();
        for at in 0..self.servers.len() {
            let server = &self.servers[at];
            let sets = || gates.route_sets(namespace, &server.reference());
            let opaque = match (server.server().protocol, &server.server().tls) {
                (ServerProtocol::Http, _) | (ServerProtocol::Https, Some(ServerTls::Terminate { .. })) => {
                    continue;
                }
                (_, Some(ServerTls::Passthrough)) => {
                    sets().iter().flat_map(|set| self.passed(server, set, &mut taken, lost)).collect()
                }
                _ => server.first_route(&sets(), lost),
            };
            self.servers[at].opaque = opaque;
        }
    }

    /// The routes by SNI that a VirtualService gives a server that does not end TLS.
    fn passed(
        &self,
        server: &PortServer,
        set: &RouteSet,
        taken: &mut Taken,
        lost: &mut Vec<Lost>,
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
                        Some(loss) => lost.push(Lost { path, ..loss }),
                    }
                }
                if !names.is_empty() {
                    // Who takes every name needs none.
                    let names = if names.iter().any(|name| name == "*") { vec![] } else { names };
                    routes.push(OpaqueRoute { names, destinations: route.destinations.clone() });
                }
            }
        }
        routes
    }

    /// Gives connections for a name to a VirtualService of a server, unless they are another's: then what it loses.
    fn claim(&self, server: &PortServer, set: &RouteSet, name: &str, taken: &mut Taken) -> Option<Lost> {
        let closer = self.closer(server, name).map(PortServer::origin);
        let is_closer = closer.is_some();
        let Some(winner) = closer.or_else(|| taken.get(name).cloned()) else {
            taken.insert(name.to_owned(), set.origin.clone());
            return None;
        };
        Some(Lost {
            loser: set.origin.clone(),
            path: String::new(),
            winner,
            closer: is_closer,
            effect: format!("takes connections for `{name}`; here it has no effect"),
        })
    }
}

/// Who is known by an SNI.
type Taken = BTreeMap<String, Origin>;

impl PortServer {
    /// As it is written.
    pub fn server(&self) -> &Server {
        &self.gateway.servers[self.index]
    }

    /// The Gateway, as VirtualServices name it.
    pub fn reference(&self) -> GatewayRef {
        let Identity { namespace, name, .. } = &*self.gateway.origin;
        GatewayRef::Named { namespace: namespace.clone(), name: name.clone() }
    }

    /// Hosts that it and a VirtualService have in common: the narrower of each overlapping pair.
    pub fn common_hosts(&self, set: &RouteSet) -> BTreeSet<String> {
        set.hosts.iter().flat_map(|wanted| self.narrowed(set, wanted)).collect()
    }

    /// What it serves of a host of a VirtualService.
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

    /// The first route of opaque bytes; a server has no more than one.
    fn first_route(&self, sets: &[Arc<RouteSet>], lost: &mut Vec<Lost>) -> Vec<OpaqueRoute> {
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
        lost.extend(routed.map(|(set, at)| Lost {
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

    /// Whether a condition holds at this server; what a workload is does not matter at a gateway.
    pub(super) fn applies(&self, source: &SourceMatch) -> bool {
        source.port.is_none_or(|port| port == self.server().port)
            && (source.gateways.is_empty() || source.gateways.contains(&self.reference()))
    }

    fn origin(&self) -> Origin {
        self.gateway.origin.clone()
    }
}

/// Whether the servers of a port merge: nothing tells connections to two TCP servers apart.
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
