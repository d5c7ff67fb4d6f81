//! Pure. From the text of a file to objects, each with its place, and to the reasons why others are refused.
//!
//! A document that is refused hides no other document of the file. Sizes, nesting and aliases are bounded, because
//! a file may be hostile.

use super::document::{Document, Key, Place, Refusal};
use super::kind::{Kind, Known, known};
use super::mesh_config::MeshConfig;
use super::object::{Body, Object};
use super::strict::{self, Fault};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    /// Objects that were read.
    pub documents: Vec<Document>,
    /// Why others were not.
    pub refusals: Vec<Refusal>,
}

/// Reads the text of one file: YAML or JSON, several documents, lists expanded, empty documents skipped.
pub fn parse(file: &str, text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    if text.len() > MAX_FILE {
        let reason = format!("the file has {} bytes; at most {MAX_FILE} are read", text.len());
        parsed.refusals.push(refusal(Place::new(file, 0), reason, "split it"));
        return parsed;
    }
    for (line, chunk) in chunks(text) {
        match values(chunk) {
            Ok(values) => values
                .into_iter()
                .flat_map(|value| items(value, 0))
                .for_each(|value| take(&mut parsed, Place::new(file, line), value)),
            Err(malformed) => {
                let line = if malformed.line == 0 { line } else { malformed.start(chunk, line) };
                parsed.refusals.push(refusal(
                    Place::new(file, line),
                    format!("malformed YAML: {}", malformed.reason),
                    "correct the document; its objects stay as they were",
                ));
            }
        }
    }
    parsed
}

/// Reads one object that was parsed elsewhere.
pub fn object(place: &Place, value: &Value) -> Result<Arc<Object>, Vec<Refusal>> {
    let head = Head::of(value);
    let refuse = |fault: Fault| Refusal {
        place: place.clone(),
        key: head.key(),
        object: head.shown(),
        path: fault.path,
        reason: fault.reason,
        next: fault.next,
    };
    let kind = head.served().map_err(|fault| vec![refuse(fault)])?;
    if let Some(fault) = head.malformed_name(kind) {
        return Err(vec![refuse(fault)]);
    }
    let body = body(kind, value).map_err(|faults| faults.into_iter().map(refuse).collect::<Vec<_>>())?;
    let metadata = &value["metadata"];
    Ok(Arc::new(Object {
        api_version: head.api_version.to_owned(),
        key: Key::new(kind, head.namespace(kind), head.name),
        labels: texts(&metadata["labels"]),
        annotations: texts(&metadata["annotations"]),
        created: metadata["creationTimestamp"].as_str().unwrap_or_default().to_owned(),
        body,
    }))
}

/// Refuses objects that stand in more than one place; every place after the first is named with the first.
pub fn duplicates<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Vec<Refusal> {
    let mut first: HashMap<&Key, &Place> = HashMap::new();
    let mut refusals = vec![];
    for document in documents {
        let key = &document.object.key;
        match first.get(key) {
            Some(place) => refusals.push(Refusal {
                place: document.place.clone(),
                key: Some(key.clone()),
                object: key.to_string(),
                path: String::new(),
                reason: format!("the object is already defined at {place}"),
                next: "keep one of the two".into(),
            }),
            None => {
                first.insert(key, &document.place);
            }
        }
    }
    refusals
}

/// Reads a MeshConfig, as in the key `mesh` of the ConfigMap `istio` or in a file of its own.
pub fn mesh_config(place: &Place, text: &str) -> Result<MeshConfig, Vec<Refusal>> {
    let value: Value = values(text)
        .map_err(|malformed| {
            vec![refusal(place.clone(), malformed.reason, "correct the mesh configuration")]
        })?
        .into_iter()
        .next()
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    strict::read(&value).map_err(|faults| {
        let refuse = |fault: Fault| Refusal {
            place: place.clone(),
            object: "MeshConfig".into(),
            reason: if fault.reason.starts_with("unknown field") {
                format!("{} or not supported by this version", fault.reason)
            } else {
                fault.reason
            },
            path: fault.path,
            next: fault.next,
            key: None,
        };
        faults.into_iter().map(refuse).collect()
    })
}

fn take(parsed: &mut Parsed, place: Place, raw: Value) {
    match object(&place, &raw) {
        Ok(object) => {
            let index = parsed.documents.len();
            parsed.documents.push(Document { place, index, object, raw });
        }
        Err(refusals) => parsed.refusals.extend(refusals),
    }
}

/// The parts every object has, as far as they are there.
struct Head<'a> {
    api_version: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    is_object: bool,
    /// The first of them that is there and no text.
    mistyped: Option<&'static str>,
}

