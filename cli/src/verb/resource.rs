//! Parses the kinds and names of a command line, and reads and changes the objects that they name.

use api::resource::check::Given;
use api::resource::descriptor::Descriptor;
use api::resource::kind;
use serde_json::{Value, json};

use crate::client::mesh::Mesh;
use crate::failure::Failure;
use crate::manifest::object::{Key, desired};
use crate::wire::{Outcome, Query, Target};

/// Objects of one kind that the user named.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The kind.
    pub kind: &'static Descriptor,
    /// Names of the objects; empty for all objects.
    pub names: Vec<String>,
}

/// Parses `TYPE[,TYPE] [NAME…]` or `TYPE/NAME…`.
pub fn selections(words: &[String]) -> Result<Vec<Selection>, Failure> {
    let (first, names) = words.split_first().ok_or_else(|| Failure::blocked("no type is given", TYPES))?;
    if !words.iter().any(|word| word.contains('/')) {
        let mut selections = Vec::new();
        for word in first.split(',') {
            let mut kinds: Vec<_> = kind::in_category(word).collect();
            if kinds.is_empty() {
                kinds.push(kind(word)?);
            }
            selections.extend(kinds.into_iter().map(|kind| Selection { kind, names: names.to_vec() }));
        }
        return Ok(selections);
    }
    let mut selections: Vec<Selection> = Vec::new();
    for word in words {
        let Some((word, name)) = word.split_once('/').filter(|(_, name)| !name.is_empty()) else {
            let reason = "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form";
            return Err(Failure::blocked(reason, "write TYPE NAME… or TYPE/NAME…"));
        };
        let kind = kind(word)?;
        match selections.iter_mut().find(|selection| std::ptr::eq(selection.kind, kind)) {
            Some(selection) => selection.names.push(name.into()),
            None => selections.push(Selection { kind, names: vec![name.into()] }),
        }
    }
    Ok(selections)
}

/// Parses the name of exactly one object, of a kind that the verb supports.
pub fn one(words: &[String], verb: &str, kinds: &[&str]) -> Result<(&'static Descriptor, String), Failure> {
    let selections = selections(words)?;
    match &selections[..] {
        [selection] if selection.names.len() == 1 && kinds.contains(&selection.kind.kind) => {
            Ok((selection.kind, selection.names[0].clone()))
        }
        [selection] if !kinds.contains(&selection.kind.kind) => Err(Failure::blocked(
            format!("{verb} does not support {}", selection.kind.plural),
            format!("name a {}", kinds.join(" or a ").to_lowercase()),
        )),
        _ => Err(Failure::blocked("one object must be named", format!("write {verb} TYPE/NAME"))),
    }
}

/// The kind of this name: singular, plural or short name.
pub fn kind(word: &str) -> Result<&'static Descriptor, Failure> {
    kind::named(word)
        .ok_or_else(|| Failure::missing(format!("the server doesn't have a resource type \"{word}\""), TYPES))
}

/// The name of this kind that the supervisor matches to no other kind.
pub fn exact(kind: &Descriptor) -> String {
    if kind.group.is_empty() { kind.plural.into() } else { format!("{}.{}", kind.plural, kind.group) }
}

/// The query for objects of this kind.
pub fn query(kind: &Descriptor, name: Option<&str>, namespace: Option<&str>) -> Query {
    Query { kind: exact(kind), name: name.map(str::to_string), namespace: namespace.map(str::to_string) }
}

/// The pod of a proxy that the user named as istioctl does: `[TYPE/]NAME[.NAMESPACE]`. `given` is the namespace that a flag
/// names, which overrides one behind the name; `default` is used without both.
pub fn proxy(word: &str, given: Option<&str>, default: &str) -> Target {
    let (name, behind) = word.rsplit_once('.').map_or((word, None), |(name, behind)| (name, Some(behind)));
    let (pod, namespace) = match (given, behind) {
        (None, Some(behind)) => (name, behind),
        (Some(given), Some(behind)) if given == behind => (name, given),
        (given, _) => (word, given.unwrap_or(default)),
    };
    Target { namespace: namespace.into(), pod: pod.into(), container: None }
}

/// Parses the response of a proxy.
pub fn json(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let reason = format!("the proxy returned a malformed response: {error}");
        Failure::blocked(reason, "look at its log with `ostria logs POD -c istio-proxy`")
    })
}

