//! Pure. Checks references between objects: whether the services, subsets and gateways that a route names exist.
//!
//! For objects in force these are warnings, since objects may arrive in any order. For objects that a user is about to
//! apply they are errors, unless objects applied together resolve the reference. A reference of another object that the
//! change breaks is a warning: the user may intend to repair it next.

mod credential;
mod gateway;
mod ingress;
mod missed;

use crate::catalog::destination_rule::DestinationRule;
use crate::catalog::kind::Item;
use crate::catalog::policy::Mesh;
use crate::catalog::route::{Destination, GatewayRef, HttpAction, RouteSet};
use crate::catalog::service::Registry;
use crate::catalog::visibility::{Labels, selects};
use crate::catalog::{Catalog, host};
use crate::flow::Fact;
use crate::validate::judge;
use api::resource::check::{Given, Report};
use api::resource::document::{Key, Place, Refusal};
use api::resource::kind::Kind;
use api::resource::object::Document;
use api::resource::object::Object;
use api::resource::parse;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Whether objects that are to be applied together would be accepted on top of those in force. Changes nothing.
pub fn check(catalog: &Catalog, proposed: &[Given]) -> Report {
    let mut report = Report::default();
    let mut documents = vec![];
    for (index, given) in proposed.iter().enumerate() {
        let place = place(&given.file);
        match parse::object(&place, &given.object) {
            Ok(object) => {
                let object = dated(catalog, object);
                documents.push(Document { place, index, object, raw: given.object.clone() });
            }
            Err(refusals) => report.errors.extend(refusals),
        }
    }
    report.errors.extend(parse::duplicates(&documents));
    let places: HashMap<Key, Place> =
        documents.iter().map(|d| (d.object.key.clone(), d.place.clone())).collect();
    let (changes, verdicts) = judge(documents.into_iter().map(Fact::Upsert).collect(), catalog.mesh());
    for verdict in verdicts {
        report.errors.extend(verdict.errors);
        report.warnings.extend(verdict.warnings);
    }
    if report.errors.is_empty() {
        let (next, _) = catalog.apply(changes);
        for (key, place) in &places {
            let found = next.item(key).map(|item| broken(&next, key, item, place));
            for (severity, refusal) in found.into_iter().flatten() {
                match severity {
                    Severity::Error => report.errors.push(refusal),
                    Severity::Warning => report.warnings.push(refusal),
                }
            }
        }
        let (lost, others): (Vec<Refusal>, Vec<Refusal>) = placed(next.conflicts(), &places);
        report.warnings.extend(lost);
        let before: HashSet<Refusal> = warnings(catalog).into_iter().collect();
        let harmed = others.into_iter().chain(references(&next)).filter(|refusal| {
            !before.contains(refusal) && refusal.key.as_ref().is_some_and(|key| !places.contains_key(key))
        });
        report.warnings.extend(harmed);
        report.errors.sort_by(|a, b| (&a.place, &a.path).cmp(&(&b.place, &b.path)));
        report.warnings.sort_by(|a, b| (&a.place, &a.path).cmp(&(&b.place, &b.path)));
    }
    report
}

/// Whether one object would be accepted on top of those in force. Unlike in `check`, references that do not resolve are
/// warnings, since the objects that they name may follow.
pub fn admit(catalog: &Catalog, proposed: &serde_json::Value) -> Report {
    let place = Place::default();
    let object = match parse::object(&place, proposed) {
        Ok(object) => dated(catalog, object),
        Err(errors) => return Report { errors, warnings: vec![] },
    };
    let key = object.key.clone();
    let document = Document { place: place.clone(), index: 0, object, raw: proposed.clone() };
    let (changes, verdicts) = judge(vec![Fact::Upsert(document)], catalog.mesh());
    let mut report = Report::default();
    for verdict in verdicts {
        report.errors.extend(verdict.errors);
        report.warnings.extend(verdict.warnings);
    }
    if report.errors.is_empty() {
        let (next, _) = catalog.apply(changes);
        let found = next.item(&key).map(|item| broken(&next, &key, item, &place));
        report.warnings.extend(found.into_iter().flatten().map(|(_, refusal)| refusal));
        let lost = next.conflicts_of(key.kind);
        report.warnings.extend(placed(lost, &HashMap::from([(key, place)])).0);
        report.warnings.sort_by(|a, b| a.path.cmp(&b.path));
    }
    report
}