impl<'a> Head<'a> {
    fn of(value: &'a Value) -> Self {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        Self {
            api_version: text("/apiVersion"),
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            is_object: value.is_object(),
            mistyped: ["apiVersion", "kind", "metadata.namespace", "metadata.name"].into_iter().find(
                |path| {
                    let found = value.pointer(&format!("/{}", path.replace('.', "/")));
                    found.is_some_and(|v| !v.is_string() && !v.is_null())
                },
            ),
        }
    }

    fn namespace(&self, kind: Kind) -> &'a str {
        match (kind.namespaced(), self.namespace) {
            (false, _) => "",
            (true, "") => "default",
            (true, given) => given,
        }
    }

    fn key(&self) -> Option<Key> {
        let Known::Served(kind) = known(self.api_version, self.kind) else { return None };
        (!self.name.is_empty()).then(|| Key::new(kind, self.namespace(kind), self.name))
    }

    fn shown(&self) -> String {
        match (self.key(), self.kind, self.namespace, self.name) {
            (Some(key), ..) => key.to_string(),
            (None, kind, _, "") => kind.to_owned(),
            (None, kind, "", name) => format!("{kind} {name}"),
            (None, kind, namespace, name) => format!("{kind} {namespace}/{name}"),
        }
    }

    fn served(&self) -> Result<Kind, Fault> {
        let refused = |path: &str, reason: String, next: &str| {
            Err(Fault { path: path.into(), reason, next: next.into() })
        };
        if !self.is_object {
            return refused("", "the document is no object".into(), "begin it with apiVersion and kind");
        }
        if let Some(path) = self.mistyped {
            // YAML takes `n`, `on` and `1` for other things than text.
            return refused(path, "is no text".into(), "put it in quotes");
        }
        if self.api_version.is_empty() {
            return refused("apiVersion", "is missing".into(), "say which API the kind belongs to");
        }
        if self.kind.is_empty() {
            return refused("kind", "is missing".into(), "say what kind of object this is");
        }
        let both = format!("kind {} of {}", self.kind, self.api_version);
        match known(self.api_version, self.kind) {
            Known::Served(kind) => Ok(kind),
            Known::WrongVersion(kind) => {
                let versions: Vec<String> = kind.versions().iter().map(|v| api_version(kind, v)).collect();
                refused(
                    "apiVersion",
                    format!("{both} does not exist"),
                    &format!("write {}", versions.join(" or ")),
                )
            }
            Known::WrongGroup(kind) => refused(
                "apiVersion",
                format!("{both} is not known"),
                &format!("write {}", api_version(kind, kind.versions()[0])),
            ),
            Known::Unserved => {
                refused("kind", format!("{both} is not supported by this version"), "remove the object")
            }
            Known::Unknown => refused("kind", format!("{both} is not known"), "correct apiVersion and kind"),
        }
    }

    fn malformed_name(&self, kind: Kind) -> Option<Fault> {
        let fault = |path: &str, reason: String, next: &str| {
            Some(Fault { path: path.into(), reason, next: next.into() })
        };
        if self.name.is_empty() {
            return fault("metadata.name", "is missing".into(), "give the object a name");
        }
        if !is_subdomain(self.name) {
            return fault(
                "metadata.name",
                format!("`{}` is no valid name: it takes a-z, 0-9, '-' and '.'", self.name),
                "rename the object",
            );
        }
        if kind.namespaced() && !is_label(self.namespace(kind)) {
            return fault(
                "metadata.namespace",
                format!("`{}` is no valid namespace: it takes a-z, 0-9 and '-'", self.namespace),
                "correct the namespace",
            );
        }
        None
    }
}

fn api_version(kind: Kind, version: &str) -> String {
    if kind.group().is_empty() { version.to_owned() } else { format!("{}/{version}", kind.group()) }
}

