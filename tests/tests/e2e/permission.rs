//! The roles of the control plane against the API server's audit log: what it was refused, and what it never used.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;
use tests::wait;

use crate::cluster::{CHANGE, items, setting};
use crate::mesh::{self, CONTROL, SYSTEM};

/// The variable that names the log.
pub(crate) const LOG: &str = "E2E_AUDIT";

/// A verb on a kind of objects, `GROUP/KIND` with its subresource; for a rule with names, on one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Permission {
    account: String,
    verb: String,
    kind: String,
    object: Option<String>,
}

/// No call of ours was denied since the last upgrade, and every permission was used since the cluster booted.
pub(crate) fn least_privilege() {
    mesh::ready();
    let log =
        wait::until("the audit log can be read", CHANGE, || all_of(&setting(LOG)).map_err(|e| e.to_string()));
    let since = mesh::since();
    let calls: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let prefix = format!("system:serviceaccount:{SYSTEM}:");
    let own: Vec<(&str, &Value)> = calls
        .iter()
        .filter_map(|call| Some((call["user"]["username"].as_str()?.strip_prefix(&prefix)?, call)))
        .collect();
    let ours = own.iter().filter(|(account, _)| CONTROL.contains(account));
    assert!(ours.clone().count() > 100, "the audit log has few calls of the control plane: {}", own.len());
    let denied: Vec<String> = own
        .iter()
        .filter(|(_, call)| call["annotations"]["authorization.k8s.io/decision"] == "forbid")
        .filter(|(_, call)| !is_starting(call))
        .filter(|(_, call)| call["requestReceivedTimestamp"].as_str().is_some_and(|at| at > since.as_str()))
        .map(|(account, call)| format!("{account}: {}", call["annotations"]["authorization.k8s.io/reason"]))
        .collect();
    assert!(denied.is_empty(), "calls were denied: {denied:#?}");
    let used: BTreeSet<Permission> = ours.flat_map(|(account, call)| used(account, call)).collect();
    let unused: Vec<Permission> =
        granted().into_iter().filter(|one| !used.contains(one) && !is_spare(one)).collect();
    assert!(unused.is_empty(), "permissions that nothing used: {unused:#?}");
}

/// Whether the API server denied a call because it had not read any role since its start, not even its own.
fn is_starting(call: &Value) -> bool {
    let reason = call["annotations"]["authorization.k8s.io/reason"].as_str().unwrap_or_default();
    reason.contains("\"system:basic-user\" not found")
}

/// A log with its older parts: the API server continues in a new file when one is large, and puts the time before the old
/// one's extension.
fn all_of(log: &str) -> std::io::Result<String> {
    let log = Path::new(log);
    let text = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, extension) = (text(log.file_stem()), text(log.extension()));
    let mut all = String::new();
    for file in std::fs::read_dir(log.parent().unwrap_or(Path::new(".")))? {
        let path = file?.path();
        if text(path.file_stem()).starts_with(&stem) && text(path.extension()) == extension {
            all += &std::fs::read_to_string(path)?;
        }
    }
    Ok(all)
}

/// What a call needs: a rule without names, or one for its object.
fn used(account: &str, call: &Value) -> [Permission; 2] {
    let target = &call["objectRef"];
    let text = |field: &str| target[field].as_str().unwrap_or_default().to_owned();
    let below = target["subresource"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
    let kind = format!("{}/{}{below}", text("apiGroup"), text("resource"));
    let verb = call["verb"].as_str().unwrap_or_default().to_owned();
    [None, Some(text("name"))].map(|object| Permission {
        account: account.to_owned(),
        verb: verb.clone(),
        kind: kind.clone(),
        object,
    })
}

/// Every permission of the roles of the control plane.
fn granted() -> BTreeSet<Permission> {
    let mut all = BTreeSet::new();
    for account in CONTROL {
        let label = format!("app={account}");
        for kind in ["clusterroles", "roles"] {
            let roles = items(SYSTEM, kind, &["-l", &label]).unwrap_or_else(|error| panic!("{error}"));
            for rule in roles.iter().flat_map(|role| role["rules"].as_array().into_iter().flatten()) {
                all.extend(permissions(account, rule));
            }
        }
    }
    assert!(all.len() > 30, "few permissions were found: {all:?}");
    all
}

fn permissions(account: &str, rule: &Value) -> Vec<Permission> {
    let list = |field: &str| -> Vec<String> {
        let all = rule[field].as_array().into_iter().flatten();
        all.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let names = list("resourceNames");
    let objects: Vec<Option<String>> =
        if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
    let mut all = vec![];
    for (group, resource) in
        list("apiGroups").iter().flat_map(|group| list("resources").into_iter().map(move |one| (group, one)))
    {
        for verb in list("verbs") {
            for object in &objects {
                let kind = format!("{group}/{resource}");
                all.push(Permission {
                    account: account.to_owned(),
                    verb: verb.clone(),
                    kind,
                    object: object.clone(),
                });
            }
        }
    }
    all
}

/// Permissions for what these tests do not bring about.
fn is_spare(one: &Permission) -> bool {
    SPARE.iter().any(|(account, verb, kind)| {
        (one.account.as_str(), one.verb.as_str()) == (*account, *verb) && one.kind.ends_with(kind)
    })
}

/// Account, verb, and the end of the kind; each with its reason.
const SPARE: &[(&str, &str, &str)] = &[
    // A server-side apply that creates an object needs it; the log calls that a patch.
    ("ostria-citadel", "create", "/configmaps"),
    // The chart makes them; one that somebody deletes is made again.
    ("ostria-pilot", "create", "coordination.k8s.io/leases"),
    ("ostria-citadel", "create", "coordination.k8s.io/leases"),
    ("ostria-injector", "create", "coordination.k8s.io/leases"),
];