/// Returns the object with the age that it will have in force: that of the object it replaces, else younger than all.
fn dated(catalog: &Catalog, object: Arc<Object>) -> Arc<Object> {
    if !object.created.is_empty() {
        return object;
    }
    let stored = catalog.item(&object.key).and_then(Item::origin).map(|origin| origin.created.clone());
    let created = stored.unwrap_or_else(|| YOUNGEST.to_owned());
    Arc::new(Object { created, ..Object::clone(&object) })
}

/// Sorts after every timestamp.
const YOUNGEST: &str = "~";

/// Conflicts, split into those of objects with a place in `places` and the others.
fn placed(conflicts: Vec<Refusal>, places: &HashMap<Key, Place>) -> (Vec<Refusal>, Vec<Refusal>) {
    let known = |refusal: &Refusal| refusal.key.as_ref().and_then(|key| places.get(key)).cloned();
    let all = conflicts.into_iter().map(|refusal| match known(&refusal) {
        Some(place) => Refusal { place, ..refusal },
        None => refusal,
    });
    all.partition(|refusal| known(refusal).is_some())
}

/// The warnings about objects in combination: conflicts, and unresolved references.
fn warnings(catalog: &Catalog) -> Vec<Refusal> {
    let mut all = catalog.conflicts();
    all.extend(references(catalog));
    all
}

/// All unresolved references of objects in force.
pub fn references(catalog: &Catalog) -> Vec<Refusal> {
    let nowhere = Place::default();
    let all = catalog.items().flat_map(|(key, item)| broken(catalog, key, item, &nowhere));
    all.map(|(_, refusal)| refusal).collect()
}

enum Severity {
    /// Requests would fail.
    Error,
    /// The reference may be intended.
    Warning,
}

type Found = Vec<(Severity, Refusal)>;

fn broken(catalog: &Catalog, key: &Key, item: &Item, place: &Place) -> Found {
    let mut finder = Finder { catalog, key, place, found: vec![] };
    if let Some(policy) = item.policy() {
        finder.chosen(policy.path, policy.selector);
    }
    match item {
        Item::Routes(set) => finder.route_set(set),
        Item::DestinationRule(rule) => finder.destination_rule(rule),
        Item::Gateway(gateway) if catalog.workloads().all(|w| !selects(&gateway.selector, &w.labels)) => {
            finder.warn("spec.selector", "selects no pod".into(), "correct it, or start a gateway");
        }
        Item::Gateway(gateway) => {
            finder.gateway_ports(gateway);
            finder.gateway_secrets(gateway);
        }
        Item::Ingress(ingress) => finder.ingress(ingress),
        Item::Mesh(mesh) => finder.root_namespace(mesh),
        Item::PeerAuthentication(policy) => finder.policy_ports(policy),
        Item::Sidecar(sidecar) => finder.imports(sidecar),
        // What a controller writes is not for users to correct.
        Item::Endpoints { service, selected: false, endpoints } if !service.is_empty() => {
            finder.endpoints(service, endpoints);
        }
        _ => {}
    }
    finder.found
}

struct Finder<'a> {
    catalog: &'a Catalog,
    key: &'a Key,
    place: &'a Place,
    found: Found,
}

