//! Parses the kinds and names of a command line, and reads and changes the objects that they name.

use api::resource::descriptor::Descriptor;
use api::resource::kind;
use serde_json::{Value, json};

use crate::arguments::DryRun;
use crate::client;
use crate::failure::Failure;
use crate::manifest::object::{Key, desired};
use crate::state::State;
use crate::wire::{Answer, Apply, Given, Outcome, Query};

/// Objects of one kind that the user named.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The kind.
    pub kind: &'static Descriptor,
    /// Names of the objects; empty for all objects.
    pub names: Vec<String>,
}

/// Parses `TYPE[,TYPE] [NAME…]` or `TYPE/NAME…`.
pub fn wishes(words: &[String]) -> Result<Vec<Wish>, Failure> {
    let (first, names) = words.split_first().ok_or_else(|| Failure::blocked("no type is given", TYPES))?;
    if !words.iter().any(|word| word.contains('/')) {
        let mut wishes = Vec::new();
        for word in first.split(',') {
            let mut kinds: Vec<_> =
                kind::in_category(word).filter(|kind| !kind.versions.is_empty()).collect();
            if kinds.is_empty() {
                kinds.push(known(word)?);
            }
            wishes.extend(kinds.into_iter().map(|kind| Wish { kind, names: names.to_vec() }));
        }
        return Ok(wishes);
    }
    let mut wishes: Vec<Wish> = Vec::new();
    for word in words {
        let Some((word, name)) = word.split_once('/').filter(|(_, name)| !name.is_empty()) else {
            let reason = "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form";
            return Err(Failure::blocked(reason, "write TYPE NAME… or TYPE/NAME…"));
        };
        let kind = known(word)?;
        match wishes.iter_mut().find(|wish| std::ptr::eq(wish.kind, kind)) {
            Some(wish) => wish.names.push(name.into()),
            None => wishes.push(Wish { kind, names: vec![name.into()] }),
        }
    }
    Ok(wishes)
}

/// Parses the name of exactly one object, of a kind that the verb supports.
pub fn one(words: &[String], verb: &str, kinds: &[&str]) -> Result<(&'static Descriptor, String), Failure> {
    let wishes = wishes(words)?;
    match &wishes[..] {
        [wish] if wish.names.len() == 1 && kinds.contains(&wish.kind.kind) => {
            Ok((wish.kind, wish.names[0].clone()))
        }
        [wish] if !kinds.contains(&wish.kind.kind) => Err(Failure::blocked(
            format!("{verb} is not for {}", wish.kind.plural),
            format!("name a {}", kinds.join(" or a ").to_lowercase()),
        )),
        _ => Err(Failure::blocked("one object must be named", format!("write {verb} TYPE/NAME"))),
    }
}

fn known(word: &str) -> Result<&'static Descriptor, Failure> {
    kind::named(word)
        .ok_or_else(|| Failure::Missing(format!("the server doesn't have a resource type \"{word}\"")))
}

/// The name of this kind that the supervisor matches to no other kind.
pub fn exact(kind: &Descriptor) -> String {
    if kind.group.is_empty() { kind.plural.into() } else { format!("{}.{}", kind.plural, kind.group) }
}

/// The query for objects of this kind.
pub fn query(kind: &Descriptor, name: Option<&str>, namespace: Option<&str>) -> Query {
    Query { kind: exact(kind), name: name.map(str::to_string), namespace: namespace.map(str::to_string) }
}

/// The given namespace, or `default`.
pub fn namespace(given: Option<&String>) -> String {
    given.cloned().unwrap_or_else(|| "default".into())
}

/// Reads an object that must exist.
pub async fn object(state: &State, kind: &Descriptor, namespace: &str, name: &str) -> Result<Value, Failure> {
    let query = query(kind, Some(name), Some(namespace));
    let objects: Vec<Value> = client::call(state, "/get", &query).await?;
    objects.into_iter().next().ok_or_else(|| missing(kind, name))
}

/// The failure for an object that does not exist.
pub fn missing(kind: &Descriptor, name: &str) -> Failure {
    Failure::Missing(format!("{} \"{name}\" not found", exact(kind)))
}

/// Changes an object that must exist, with the same effect as `apply` of an edited file.
pub async fn edit(
    state: &State,
    object: &Value,
    change: impl FnOnce(&mut Value),
) -> Result<Outcome, Failure> {
    let mut wanted = desired(object);
    change(&mut wanted);
    let key = Key::of(&wanted);
    let request =
        Apply { objects: vec![Given { file: "command line".into(), object: wanted }], dry_run: DryRun::None };
    let answer: Answer = client::call(state, "/apply", &request).await?;
    if !answer.problems.is_empty() {
        return Err(Failure::Refused(answer.problems));
    }
    if let Some(trouble) = answer.trouble {
        return Err(Failure::blocked(format!("the change is not in force: {trouble}"), "free some space"));
    }
    let unchanged = || Outcome { object: key.printed(), verdict: "unchanged".into() };
    Ok(answer.outcomes.into_iter().next().unwrap_or_else(unchanged))
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
        let wishes = wishes(&words).map_err(|failure| failure.to_string())?;
        Ok(wishes.iter().map(|wish| format!("{} {}", wish.kind.plural, wish.names.join(" "))).collect())
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