/// Reads an object that must exist.
pub async fn object(mesh: &Mesh, kind: &Descriptor, namespace: &str, name: &str) -> Result<Value, Failure> {
    let objects = mesh.list(&query(kind, Some(name), Some(namespace))).await?;
    objects.into_iter().next().ok_or_else(|| missing(kind, name))
}

/// The failure for an object that does not exist.
pub fn missing(kind: &Descriptor, name: &str) -> Failure {
    let kind = exact(kind);
    Failure::missing(
        format!("{kind} \"{name}\" not found"),
        format!("see what is there with `ostria get {kind} -A`"),
    )
}

/// Changes an object that must exist, with the same effect as `apply` of an edited file.
pub async fn edit(mesh: &Mesh, object: &Value, change: impl FnOnce(&mut Value)) -> Result<Outcome, Failure> {
    let before = desired(object);
    let mut wanted = before.clone();
    change(&mut wanted);
    let key = Key::of(&wanted);
    let given = Given { file: "command line".into(), object: wanted };
    let response = mesh.edit(&before, given).await?;
    if !response.problems.is_empty() {
        return Err(Failure::Refused(response.problems));
    }
    if let Some(trouble) = response.trouble {
        return Err(Failure::blocked(
            format!("the change is not in force: {trouble}"),
            "free some disk space",
        ));
    }
    let unchanged = || Outcome { object: key.printed(), verdict: "unchanged".into() };
    Ok(response.outcomes.into_iter().next().unwrap_or_else(unchanged))
}

/// An object with only its kind, namespace and name.
pub fn stub(kind: &Descriptor, namespace: &str, name: &str) -> Value {
    let version = kind.api_version(kind.storage());
    json!({"apiVersion": version, "kind": kind.kind, "metadata": {"name": name, "namespace": namespace}})
}

const TYPES: &str = "name a type such as pods, services or virtualservices";

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Result<Vec<String>, String> {
        let words: Vec<String> = line.split(' ').map(str::to_string).collect();
        let selections = selections(&words).map_err(|failure| failure.to_string())?;
        Ok(selections
            .iter()
            .map(|selection| format!("{} {}", selection.kind.plural, selection.names.join(" ")))
            .collect())
    }

    #[test]
    fn types_and_names_are_read_as_kubectl_reads_them() {
        let cases = [
            ("pods", vec!["pods "]),
            ("po,svc", vec!["pods ", "services "]),
            ("pod a b", vec!["pods a b"]),
            ("pod/a", vec!["pods a"]),
            ("pod/a svc/b po/c", vec!["pods a c", "services b"]),
        ];
        for (line, expected) in cases {
            assert_eq!(said(line).unwrap(), expected, "{line}");
        }
        let all = said("all").unwrap();
        assert!(all.contains(&"pods ".to_string()) && all.contains(&"deployments ".to_string()), "{all:?}");
        assert!(said("widgets").unwrap_err().contains("resource type \"widgets\""));
        assert!(said("pods,widgets").is_err());
        assert!(said("pod/a b").unwrap_err().contains("no need to specify"));
        assert!(said("pod/").is_err());
    }

    #[test]
    fn a_proxy_is_named_as_istioctl_names_it() {
        let cases = [
            ("web", None, "default", "web"),
            ("web", Some("shop"), "shop", "web"),
            ("web.shop", None, "shop", "web"),
            ("web.shop", Some("shop"), "shop", "web"),
            ("web.v1", Some("shop"), "shop", "web.v1"),
            ("deploy/web", None, "default", "deploy/web"),
            ("deploy/web.shop", None, "shop", "deploy/web"),
        ];
        for (word, given, namespace, pod) in cases {
            let target = proxy(word, given, "default");
            assert_eq!(
                (target.namespace.as_str(), target.pod.as_str()),
                (namespace, pod),
                "{word} {given:?}"
            );
        }
    }

    #[test]
    fn a_verb_for_one_object_refuses_others() {
        let one = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_string).collect();
            one(&words, "scale", &["Deployment", "StatefulSet"])
                .map(|(kind, name)| format!("{} {name}", kind.kind))
        };
        assert_eq!(one("deploy/a").unwrap(), "Deployment a");
        assert_eq!(one("statefulset a").unwrap(), "StatefulSet a");
        for line in ["deploy", "deploy/a deploy/b", "pod/a", "deploy/a sts/b"] {
            assert!(one(line).is_err(), "{line}");
        }
    }
}
