//! Pure. From the text of a file to objects, each with its place, and to the reasons why others are refused.
//!
//! A document that is refused hides no other document of the file. Sizes, nesting and aliases are bounded, because
//! a file may be hostile.

use super::document::{Key, Place, Refusal};
use super::head::Head;
use super::locate::line;
use super::mesh_config::{MeshConfig, NamespaceSelector};
use super::object::{Document, Object};
use super::selector::requirement::Selector;
use super::strict::{self, Fault};
use super::yaml::{RENDER, chunks, file_line, is_template, values};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// The content of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    /// The accepted objects.
    pub documents: Vec<Document>,
    /// The refusals of other objects.
    pub refusals: Vec<Refusal>,
}

/// Reads the text of one file: YAML or JSON, several documents, lists expanded, empty documents skipped.
pub fn parse(file: &str, text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    each(file, text, &mut |found| match found {
        Ok((place, chunk, values)) => {
            let before = parsed.refusals.len();
            for (path, value) in values {
                let refused = parsed.refusals.len();
                take(&mut parsed, place.clone(), value);
                locate(&mut parsed.refusals[refused..], chunk, &path);
            }
            advise(&mut parsed.refusals[before..]);
        }
        Err(refusal) => parsed.refusals.push(refusal),
    });
    parsed
}

/// Reads the text of one file as [`parse`] does, but takes objects of any kind and checks only that they name it and
/// themselves: for a cluster, whose API server checks the rest.
pub fn parse_any(file: &str, text: &str) -> Result<Vec<(Place, Value)>, Vec<Refusal>> {
    let (mut objects, mut refusals) = (vec![], vec![]);
    each(file, text, &mut |found| match found {
        Ok((place, _, values)) => {
            for (_, value) in values {
                match Head::of(&value).complete() {
                    Ok(()) => objects.push((place.clone(), value)),
                    Err(fault) => {
                        let mut refusal = refusal(place.clone(), fault.reason, &fault.next);
                        refusal.path = fault.path;
                        refusal.object = Head::of(&value).shown();
                        refusals.push(refusal);
                    }
                }
            }
        }
        Err(refusal) => refusals.push(refusal),
    });
    advise(&mut refusals);
    if refusals.is_empty() { Ok(objects) } else { Err(refusals) }
}

/// The objects of a document, each with its path in it; with the document's place and text.
type Found<'a> = (Place, &'a str, Vec<(String, Value)>);

/// Reads one document after the other.
fn each<'a>(file: &str, text: &'a str, take: &mut dyn FnMut(Result<Found<'a>, Refusal>)) {
    if text.len() > MAX_FILE {
        let reason = format!("the file has {} bytes; at most {MAX_FILE} are read", text.len());
        return take(Err(refusal(Place::new(file, 0), reason, "split it")));
    }
    for (line, chunk) in chunks(text) {
        match values(chunk) {
            Ok(values) => {
                let values = values.into_iter().flat_map(|value| items(value, String::new(), 0)).collect();
                take(Ok((Place::new(file, line), chunk, values)));
            }
            Err(malformed) => {
                let line = if malformed.line == 0 { line } else { file_line(chunk, line, malformed.line) };
                let reason = format!("malformed YAML: {}", malformed.reason);
                take(Err(refusal(Place::new(file, line), reason, malformed.next)));
            }
        }
    }
}

/// The line, from 1, of a field of the document whose content begins on the line `document` of a file.
pub fn field_line(text: &str, document: u32, path: &str) -> Option<u32> {
    let (first, chunk) = chunks(text).into_iter().find(|(first, _)| *first == document)?;
    line(chunk, path).map(|found| file_line(chunk, first, found))
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
    let body = kind.read(value).map_err(|faults| faults.into_iter().map(refuse).collect::<Vec<_>>())?;
    let metadata = &value["metadata"];
    Ok(Arc::new(Object {
        api_version: head.api_version.to_owned(),
        key: Key::new(kind, head.namespace(kind), head.name),
        labels: texts(&metadata["labels"]),
        annotations: texts(&metadata["annotations"]),
        created: metadata["creationTimestamp"].as_str().unwrap_or_default().to_owned(),
        uid: metadata["uid"].as_str().unwrap_or_default().into(),
        generation: metadata["generation"].as_i64().unwrap_or_default(),
        place: place.clone(),
        body,
    }))
}

/// Refuses objects that are defined more than once. Each refusal of a later place names the first.
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

/// Reads `discoverySelectors` of a MeshConfig, whatever its other fields are: another control plane may support more of them.
pub fn discovery_selectors(text: &str) -> Result<Vec<Selector>, String> {
    let all = values(text).map_err(|malformed| malformed.reason)?;
    let written = all.first().map_or(&Value::Null, |value| &value["discoverySelectors"]);
    let selectors: Option<Vec<NamespaceSelector>> = strict::read(written)
        .map_err(|faults| faults.first().map(|f| f.reason.clone()).unwrap_or_default())?;
    let parsed = selectors.unwrap_or_default().iter().map(NamespaceSelector::parse).collect::<Result<_, _>>();
    parsed.map_err(|error| error.to_string())
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

/// Sets the line of refusals to the line of their field. `path` leads to their object in the document.
fn locate(refusals: &mut [Refusal], chunk: &str, path: &str) {
    // Each search parses the text again, and a hostile text has many errors.
    for refusal in refusals.iter_mut().take(MAX_LOCATED) {
        let field = match (path, refusal.path.as_str()) {
            (path, "") => path.to_owned(),
            ("", field) => field.to_owned(),
            (path, field) => format!("{path}.{field}"),
        };
        if let Some(found) = line(chunk, &field) {
            let line = file_line(chunk, refusal.place.line(), found);
            refusal.place = std::mem::take(&mut refusal.place).at(line);
        }
    }
}

/// Adds advice for a template that is valid YAML, because all its actions are in quotes.
fn advise(refusals: &mut [Refusal]) {
    let of_template = refusals.iter_mut().filter(|refusal| is_template(&refusal.reason));
    of_template.for_each(|refusal| RENDER.clone_into(&mut refusal.next));
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

fn texts(value: &Value) -> std::collections::BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| v.as_str().map(|v| (k.clone(), v.to_owned()))).collect()
}

/// The items of a list, also of nested lists, each with its path in the document; or the value itself if it is not a
/// list.
fn items(value: Value, path: String, depth: usize) -> Vec<(String, Value)> {
    let is_list = value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"))
        && value["items"].is_array()
        && depth < MAX_LISTS;
    match value {
        Value::Null => vec![],
        Value::Object(mut fields) if is_list => {
            let Some(Value::Array(found)) = fields.remove("items") else { return vec![] };
            let dot = if path.is_empty() { "" } else { "." };
            let item = |(i, item)| items(item, format!("{path}{dot}items[{i}]"), depth + 1);
            found.into_iter().enumerate().flat_map(item).collect()
        }
        other => vec![(path, other)],
    }
}

fn refusal(place: Place, reason: String, next: &str) -> Refusal {
    Refusal { place, reason, next: next.into(), ..Refusal::default() }
}

/// Bytes of a file that are read.
pub const MAX_FILE: usize = 4 << 20;
const MAX_LISTS: usize = 4;
/// Number of refusals of an object for which lines are searched.
const MAX_LOCATED: usize = 20;

#[cfg(test)]
mod tests;
