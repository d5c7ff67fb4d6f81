//! Pure. The head of every object: `apiVersion`, `kind` and name. Their errors are reported before the rest is read,
//! because all messages about the rest name the object by them.

use super::document::Key;
use super::kind::{Kind, KindLookup, known};
use super::name::{is_label, is_subdomain};
use super::strict::{Fault, closest};
use serde_json::Value;

/// The parts of an object's head, as far as they are present.
pub(in crate::resource) struct Head<'a> {
    pub(in crate::resource) api_version: &'a str,
    kind: &'a str,
    namespace: &'a str,
    pub(in crate::resource) name: &'a str,
    is_object: bool,
    /// The first of them that is present but not a string.
    mistyped: Option<&'static str>,
}

impl<'a> Head<'a> {
    pub(in crate::resource) fn of(value: &'a Value) -> Self {
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

    pub(in crate::resource) fn namespace(&self, kind: Kind) -> &'a str {
        match (kind.namespaced(), self.namespace) {
            (false, _) => "",
            (true, "") => "default",
            (true, given) => given,
        }
    }

    pub(in crate::resource) fn key(&self) -> Option<Key> {
        let KindLookup::Served(kind) = known(self.api_version, self.kind) else { return None };
        (!self.name.is_empty()).then(|| Key::new(kind, self.namespace(kind), self.name))
    }

    pub(in crate::resource) fn shown(&self) -> String {
        match (self.key(), self.kind, self.namespace, self.name) {
            (Some(key), ..) => key.to_string(),
            (None, kind, _, "") => kind.to_owned(),
            (None, kind, "", name) => format!("{kind} {name}"),
            (None, kind, namespace, name) => format!("{kind} {namespace}/{name}"),
        }
    }

    /// Whether the object names its API and its kind, and they and its name are text.
    pub(in crate::resource) fn complete(&self) -> Result<(), Fault> {
        let refused = |path: &str, reason: String, next: &str| {
            Err(Fault { path: path.into(), reason, next: next.into() })
        };
        if !self.is_object {
            return refused("", "the document is not an object".into(), "begin it with apiVersion and kind");
        }
        if let Some(path) = self.mistyped {
            // YAML reads `n`, `on` and `1` as other types than strings.
            return refused(path, "is not a string".into(), "put it in quotes");
        }
        if self.api_version.is_empty() {
            return refused("apiVersion", "is missing".into(), "say which API the kind belongs to");
        }
        if self.kind.is_empty() {
            return refused("kind", "is missing".into(), "say what kind of object this is");
        }
        Ok(())
    }

    pub(in crate::resource) fn served(&self) -> Result<Kind, Fault> {
        self.complete()?;
        let refused = |path: &str, reason: String, next: &str| {
            Err(Fault { path: path.into(), reason, next: next.into() })
        };
        let both = format!("kind {} of {}", self.kind, self.api_version);
        match known(self.api_version, self.kind) {
            KindLookup::Served(kind) => Ok(kind),
            KindLookup::WrongVersion(kind) => {
                let versions: Vec<String> =
                    kind.versions().iter().map(|v| kind.descriptor().api_version(v)).collect();
                refused(
                    "apiVersion",
                    format!("{both} does not exist"),
                    &format!("write {}", versions.join(" or ")),
                )
            }
            KindLookup::WrongGroup(kind) => refused(
                "apiVersion",
                format!("{both} is not known"),
                &format!("write {}", kind.descriptor().api_version(kind.descriptor().storage())),
            ),
            KindLookup::Unserved(kind) => {
                refused("kind", format!("{both} is not supported by this version"), kind.instead)
            }
            KindLookup::Unknown => {
                let next = match closest(self.kind, Kind::all().map(Kind::name)) {
                    Some(name) => format!("did you mean {name}?"),
                    None => "correct apiVersion and kind".to_owned(),
                };
                refused("kind", format!("{both} is not known"), &next)
            }
        }
    }

    pub(in crate::resource) fn malformed_name(&self, kind: Kind) -> Option<Fault> {
        let fault = |path: &str, reason: String, next: &str| {
            Some(Fault { path: path.into(), reason, next: next.into() })
        };
        if self.name.is_empty() {
            return fault("metadata.name", "is missing".into(), "give the object a name");
        }
        if !is_subdomain(self.name) {
            return fault(
                "metadata.name",
                format!("`{}` is not a valid name: it may contain a-z, 0-9, '-' and '.'", self.name),
                "rename the object",
            );
        }
        if kind.namespaced() && !is_label(self.namespace(kind)) {
            return fault(
                "metadata.namespace",
                format!("`{}` is not a valid namespace: it may contain a-z, 0-9 and '-'", self.namespace),
                "correct the namespace",
            );
        }
        None
    }
}
