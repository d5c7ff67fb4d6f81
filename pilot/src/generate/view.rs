//! Pure. The catalog as one proxy sees it: visible services with the rules that hold for its namespace, looked up
//! once for all generators.

use super::http_connection;
use super::import::Imports;
use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::policy::{Mesh, OutboundPolicy};
use crate::catalog::route::RouteSet;
use crate::catalog::service::{Service, ServiceEndpoint, ServicePort};
use crate::catalog::visibility::selects;
use crate::catalog::{Catalog, host};
use crate::flow::Scope;
use api::model::cluster::ClusterService;
use api::model::endpoint::{Endpoint, EndpointWorkload, LoadAssignment, LocalityEndpoints};
use api::model::listener::{HttpConnection, RouteSource};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What one proxy sees.
pub(super) struct View<'a> {
    /// Everything in force.
    pub(super) catalog: &'a Catalog,
    /// The proxy.
    pub(super) scope: &'a Scope,
    services: Vec<Arc<Service>>,
    by_host: HashMap<String, usize>,
    rules: HashMap<String, Arc<DestinationRule>>,
    /// ExternalName Services that stand for another service of the view, with its host.
    targets: BTreeMap<String, String>,
    /// The other way round.
    aliases: BTreeMap<String, Vec<Arc<Service>>>,
    /// Hosts (patterns too) of the VirtualServices for sidecars, each with the one that owns it.
    owners: BTreeMap<String, Arc<RouteSet>>,
    /// Those of them that stand for several hosts.
    patterns: Vec<String>,
    outbound: OutboundPolicy,
}

impl<'a> View<'a> {
    pub(super) fn new(catalog: &'a Catalog, scope: &'a Scope) -> Self {
        let sidecar = catalog.sidecar(&scope.namespace, &scope.labels).filter(|_| !scope.gateway);
        let Imports { services, owners } = Imports::new(catalog, &scope.namespace, sidecar.map(Arc::as_ref));
        let by_host = services.iter().enumerate().map(|(at, s)| (s.host.clone(), at)).collect();
        let rules = services
            .iter()
            .filter_map(|s| Some((s.host.clone(), catalog.destination_rule(&scope.namespace, s)?)))
            .collect();
        let patterns = owners.keys().filter(|h: &&String| h.starts_with('*')).cloned().collect();
        let outbound = sidecar.and_then(|s| s.outbound).unwrap_or(catalog.mesh().outbound);
        let (targets, aliases) = Default::default();
        let mut view =
            Self { catalog, scope, services, by_host, rules, targets, aliases, owners, patterns, outbound };
        view.follow_aliases();
        view
    }

    fn follow_aliases(&mut self) {
        let named = self.services.iter().filter(|s| s.alias_of.is_some());
        let found = named.filter_map(|alias| {
            let target = alias.behind(|host| self.service(host))?;
            Some((alias.clone(), target.host.clone()))
        });
        for (alias, target) in found.collect::<Vec<_>>() {
            self.targets.insert(alias.host.clone(), target.clone());
            self.aliases.entry(target).or_default().push(alias);
        }
    }

    /// Whether this is an ExternalName Service that stands for another of the view: it has nothing of its own then.
    pub(super) fn is_alias(&self, service: &Service) -> bool {
        self.targets.contains_key(&service.host)
    }

    /// The host that a destination stands for: what is behind an ExternalName Service, or itself.
    pub(super) fn target<'h>(&'h self, host: &'h str) -> &'h str {
        self.targets.get(host).map_or(host, String::as_str)
    }

    /// The ExternalName Services that stand for a service.
    pub(super) fn aliases(&self, service: &Service) -> &[Arc<Service>] {
        self.aliases.get(&service.host).map_or(&[], Vec::as_slice)
    }

    pub(super) fn mesh(&self) -> &Mesh {
        self.catalog.mesh()
    }

    pub(super) fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    pub(super) fn service(&self, host: &str) -> Option<&Service> {
        self.by_host.get(host).map(|at| self.services[*at].as_ref())
    }

    pub(super) fn destination_rule(&self, host: &str) -> Option<&DestinationRule> {
        self.rules.get(host).map(Arc::as_ref)
    }

    /// The same, to be kept.
    pub(super) fn shared_rule(&self, host: &str) -> Option<Arc<DestinationRule>> {
        self.rules.get(host).cloned()
    }

    /// The VirtualService that routes calls of sidecars to this host.
    pub(super) fn route_set(&self, host: &str) -> Option<&RouteSet> {
        let closest = || self.owners.get(host::closest(host, self.patterns.iter().map(String::as_str))?);
        self.owners.get(host).or_else(closest).map(Arc::as_ref)
    }

    /// VirtualServices for sidecars by the hosts they own.
    pub(super) fn owners(&self) -> &BTreeMap<String, Arc<RouteSet>> {
        &self.owners
    }

    /// Unknown destinations are refused.
    pub(super) fn registry_only(&self) -> bool {
        self.outbound == OutboundPolicy::RegistryOnly
    }

    pub(super) fn endpoints(&self, service: &Service, port: &ServicePort) -> Vec<ServiceEndpoint> {
        self.catalog.endpoints(service, port)
    }

    /// An HTTP connection with the mesh's settings.
    pub(super) fn http_connection(&self, stat_prefix: String, routes: RouteSource) -> HttpConnection {
        HttpConnection {
            accept_http_10: self.scope.http_10,
            ..http_connection::common(self.mesh().paths, &self.mesh().access_log, stat_prefix, routes)
        }
    }

    /// The endpoints of a port, or of a subset of it, as xDS carries them.
    pub(super) fn assignment(
        &self,
        service: &Service,
        port: &ServicePort,
        subset: &str,
        cluster: String,
    ) -> LoadAssignment {
        let labels = self.destination_rule(&service.host).and_then(|r| r.subset(subset)).map(|s| &s.labels);
        let chosen = |e: &ServiceEndpoint| labels.is_none_or(|l| selects(l, &e.labels));
        let endpoints: Vec<Endpoint> =
            self.endpoints(service, port).into_iter().filter(chosen).map(endpoint).collect();
        let localities = if endpoints.is_empty() {
            vec![]
        } else {
            vec![LocalityEndpoints { endpoints, ..LocalityEndpoints::default() }]
        };
        LoadAssignment { cluster, localities }
    }
}

/// What a cluster says of the Service that it stands for.
pub(super) fn stands_for(service: &Service) -> ClusterService {
    ClusterService {
        host: service.host.clone(),
        name: service.name.clone(),
        namespace: service.namespace.clone(),
    }
}

fn endpoint(from: ServiceEndpoint) -> Endpoint {
    let workload = from.workload.map(|w| EndpointWorkload {
        name: w.workload_name.clone(),
        namespace: w.namespace.clone(),
        canonical_name: w.canonical_name.clone(),
        canonical_revision: w.canonical_revision.clone(),
        cluster_id: super::CLUSTER_ID.into(),
    });
    Endpoint {
        address: from.address,
        health: from.health,
        hostname: String::new(),
        weight: from.weight,
        mtls: from.mtls,
        workload,
    }
}
