//! Pure. Reads the API server's messages about a change: warnings in the headers of its response, and refusals, by a webhook or
//! of its own, as problems with the field that they name.

use api::resource::document::Problem;
use http::HeaderMap;
use kube::core::Status;

use crate::manifest::object::Key;

/// The texts of the `Warning` headers (RFC 7234, section 5.5).
pub fn warnings(headers: &HeaderMap) -> Vec<String> {
    let values =
        headers.get_all("warning").into_iter().filter_map(|value| std::str::from_utf8(value.as_bytes()).ok());
    values.flat_map(texts).collect()
}

/// The quoted texts of one header, of the form `299 - "text", 299 - "text"`.
fn texts(header: &str) -> Vec<String> {
    let (mut found, mut text, mut escaped) = (Vec::new(), None::<String>, false);
    for c in header.chars() {
        match (&mut text, c) {
            (Some(text), c) if escaped => {
                text.push(c);
                escaped = false;
            }
            (Some(_), '\\') => escaped = true,
            (Some(_), '"') => found.extend(text.take()),
            (Some(text), c) => text.push(c),
            (None, '"') => text = Some(String::new()),
            (None, _) => {}
        }
    }
    found
}

/// The problem that a warning is about.
pub fn warning(file: &str, key: &Key, text: &str) -> Problem {
    finding(file, key, text)
}

/// The problems for which the API server refuses an object.
pub fn problems(file: &str, key: &Key, status: &Status) -> Vec<Problem> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    if status.code == 409 {
        let conflict = |(field, message): (String, String)| {
            Problem {
            file: file.into(),
            object: key.to_string(),
            path: field.trim_start_matches('.').into(),
            reason: message,
            next: "use --force-conflicts to take the field over, or change the object with the tool that owns it".into(),
        }
        };
        let conflicts: Vec<Problem> =
            causes.map(|cause| conflict((cause.field.clone(), cause.message.clone()))).collect();
        if !conflicts.is_empty() {
            return conflicts;
        }
    }
    let message = status
        .message
        .strip_prefix("admission webhook ")
        .and_then(|rest| rest.split_once("denied the request: "));
    let of_permission = "ask for this permission, or see yours with `kubectl auth can-i --list`";
    match message {
        None if status.code == 403 => {
            vec![Problem { next: of_permission.into(), ..finding(file, key, &status.message) }]
        }
        Some((_, lines)) => lines.lines().map(|line| finding(file, key, line)).collect(),
        None => own(&status.message)
            .map(|(path, reason)| Problem {
                file: file.into(),
                object: key.to_string(),
                path: path.into(),
                reason: reason.into(),
                next: if path.is_empty() { "" } else { "correct or remove the field" }.into(),
            })
            .collect(),
    }
}

/// The path and the reason of each finding of the API server itself. Fields that the schema does not have are listed
/// behind the name of the object, one or several lines.
fn own(message: &str) -> impl Iterator<Item = (&str, &str)> {
    let of_schema = message.strip_prefix("failed to create typed patch object (");
    let findings =
        of_schema.and_then(|rest| rest.split_once("): ")).map_or(message, |(_, findings)| findings);
    let lines = findings.strip_prefix("errors:\n").unwrap_or(findings).lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(|line| {
        let found = line.strip_prefix('.').and_then(|line| line.split_once(": "));
        found.filter(|(path, _)| is_path(path)).unwrap_or(("", line))
    })
}

/// Reads a line that a webhook made of a problem: `Kind namespace/name: path: reason; next`.
fn finding(file: &str, key: &Key, line: &str) -> Problem {
    let object = key.to_string();
    let own = line.strip_prefix(&object).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(line);
    let (path, rest) = own.split_once(": ").filter(|(path, _)| is_path(path)).unwrap_or(("", own));
    let (reason, next) = rest.rsplit_once("; ").unwrap_or((rest, ""));
    Problem { file: file.into(), object, path: path.into(), reason: reason.into(), next: next.into() }
}

fn is_path(text: &str) -> bool {
    let begins = ["spec", "metadata", "data", "status"].iter().any(|field| {
        text.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    });
    begins && !text.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn key() -> Key {
        Key::of(&json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "a", "namespace": "shop"}}))
    }

    fn said(status: Value) -> Vec<String> {
        let status: Status = serde_json::from_value(status).unwrap();
        problems("a.yaml:3", &key(), &status).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn warnings_are_unquoted() {
        let mut headers = HeaderMap::new();
        headers.append("warning", r#"299 - "a \"b\" c", 299 - "d\\e""#.parse().unwrap());
        headers.append("warning", r#"299 kube "unknown field \"x\"""#.parse().unwrap());
        assert_eq!(warnings(&headers), [r#"a "b" c"#, r"d\e", r#"unknown field "x""#]);
        assert_eq!(texts("299 - \"unclosed"), [""; 0]);
    }

    #[test]
    fn a_webhooks_denial_names_the_field_of_each_line() {
        let message = "admission webhook \"pilot.ostria.io\" denied the request: VirtualService shop/a: spec.http[0].route: is \
                       required; name a destination\nVirtualService shop/a: spec.hosts: is empty; name a host";
        let lines = said(json!({"status": "Failure", "code": 400, "message": message}));
        let expected = [
            "a.yaml:3: VirtualService shop/a: spec.http[0].route: is required\n  next: name a destination",
            "a.yaml:3: VirtualService shop/a: spec.hosts: is empty\n  next: name a host",
        ];
        assert_eq!(lines, expected);
        let lines = said(json!({"status": "Failure", "code": 403, "message": "may not: you"}));
        assert!(
            lines[0].starts_with("a.yaml:3: VirtualService shop/a: may not: you\n  next: ask for"),
            "{lines:?}"
        );
    }

    #[test]
    fn fields_that_the_schema_does_not_have_are_named() {
        let said = |findings: &str| {
            let message = format!(
                "failed to create typed patch object (shop/a; networking.istio.io/v1, Kind=V): {findings}"
            );
            said(json!({"status": "Failure", "code": 500, "message": message}))
        };
        let one = ".spec.http[0].wight: field not declared in schema";
        assert_eq!(
            said(one),
            [
                "a.yaml:3: VirtualService shop/a: spec.http[0].wight: field not declared in schema\n  next: correct or remove the field"
            ]
        );
        let both = format!("errors:\n  {one}\n  .spec.hots: field not declared in schema");
        assert_eq!(said(&both).len(), 2);
        assert!(said(&both)[1].contains("shop/a: spec.hots: field"));
    }

    #[test]
    fn a_conflict_names_the_owner_of_each_field() {
        let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"helm\"", "field": ".spec.hosts"});
        let lines =
            said(json!({"status": "Failure", "code": 409, "message": "x", "details": {"causes": [cause]}}));
        assert!(lines[0].starts_with(
            "a.yaml:3: VirtualService shop/a: spec.hosts: conflict with \"helm\"\n  next: use --force"
        ));
    }
}
