//! Pure. What the proxies of one audience see: visible services with the rules that apply to them, looked up once for
//! all generators. Listeners, routes and names are generated from the view alone, so equal views give equal resources.

use super::audience::Audience;
use super::http_connection;
use super::import::Imports;
use crate::catalog::backing::Backing;
use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::gateway_view::GatewayView;
use crate::catalog::policy::{Mesh, OutboundPolicy};
use crate::catalog::route::RouteSet;
use crate::catalog::same::Same;
use crate::catalog::service::{Service, StaticEndpoint};
use crate::catalog::workload::Workload;
use crate::catalog::{Catalog, host};
use api::model::cluster::ClusterService;
use api::model::listener::{HttpConnection, RouteSource};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The inputs of listeners, routes and names. Equal values give equal resources.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    /// The audience.
    pub(super) scope: Arc<Audience>,
    mesh: Same<Mesh>,
    /// The visible services, sorted by host.
    services: Vec<Outline>,
    /// Their DestinationRules, in the same order.
    rules: Vec<Option<Same<DestinationRule>>>,
    /// The backing of headless services, whose addresses are those of their pods.
    headless: BTreeMap<String, Backing>,
    /// ExternalName Services that are aliases of another visible service, with that service's host.
    targets: BTreeMap<String, String>,
    /// The aliases of each service: the inverse of `targets`.
    aliases: BTreeMap<String, Vec<Outline>>,
    /// Hosts and host patterns of VirtualServices for sidecars, each with the one that routes it.
    owners: BTreeMap<String, Same<RouteSet>>,
    /// Those of them that are patterns.
    patterns: Vec<String>,
    outbound: OutboundPolicy,
    gateways: Option<GatewayView>,
}

/// A service compared without its static endpoints, which no generator reads from the view.
#[derive(Debug, Clone)]
struct Outline(Arc<Service>);

impl PartialEq for Outline {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.has_outline_of(&other.0)
    }
}

impl View {
    pub(super) fn new(catalog: &Catalog, scope: &Arc<Audience>) -> Self {
        let sidecar = catalog.sidecar(&scope.namespace, &scope.labels).filter(|_| !scope.gateway);
        let Imports { services, owners } = Imports::new(catalog, &scope.namespace, sidecar.map(Arc::as_ref));
        let rules =
            services.iter().map(|s| catalog.destination_rule(&scope.namespace, s).map(Same)).collect();
        let headless = services.iter().filter(|s| s.headless);
        let headless = headless.map(|s| (s.host.clone(), catalog.backing(s))).collect();
        let patterns = owners.keys().filter(|h: &&String| h.starts_with('*')).cloned().collect();
        let mut view = Self {
            scope: scope.clone(),
            mesh: Same(catalog.shared_mesh()),
            services: services.into_iter().map(Outline).collect(),
            rules,
            headless,
            targets: BTreeMap::new(),
            aliases: BTreeMap::new(),
            owners: owners.into_iter().map(|(host, set)| (host, Same(set))).collect(),
            patterns,
            outbound: sidecar.and_then(|s| s.outbound).unwrap_or(catalog.mesh().outbound),
            gateways: scope.gateway.then(|| catalog.gateway_view()),
        };
        view.follow_aliases();
        view
    }

    fn follow_aliases(&mut self) {
        let named = self.services.iter().filter(|s| s.0.alias_of.is_some());
        let found = named.filter_map(|alias| {
            let target = alias.0.behind(|host| self.service(host))?;
            Some((alias.clone(), target.host.clone()))
        });
        for (alias, target) in found.collect::<Vec<_>>() {
            self.targets.insert(alias.0.host.clone(), target.clone());
            self.aliases.entry(target).or_default().push(alias);
        }
    }

    /// Whether this is an ExternalName Service that is an alias of another visible service. An alias has no resources
    /// of its own.
    pub(super) fn is_alias(&self, service: &Service) -> bool {
        self.targets.contains_key(&service.host)
    }

    /// The host behind a destination: the one that an ExternalName Service is an alias of, or the host itself.
    pub(super) fn target<'h>(&'h self, host: &'h str) -> &'h str {
        self.targets.get(host).map_or(host, String::as_str)
    }

    /// The ExternalName Services that are aliases of a service.
    pub(super) fn aliases(&self, service: &Service) -> impl Iterator<Item = &Arc<Service>> {
        self.aliases.get(&service.host).into_iter().flatten().map(|alias| &alias.0)
    }

    pub(super) fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().map(|service| &service.0)
    }

    /// The services that have clusters, with their DestinationRules.
    pub(super) fn called(&self) -> impl Iterator<Item = (&Arc<Service>, Option<&Arc<DestinationRule>>)> {
        let rules = self.rules.iter().map(|rule| rule.as_ref().map(|rule| &rule.0));
        self.services().zip(rules).filter(|(service, _)| !self.is_alias(service))
    }

    pub(super) fn service(&self, host: &str) -> Option<&Service> {
        self.place(host).map(|at| self.services[at].0.as_ref())
    }

    fn place(&self, host: &str) -> Option<usize> {
        self.services.binary_search_by(|service| service.0.host.as_str().cmp(host)).ok()
    }

    pub(super) fn destination_rule(&self, host: &str) -> Option<&DestinationRule> {
        self.rules[self.place(host)?].as_deref()
    }

    /// The pods of a headless service.
    pub(super) fn pods(&self, service: &Service) -> impl Iterator<Item = &Arc<Workload>> {
        self.headless.get(&service.host).into_iter().flat_map(Backing::pods)
    }

    /// The static endpoints of a headless service.
    pub(super) fn written(&self, service: &Service) -> impl Iterator<Item = &StaticEndpoint> {
        self.headless.get(&service.host).into_iter().flat_map(Backing::written).map(|(endpoint, _)| endpoint)
    }

    /// The Gateways, for gateway proxies; `None` for sidecars.
    pub(super) fn gateway_view(&self) -> Option<&GatewayView> {
        self.gateways.as_ref()
    }

    /// The VirtualService that routes sidecars' requests to this host.
    pub(super) fn route_set(&self, host: &str) -> Option<&RouteSet> {
        let closest = || self.owners.get(host::closest(host, self.patterns.iter().map(String::as_str))?);
        self.owners.get(host).or_else(closest).map(|set| &**set)
    }

    /// VirtualServices for sidecars, by the hosts that they route.
    pub(super) fn owners(&self) -> &BTreeMap<String, Same<RouteSet>> {
        &self.owners
    }

    /// Whether connections to unknown destinations are rejected.
    pub(super) fn registry_only(&self) -> bool {
        self.outbound == OutboundPolicy::RegistryOnly
    }

    /// An HTTP connection manager with the mesh's settings.
    pub(super) fn http_connection(&self, stat_prefix: String, routes: RouteSource) -> HttpConnection {
        HttpConnection {
            accept_http_10: self.scope.http_10,
            ..http_connection::common(self.mesh().paths, &self.mesh().access_log, stat_prefix, routes)
        }
    }
}

/// The Service that a cluster belongs to, for metrics.
pub(super) fn stands_for(service: &Service) -> ClusterService {
    ClusterService {
        host: service.host.clone(),
        name: service.name.clone(),
        namespace: service.namespace.clone(),
    }
}