impl Finder<'_> {
    fn chosen(&mut self, path: &str, selector: Option<&Labels>) {
        let chooses = |labels: &Labels| {
            self.catalog.workloads_in(&self.key.namespace).any(|pod| selects(labels, &pod.labels))
        };
        if selector.is_some_and(|labels| !chooses(labels)) {
            let reason = format!("selects no pod of namespace {}", self.key.namespace);
            self.warn(path, reason, "correct it, or start such pods");
        }
    }

    /// Warns if the mesh does not know its own gateways and policies.
    fn root_namespace(&mut self, mesh: &Mesh) {
        let root = &mesh.root_namespace;
        if !self.catalog.discovers(root) {
            let reason = format!(
                "do not select the root namespace {root}: its gateways and its policies are not known"
            );
            self.warn("data.mesh.discoverySelectors", reason, "label it as a selector requires");
        }
    }

    fn route_set(&mut self, set: &Arc<RouteSet>) {
        self.short_hosts(set);
        self.protocol_mismatch(set);
        self.match_ports(set);
        for (i, gateway) in set.gateways.iter().enumerate() {
            self.gateway(&format!("spec.gateways[{i}]"), gateway);
        }
        for (i, route) in set.http.iter().enumerate() {
            let path = format!("spec.http[{i}]");
            for (m, gateway) in route
                .matches
                .iter()
                .enumerate()
                .flat_map(|(m, w)| w.source.gateways.iter().map(move |g| (m, g)))
            {
                self.gateway(&format!("{path}.match[{m}].gateways"), gateway);
            }
            match &route.action {
                HttpAction::Forward(destinations) => {
                    for to in destinations {
                        let path = format!("{path}.route[{}].destination", to.index);
                        self.destination(&path, &to.destination);
                    }
                }
                HttpAction::Delegate { namespace, name } => {
                    self.delegate(&format!("{path}.delegate"), namespace, name);
                }
                HttpAction::Redirect { .. } | HttpAction::Direct { .. } => {}
            }
            for mirror in &route.mirrors {
                self.destination(&format!("{path}.mirror"), &mirror.destination);
            }
        }
        let tls = set
            .tls
            .iter()
            .enumerate()
            .map(|(i, r)| (format!("spec.tls[{i}].route.destination"), &r.destinations));
        let tcp = set
            .tcp
            .iter()
            .enumerate()
            .map(|(i, r)| (format!("spec.tcp[{i}].route.destination"), &r.destinations));
        for (path, destinations) in tls.chain(tcp) {
            for destination in destinations {
                self.destination(&path, &destination.destination);
            }
        }
    }

    fn gateway(&mut self, path: &str, gateway: &GatewayRef) {
        let GatewayRef::Named { namespace, name } = gateway else { return };
        if self.catalog.gateway(namespace, name).is_none() {
            let reason = format!("there is no Gateway {namespace}/{name}");
            self.error(path, reason, "apply the Gateway first, or with this object");
        }
    }

    fn delegate(&mut self, path: &str, namespace: &str, name: &str) {
        let key = Key::new(Kind::VirtualService, namespace, name);
        match self.catalog.item(&key) {
            Some(Item::Routes(set)) if set.hosts.is_empty() => {}
            Some(_) => {
                self.error(path, format!("VirtualService {namespace}/{name} has hosts"), "remove its hosts");
            }
            None => {
                let reason = format!("there is no VirtualService {namespace}/{name}");
                self.error(path, reason, "apply it first, or with this object");
            }
        }
    }

    fn destination(&mut self, path: &str, destination: &Destination) {
        let namespace = &self.key.namespace;
        let services = self.catalog;
        let known = services.service(namespace, &destination.host).or_else(|| {
            services.services().filter(|s| s.is_wildcard()).find(|s| host::covers(&s.host, &destination.host))
        });
        let Some(service) = known else {
            let reason = format!("there is no service {}", destination.host);
            let next = match self.suggestion(&destination.host) {
                Some(suggestion) => format!("did you mean {suggestion}?"),
                None => "correct the host, or apply the Service first, or with this object".into(),
            };
            self.error(&format!("{path}.host"), reason, &next);
            return;
        };
        // An ExternalName Service has the ports and subsets of the service that it is an alias of.
        let behind = service.behind(|host| services.service(namespace, host).map(AsRef::as_ref));
        let service = behind.unwrap_or(service.as_ref());
        if let Some(port) = destination.port.filter(|port| service.port(*port).is_none()) {
            let numbers: Vec<String> = service.ports.iter().map(|p| p.number.to_string()).collect();
            let reason = format!("service {} has no port {port}", destination.host);
            let next = format!("its ports are {}", numbers.join(", "));
            self.error(&format!("{path}.port.number"), reason, &next);
        }
        if destination.subset.is_empty() {
            return;
        }
        let rule = self.catalog.destination_rule(namespace, service);
        let Some(rule) = rule else {
            let reason = format!("no DestinationRule names subsets of {}", destination.host);
            let next = format!("apply a DestinationRule with subset {}", destination.subset);
            self.error(&format!("{path}.subset"), reason, &next);
            return;
        };
        match rule.subset(&destination.subset) {
            None => {
                let names: Vec<&str> = rule.subsets.iter().map(|s| s.name.as_str()).collect();
                let of = format!("{}/{}", rule.origin.namespace, rule.origin.name);
                let reason = format!("DestinationRule {of} has no subset {}", destination.subset);
                let next = format!("its subsets are: {}", names.join(", "));
                self.error(&format!("{path}.subset"), reason, &next);
            }
            Some(subset) if service.registry == Registry::Kubernetes && service.selector.is_some() => {
                let wanted = &subset.labels;
                if !self.catalog.pods_of(service).any(|p| selects(wanted, &p.labels)) {
                    let reason =
                        format!("no pod of {} has the labels of subset {}", destination.host, subset.name);
                    self.warn(&format!("{path}.subset"), reason, "start such pods");
                }
            }
            Some(_) => {}
        }
    }

    fn destination_rule(&mut self, rule: &DestinationRule) {
        self.ejection(rule);
        self.refused_tls(rule);
        self.rule_ports(rule);
        self.replaced(rule);
        self.rule_secrets(rule);
        // Most rules name one service. Searching all services is for patterns and for missing hosts only.
        if self.catalog.has_host(&rule.host) {
            return;
        }
        let mut services = self.catalog.services();
        if !services.any(|s| host::covers(&rule.host, &s.host) || host::covers(&s.host, &rule.host)) {
            let reason = format!("there is no service {}", rule.host);
            let next = match self.suggestion(&rule.host) {
                Some(suggestion) => format!("did you mean {suggestion}?"),
                None => "correct the host, or apply the Service".into(),
            };
            self.warn("spec.host", reason, &next);
        }
    }

    /// Returns the service whose short form (`name.namespace`) was written; short names with a dot are not completed.
    fn suggestion(&self, written: &str) -> Option<String> {
        let short = written.split('.').next().unwrap_or_default();
        let same_name = || self.catalog.services().find(|s| s.host.split('.').next() == Some(short));
        self.spelled_out(written).or_else(|| same_name().map(|s| s.host.clone()))
    }

    /// Returns the service whose host begins with this short form.
    fn spelled_out(&self, written: &str) -> Option<String> {
        let begins = |host: &str| host.strip_prefix(written).is_some_and(|rest| rest.starts_with('.'));
        self.catalog.services().find(|s| begins(&s.host)).map(|s| s.host.clone())
    }

    fn error(&mut self, path: &str, reason: String, next: &str) {
        let refusal = self.refusal(path, reason, next);
        self.found.push((Severity::Error, refusal));
    }

    fn warn(&mut self, path: &str, reason: String, next: &str) {
        let refusal = self.refusal(path, reason, next);
        self.found.push((Severity::Warning, refusal));
    }

    fn refusal(&self, path: &str, reason: String, next: &str) -> Refusal {
        Refusal {
            place: self.place.clone(),
            key: Some(self.key.clone()),
            object: self.key.to_string(),
            path: path.to_owned(),
            reason,
            next: next.to_owned(),
        }
    }
}

/// Parses `file:line`.
fn place(text: &str) -> Place {
    match text.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) => Place::new(file, line),
        None => Place::new(text, 0),
    }
}

#[cfg(test)]
mod tests;
