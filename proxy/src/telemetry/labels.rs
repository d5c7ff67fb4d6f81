//! Pure. Maps label texts to numbers, and series keys back to labels. Exists so that the request path handles
//! integers while a scrape still shows Istio's full set of labels.

use super::peers::Peers;
use crate::flow::node::Node;
use crate::flow::record::{Key, Reporter};
use api::model::cluster::ClusterService;
use api::model::endpoint::EndpointWorkload;
use api::model::workload::Workload;
use foldhash::HashMap;
use std::hash::Hash;

/// Label texts by number; number 0 means "unknown".
#[derive(Default)]
pub(super) struct Labels {
    principals: Interned<String>,
    workloads: Interned<EndpointWorkload>,
    services: Interned<ClusterService>,
}

impl Labels {
    pub(super) fn principal(&mut self, principal: &str) -> u32 {
        self.principals.number(&principal.to_owned())
    }

    pub(super) fn workload(&mut self, workload: &EndpointWorkload) -> u32 {
        self.workloads.number(workload)
    }

    pub(super) fn service(&mut self, service: &ClusterService) -> u32 {
        self.services.number(service)
    }

    /// The labels of a series, as written between the braces.
    pub(super) fn text(&self, key: &Key, node: &Node, peers: &Peers) -> String {
        let principal = self.principals.value(key.principal).map_or("", String::as_str);
        let own = Party::own(node, key.mutual_tls);
        let (source, destination) = match key.reporter {
            Reporter::Source => {
                let other = self.workloads.value(key.workload).map(Party::endpoint).unwrap_or_default();
                (own, Party { principal: principal.to_owned(), ..other })
            }
            Reporter::Destination => {
                let peer = peers.workload(key.peer).filter(|w| agrees(w, principal));
                let other = peer.map(|w| Party::workload(&w)).unwrap_or_default();
                (Party { principal: principal.to_owned(), ..other }, own)
            }
        };
        let mut out = String::with_capacity(900);
        let reporter = if key.reporter == Reporter::Source { "source" } else { "destination" };
        label(&mut out, "reporter", reporter);
        source.write(&mut out, "source");
        destination.write(&mut out, "destination");
        self.write_service(&mut out, key);
        for (name, value) in key.outcome() {
            write(&mut out, name, &value);
        }
        out
    }

    fn write_service(&self, out: &mut String, key: &Key) {
        let unknown = ClusterService::default();
        let service = self.services.value(key.service).unwrap_or(&unknown);
        label(out, "destination_service", &service.host);
        label(out, "destination_service_name", &service.name);
        label(out, "destination_service_namespace", &service.namespace);
    }
}

/// One end of a call as shown in labels; empty fields read "unknown".
#[derive(Default)]
struct Party {
    workload: String,
    namespace: String,
    principal: String,
    app: String,
    version: String,
    canonical_service: String,
    canonical_revision: String,
    cluster: String,
}

impl Party {
    fn own(node: &Node, mutual_tls: bool) -> Self {
        let principal = if mutual_tls { node.principal().unwrap_or_default() } else { String::new() };
        Self { principal, ..Self::workload(&node.workload) }
    }

    fn workload(workload: &Workload) -> Self {
        Self {
            workload: workload.workload_name.clone(),
            namespace: workload.namespace.clone(),
            principal: String::new(),
            app: workload.app.clone(),
            version: workload.version.clone(),
            canonical_service: workload.canonical_name.clone(),
            canonical_revision: workload.canonical_revision.clone(),
            cluster: workload.cluster_id.clone(),
        }
    }

    /// An endpoint's metadata has no `app` and `version`; the canonical names come from the same labels.
    fn endpoint(workload: &EndpointWorkload) -> Self {
        Self {
            workload: workload.name.clone(),
            namespace: workload.namespace.clone(),
            principal: String::new(),
            app: workload.canonical_name.clone(),
            version: workload.canonical_revision.clone(),
            canonical_service: workload.canonical_name.clone(),
            canonical_revision: workload.canonical_revision.clone(),
            cluster: workload.cluster_id.clone(),
        }
    }

    fn write(&self, out: &mut String, side: &str) {
        let revision = if self.canonical_revision.is_empty() { "latest" } else { &self.canonical_revision };
        let fields = [
            ("workload", self.workload.as_str()),
            ("workload_namespace", &self.namespace),
            ("principal", &self.principal),
            ("app", &self.app),
            ("version", &self.version),
            ("canonical_service", &self.canonical_service),
            ("canonical_revision", revision),
            ("cluster", &self.cluster),
        ];
        for (name, value) in fields {
            let name = [side, "_", name].concat();
            let value = if name.ends_with("_principal") && !value.is_empty() {
                ["spiffe://", value].concat()
            } else {
                value.to_owned()
            };
            label(out, &name, &value);
        }
    }
}

/// Whether a workload found by address is consistent with the certificate. A reused address must not lend its
/// workload's name to another workload.
fn agrees(workload: &Workload, principal: &str) -> bool {
    if principal.is_empty() {
        return true;
    }
    let Some((namespace, account)) =
        principal.split_once("/ns/").and_then(|(_, rest)| rest.split_once("/sa/"))
    else {
        return false;
    };
    workload.namespace == namespace && workload.service_account == account
}

/// Appends a label; an empty text reads "unknown".
fn label(out: &mut String, name: &str, value: &str) {
    write(out, name, if value.is_empty() { "unknown" } else { value });
}

fn write(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    escape(out, value);
    out.push('"');
}

/// Appends a label value, escaped for Prometheus' text format.
pub(super) fn escape(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

struct Interned<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self { numbers: HashMap::default(), values: vec![] }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    fn number(&mut self, value: &T) -> u32 {
        if let Some(known) = self.numbers.get(value) {
            return *known;
        }
        if self.values.len() >= MAX_TEXTS {
            return 0;
        }
        self.values.push(value.clone());
        let number = u32::try_from(self.values.len()).unwrap_or(0);
        self.numbers.insert(value.clone(), number);
        number
    }

    fn value(&self, number: u32) -> Option<&T> {
        self.values.get((number as usize).checked_sub(1)?)
    }
}

/// The most texts of a kind; beyond it, labels read "unknown". Bounds the memory and the size of a scrape.
const MAX_TEXTS: usize = 100_000;
