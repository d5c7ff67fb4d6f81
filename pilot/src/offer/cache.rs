//! Pure. The shared configuration of a group, in parts: parts whose inputs are unchanged are kept.

use super::body::Bodies;
use crate::generate::audience::Audience;
use crate::generate::outline::{self, Outline};
use crate::generate::secret::{self, SecretUse};
use crate::generate::upstream::Upstream;
use crate::snapshot::Snapshot;
use api::model::{Kind, Resource};
use api::wire::{self, Target};
use api::xds::table::{EMPTY, Offered, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The shared configuration of a group under a snapshot.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) version: String,
    tables: BTreeMap<Kind, Arc<Table>>,
    /// The Secrets that the resources refer to.
    pub(super) secrets: Arc<BTreeSet<SecretUse>>,
}

impl Shared {
    pub(super) fn table(&self, kind: Kind) -> &Arc<Table> {
        self.tables.get(&kind).unwrap_or(&EMPTY)
    }
}

/// The parts of a group's configuration, as last generated.
#[derive(Debug, Default)]
pub(super) struct PartCache {
    /// The snapshot that they were generated from.
    snapshot: Option<Arc<Snapshot>>,
    services: BTreeMap<String, Part<Upstream>>,
    rest: Option<Part<Outline>>,
    tables: BTreeMap<Kind, Arc<Table>>,
    secrets: Arc<BTreeSet<SecretUse>>,
}

/// Encoded resources and the inputs that they were generated from.
#[derive(Debug)]
struct Part<C> {
    cause: C,
    encoded: Encoded,
}

/// Encoded resources and the Secrets that they refer to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) resources: Vec<(Kind, Arc<str>, Offered)>,
    pub(super) secrets: BTreeSet<SecretUse>,
}

impl PartCache {
    /// Returns the configuration under a snapshot. Only parts whose inputs changed are regenerated.
    pub(super) fn next(
        &mut self,
        snapshot: &Arc<Snapshot>,
        audience: &Arc<Audience>,
        bodies: &Bodies,
    ) -> Shared {
        let last = self.snapshot.replace(snapshot.clone());
        if !last.as_ref().is_some_and(|last| last.catalog.is_same(&snapshot.catalog)) {
            self.make(last.as_deref(), snapshot, audience, bodies);
        }
        Shared {
            snapshot: snapshot.clone(),
            version: snapshot.version(),
            tables: self.tables.clone(),
            secrets: self.secrets.clone(),
        }
    }

    fn make(
        &mut self,
        last: Option<&Snapshot>,
        snapshot: &Snapshot,
        audience: &Arc<Audience>,
        bodies: &Bodies,
    ) {
        let catalog = &snapshot.catalog;
        let same_pods = last.is_some_and(|last| last.catalog.backs_as(catalog));
        let mut changed = BTreeSet::new();
        let encode = |resources: &[Resource]| {
            let namespace = audience.gateway.then_some(audience.namespace.as_str());
            encode(resources, audience.istio_extensions, namespace, bodies)
        };
        let seen = Outline::new(catalog, audience);
        let mut before = std::mem::take(&mut self.services);
        for (service, rule) in seen.called() {
            let (host, part) = before.remove_entry(&service.host).unzip();
            let host = host.unwrap_or_else(|| service.host.clone());
            let part = match part {
                Some(part) if same_pods && part.cause.is_of(service, rule) => part,
                part => {
                    let cause = seen.upstream(catalog, service, rule);
                    Part::next(part, cause, |cause| encode(&outline::of_service(cause)), &mut changed)
                }
            };
            self.services.insert(host, part);
        }
        for gone in before.into_values() {
            gone.encoded.note_kinds(&mut changed);
        }
        let rest = Part::next(self.rest.take(), seen, |cause| encode(&cause.resources()), &mut changed);
        self.rest = Some(rest);
        self.renew(&changed);
    }

    /// Rebuilds the tables of these kinds.
    fn renew(&mut self, kinds: &BTreeSet<Kind>) {
        for kind in kinds {
            let all = self.encoded().flat_map(|encoded| &encoded.resources);
            let entries =
                all.filter(|(of, ..)| of == kind).map(|(_, name, offered)| (name.clone(), offered.clone()));
            let table = Table::after(self.tables.get(kind).unwrap_or(&EMPTY), entries.collect());
            self.tables.insert(*kind, table);
        }
        if !kinds.is_empty() {
            self.secrets = Arc::new(self.encoded().flat_map(|encoded| &encoded.secrets).cloned().collect());
        }
    }

    fn encoded(&self) -> impl Iterator<Item = &Encoded> {
        let services = self.services.values().map(|part| &part.encoded);
        services.chain(self.rest.iter().map(|part| &part.encoded))
    }
}

impl<C: PartialEq> Part<C> {
    /// Returns the part for these inputs: the previous one if its inputs are equal, else a newly generated one. Adds
    /// the kinds of resources that changed to `changed`.
    fn next(
        before: Option<Self>,
        cause: C,
        make: impl FnOnce(&C) -> Encoded,
        changed: &mut BTreeSet<Kind>,
    ) -> Self {
        let encoded = match before {
            // Keeps the newer inputs for the next comparison, so that the older objects can be freed.
            Some(before) if before.cause == cause => return Self { cause, encoded: before.encoded },
            Some(before) => {
                let encoded = make(&cause);
                if encoded == before.encoded {
                    return Self { cause, encoded: before.encoded };
                }
                before.encoded.note_kinds(changed);
                encoded
            }
            None => make(&cause),
        };
        encoded.note_kinds(changed);
        Self { cause, encoded }
    }
}

impl Encoded {
    fn note_kinds(&self, kinds: &mut BTreeSet<Kind>) {
        kinds.extend(self.resources.iter().map(|(kind, ..)| *kind));
    }
}

/// Encodes resources, with or without Istio's filters. With `gateway`, a namespace, collects the Secrets that resources
/// for its gateways refer to.
pub(super) fn encode(
    resources: &[Resource],
    istio_extensions: bool,
    gateway: Option<&str>,
    bodies: &Bodies,
) -> Encoded {
    let target = Target { istio_extensions };
    let secrets = gateway.map(|namespace| secret::uses(namespace, resources)).unwrap_or_default();
    let resources = resources.iter().map(|resource| {
        let offered = bodies.share(Offered::new(&wire::encode(resource, &target)));
        (resource.kind(), Arc::from(resource.name()), offered)
    });
    Encoded { resources: resources.collect(), secrets }
}
