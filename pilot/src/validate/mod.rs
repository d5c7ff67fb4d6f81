//! Pure. Validates objects: turns each into its checked form, or into the reasons why it is refused.
//!
//! Parse, don't validate: checked objects have strong types, with complete hosts and numbers in range, so that later
//! stages need no checks. Every field of a kind is either acted on or refused, so that no user believes a policy to be
//! in force that is not. One file for each kind (`catalog/kind` for
//! policies); `reference` checks objects against each other.

mod destination_rule;
mod gateway;
mod ingress;
mod mesh_config;
mod node;
pub mod reference;
mod secret;
mod service_entry;
mod service;
mod virtual_service;
mod workload;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod fields;
#[cfg(test)]
mod tests;

mod unheeded;
mod export;

use crate::catalog::Change;
use crate::catalog::kind::{self, Item};
use crate::catalog::policy::Mesh;
use crate::check::finding::Findings;
use crate::flow::{Fact, Verdict};
use api::resource::document::{Place, Refusal};
use api::resource::kind::{Body, Kind};
use api::resource::object::Object;
use api::resource::verdict::Version;
use std::sync::Arc;

/// The result of validating one object.
#[derive(Debug)]
pub struct Checked {
    /// The checked form; absent if there are errors.
    pub item: Option<Item>,
    /// The reasons why it is refused.
    pub errors: Vec<Refusal>,
    /// The warnings about it.
    pub warnings: Vec<Refusal>,
}

/// Validates one object by itself. `mesh` gives the domain, the root namespace, and the settings that a MeshConfig is
/// applied to.
pub fn object(place: &Place, object: &Object, mesh: &Mesh) -> Checked {
    let mut findings = Findings::new(place, object);
    let item = item(&mut findings, place, object, mesh);
    let Findings { errors, warnings, .. } = findings;
    Checked { item: errors.is_empty().then_some(item), errors, warnings }
}

/// Turns facts into changes of the catalog, with a verdict on each object. A refused object changes nothing: its last
/// good version stays in force.
pub fn judge(facts: Vec<Fact>, mesh: &Mesh) -> (Vec<Change>, Vec<Verdict>) {
    let mut changes = vec![];
    let mut verdicts = vec![];
    for fact in facts {
        match fact {
            Fact::Upsert(document) => {
                let checked = object(&document.place, &document.object, mesh);
                let key = document.object.key.clone();
                changes.extend(checked.item.map(|item| Change::Upsert(key.clone(), item)));
                verdicts.push(Verdict {
                    version: Version::of(&document.raw),
                    errors: checked.errors,
                    warnings: checked.warnings,
                    ..Verdict::clean(Some(key), document.place)
                });
            }
            Fact::Delete(key) => {
                let gone = Verdict { gone: true, ..Verdict::clean(Some(key.clone()), Place::default()) };
                verdicts.push(gone);
                changes.push(Change::Delete(key));
            }
            Fact::Readable(place) => verdicts.push(Verdict::clean(None, place)),
            // The pipeline records objects that nothing here reads.
            Fact::Synced | Fact::Unsupported(..) => {}
            Fact::Refused(refusal) => refuse(&mut verdicts, refusal),
            Fact::Unparsable(version, errors) => {
                let first = errors.first().cloned().unwrap_or_default();
                verdicts.push(Verdict { version, errors, ..Verdict::clean(first.key, first.place) });
            }
        }
    }
    (changes, verdicts)
}

/// Adds a refusal; refusals of one object or one file share a verdict.
fn refuse(verdicts: &mut Vec<Verdict>, refusal: Refusal) {
    let same = |v: &&mut Verdict| {
        v.key == refusal.key && v.place.source() == refusal.place.source() && !v.errors.is_empty()
    };
    match verdicts.last_mut().filter(same) {
        Some(verdict) => verdict.errors.push(refusal),
        None => verdicts
            .push(Verdict { errors: vec![refusal.clone()], ..Verdict::clean(refusal.key, refusal.place) }),
    }
}

fn item(f: &mut Findings, place: &Place, object: &Object, mesh: &Mesh) -> Item {
    if let Some(item) = kind::check(f, object, mesh) {
        return item;
    }
    match &object.body {
        Body::Namespace(_) => Item::Namespace(object.labels.clone()),
        Body::Service(body) => {
            unheeded::service(f, body);
            Item::Service(Arc::new(service::service(f, object, body, mesh)))
        }
        Body::Endpoints(body) => service::endpoints(object, body),
        Body::EndpointSlice(body) => {
            unheeded::slice(f, object, body);
            service::slice(object, body)
        }
        Body::Pod(body) => Item::Workload(Arc::new(workload::workload(f, object, body))),
        Body::Secret(body) => secret::secret(f, object, body),
        Body::ConfigMap(body) => mesh_config::config_map(f, place, object, body, mesh),
        Body::Node(body) => Item::Node(Arc::new(node::node(object, body))),
        Body::Ingress(body) => Item::Ingress(Arc::new(ingress::check(f, object, body))),
        Body::IngressClass(body) => Item::IngressClass(Arc::new(ingress::ingress_class(object, body))),
        Body::VirtualService(spec) => Item::Routes(Arc::new(virtual_service::check(f, object, spec, mesh))),
        Body::DestinationRule(spec) => {
            Item::DestinationRule(Arc::new(destination_rule::check(f, object, spec, mesh)))
        }
        Body::IstioGateway(spec) => Item::Gateway(Arc::new(gateway::check(f, object, spec))),
        Body::ServiceEntry(spec) => Item::ServiceEntry(service_entry::check(f, object, spec)),
        // Kinds that do not affect the mesh. `kind::check` names each kind that it leaves to this function.
        _ => Item::Other,
    }
}

/// Parses a MeshConfig that is not an object of the cluster, such as a file named on the command line.
pub fn mesh(place: &Place, text: &str, base: &Mesh) -> Result<Mesh, Vec<Refusal>> {
    let config = api::resource::parse::mesh_config(place, text)?;
    let holder = Object {
        api_version: "v1".into(),
        key: api::resource::document::Key::new(Kind::ConfigMap, &base.root_namespace, "istio"),
        labels: std::collections::BTreeMap::new(),
        annotations: std::collections::BTreeMap::new(),
        created: String::new(),
        uid: Box::default(),
        generation: 0,
        place: place.clone(),
        body: Body::ConfigMap(Box::default()),
    };
    let mut findings = Findings::new(place, &holder);
    let mesh = mesh_config::mesh(&mut findings, "", &config, base);
    if findings.errors.is_empty() { Ok(mesh) } else { Err(findings.errors) }
}