/// An RFC 1123 label.
pub fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// An RFC 1123 subdomain.
pub fn is_subdomain(text: &str) -> bool {
    let part = |p: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !p.is_empty() && p.bytes().all(inner) && !p.starts_with('-') && !p.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// The envelope of a mesh kind.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(dead_code, reason = "fields are named so that they are not taken for unknown ones")]
struct Mesh<S> {
    api_version: String,
    kind: String,
    metadata: ObjectMeta,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: Option<Value>,
}

fn mesh<S: DeserializeOwned + Default>(value: &Value) -> Result<Box<S>, Vec<Fault>> {
    strict::read::<Mesh<S>>(value).map(|mesh| Box::new(mesh.spec))
}

fn body(kind: Kind, value: &Value) -> Result<Body, Vec<Fault>> {
    Ok(match kind {
        Kind::Namespace => Body::Namespace(strict::read(value)?),
        Kind::ServiceAccount => Body::ServiceAccount(strict::read(value)?),
        Kind::Service => Body::Service(strict::read(value)?),
        Kind::Endpoints => Body::Endpoints(strict::read(value)?),
        Kind::EndpointSlice => Body::EndpointSlice(strict::read(value)?),
        Kind::Pod => Body::Pod(strict::read(value)?),
        Kind::ConfigMap => Body::ConfigMap(strict::read(value)?),
        Kind::Secret => Body::Secret(strict::read(value).map_err(without_values)?),
        Kind::Deployment => Body::Deployment(strict::read(value)?),
        Kind::StatefulSet => Body::StatefulSet(strict::read(value)?),
        Kind::ReplicaSet => Body::ReplicaSet(strict::read(value)?),
        Kind::Job => Body::Job(strict::read(value)?),
        Kind::VirtualService => Body::VirtualService(mesh(value)?),
        Kind::DestinationRule => Body::DestinationRule(mesh(value)?),
        Kind::Gateway => Body::Gateway(mesh(value)?),
        Kind::ServiceEntry => Body::ServiceEntry(mesh(value)?),
        Kind::Sidecar => Body::Sidecar(mesh(value)?),
        Kind::PeerAuthentication => Body::PeerAuthentication(mesh(value)?),
    })
}

/// A parser's message may quote the value, and a secret's must not reach a log.
fn without_values(faults: Vec<Fault>) -> Vec<Fault> {
    let quiet = |fault: Fault| {
        let unknown = fault.reason.starts_with("unknown field");
        if unknown { fault } else { Fault { reason: "has the wrong type or is not base64".into(), ..fault } }
    };
    faults.into_iter().map(quiet).collect()
}

fn texts(value: &Value) -> std::collections::BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| v.as_str().map(|v| (k.clone(), v.to_owned()))).collect()
}

/// The items of a list, also of a list of lists; anything else is itself.
fn items(value: Value, depth: usize) -> Vec<Value> {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match value {
        Value::Null => vec![],
        Value::Object(mut fields) if is_list && depth < MAX_LISTS && fields["items"].is_array() => {
            let Some(Value::Array(found)) = fields.remove("items") else { return vec![] };
            found.into_iter().flat_map(|item| items(item, depth + 1)).collect()
        }
        other => vec![other],
    }
}

fn refusal(place: Place, reason: String, next: &str) -> Refusal {
    Refusal { place, reason, next: next.into(), ..Refusal::default() }
}

/// Why a document is no YAML.
struct Malformed {
    line: u32,
    reason: String,
}

impl Malformed {
    /// The line in the file of a line in a chunk that begins on `first`.
    fn start(&self, chunk: &str, first: u32) -> u32 {
        let skipped = chunk.lines().take_while(|l| is_bare(l)).count() as u32;
        (first + self.line).saturating_sub(1 + skipped)
    }
}

fn values(text: &str) -> Result<Vec<Value>, Malformed> {
    // YAML is a superset of JSON but for tabs as indentation.
    if text.trim_start().starts_with('{') && text.contains('\t') {
        let read = serde_json::from_str(text);
        return read
            .map(|value| vec![value])
            .map_err(|e| Malformed { line: e.line() as u32, reason: e.to_string() });
    }
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| Malformed {
        line: error.location().map_or(0, |l| l.line() as u32),
        reason: error.to_string().lines().next().unwrap_or_default().to_owned(),
    })
}

fn options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = MAX_DEPTH;
    budget.max_aliases = MAX_ALIASES;
    budget.max_nodes = MAX_NODES;
    options.budget = Some(budget);
    options.with_snippet = false;
    options.legacy_octal_numbers = true;
    options
}

/// The documents of a text, each from its `---` on, with the line of its first content. A line that begins with
/// `---` always begins a document: YAML allows it nowhere else.
fn chunks(text: &str) -> Vec<(u32, &str)> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if at > 0 && is_separator(line) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let mut line = 1;
    let mut chunks = vec![];
    for (start, end) in starts.iter().copied().zip(ends) {
        let chunk = &text[start..end];
        let skipped = chunk.lines().take_while(|l| is_bare(l)).count();
        if skipped < chunk.lines().count() {
            chunks.push((line + skipped as u32, chunk));
        }
        line += chunk.lines().count() as u32;
    }
    chunks
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// A line without content of a document.
fn is_bare(line: &str) -> bool {
    let content = if is_separator(line) { &line[3..] } else { line };
    let content = content.trim();
    content.is_empty() || content.starts_with('#')
}

/// Bytes of a file that are read.
pub const MAX_FILE: usize = 4 << 20;
const MAX_DEPTH: usize = 100;
const MAX_ALIASES: usize = 1000;
const MAX_NODES: usize = 400_000;
const MAX_LISTS: usize = 4;

#[cfg(test)]
mod tests;
