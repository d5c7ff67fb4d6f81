//! Bundles of this authority, of users and of other control planes.

use super::*;
use crate::root::create;
use serde_json::{Value, json};
use time::macros::datetime;

fn roots(serial: u8) -> String {
    let now = datetime!(2026-11-21 12:00:00 UTC);
    create::self_signed(&"cluster.local".parse().unwrap(), &[serial], now).unwrap().roots
}

/// A ConfigMap with these roots and these writers: name, and whether it owns the roots or the label.
fn map(roots: &str, writers: &[(&str, &[&str])]) -> Found {
    let entries: Vec<Value> = writers
        .iter()
        .map(|(manager, owned)| {
            let mut fields = json!({});
            if owned.contains(&"roots") {
                fields["f:data"] = json!({ ".": {}, FIELD: {} });
            }
            if owned.contains(&"label") {
                fields["f:metadata"] = json!({ "f:labels": { "f:istio.io/config": {} } });
            }
            json!({ "manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": fields })
        })
        .collect();
    let map = json!({
        "metadata": { "labels": { LABEL: "true" }, "managedFields": entries },
        "data": { KEY: roots },
    });
    Found::read(&serde_json::from_value(map).unwrap())
}

fn step(found: Option<&Found>, roots: &str, takes_over: bool) -> Step {
    decide(found, Wanted { roots, was_ours: false, takes_over })
}

#[test]
fn a_bundle_is_written_where_it_is_missing_or_differs_and_nowhere_else() {
    let (ours, other) = (roots(1), roots(2));
    let both: &[&str] = &["roots", "label"];
    let mine = [(MANAGER, both)];
    let leave = |keeper: &str| Step::Leave { keeper: keeper.to_owned() };
    let edited: &[(&str, &[&str])] = &[(MANAGER, &["label"]), ("kubectl-edit", &["roots"])];
    let fought: &[(&str, &[&str])] = &[(MANAGER, &["label"]), ("pilot-discovery", &["roots"])];
    let foreign: &[(&str, &[&str])] = &[("pilot-discovery", both)];
    let stranger: &[(&str, &[&str])] = &[("argocd-controller", both)];
    let table = [
        ("missing", None, Step::Write, Step::Write),
        ("ours", Some(map(&ours, &mine)), Step::Keep, Step::Keep),
        ("the root was replaced", Some(map(&other, &mine)), Step::Write, Step::Write),
        ("a user changed ours", Some(map(&other, edited)), Step::Restore, Step::Restore),
        ("a user removed ours", Some(map("", edited)), Step::Restore, Step::Restore),
        (
            "a user replaced ours",
            Some(map(&other, &[("kubectl-replace", both)])),
            Step::Restore,
            Step::Restore,
        ),
        (
            "another control plane replaced ours",
            Some(map(&other, fought)),
            leave("pilot-discovery"),
            Step::Restore,
        ),
        ("another control plane's", Some(map(&other, foreign)), leave("pilot-discovery"), Step::Restore),
        ("another's with our root", Some(map(&ours, foreign)), Step::Keep, Step::Keep),
        ("another tool's", Some(map(&other, stranger)), leave("argocd-controller"), Step::Restore),
        ("of an unknown owner", Some(map(&other, &[])), leave("unknown"), Step::Write),
    ];
    for (what, found, usual, when_taking_over) in table {
        assert_eq!(step(found.as_ref(), &ours, false), usual, "{what}");
        assert_eq!(step(found.as_ref(), &ours, true), when_taking_over, "{what}, taking over");
    }
}

#[test]
fn a_bundle_that_was_ours_is_put_back_unless_another_control_plane_took_it() {
    let roots = roots(1);
    for (keeper, expected) in
        [("curl", Step::Restore), ("pilot-discovery", Step::Leave { keeper: "pilot-discovery".to_owned() })]
    {
        let found = map("x", &[(keeper, &["roots", "label"])]);
        let wanted = Wanted { roots: &roots, was_ours: true, takes_over: false };
        assert_eq!(decide(Some(&found), wanted), expected, "{keeper}");
    }
}

#[test]
fn only_the_certificates_of_a_bundle_count() {
    let (one, two) = (roots(1), roots(2));
    let foreign: &[(&str, &[&str])] = &[("pilot-discovery", &["roots"])];
    let wanted = format!("{one}{two}");
    for present in [format!("{two}{one}"), format!("# roots\n{one}\n\n{two}"), format!("{one}{two}{one}")] {
        assert_eq!(step(Some(&map(&present, foreign)), &wanted, false), Step::Keep);
    }
    for present in ["", "garbage", &one] {
        assert_ne!(step(Some(&map(present, foreign)), &wanted, false), Step::Keep);
    }
}

#[test]
fn our_own_bundle_gets_its_label_and_key_back() {
    let roots = roots(1);
    let read = |map: Value| Found::read(&serde_json::from_value(map).unwrap());
    let fields = [json!({ "manager": MANAGER, "fieldsV1": { "f:data": { FIELD: {} } } })];
    let unlabelled = read(json!({ "metadata": { "managedFields": fields }, "data": { KEY: roots } }));
    assert_eq!(step(Some(&unlabelled), &roots, false), Step::Write);
    let emptied = read(json!({ "metadata": { "labels": { LABEL: "true" }, "managedFields": fields } }));
    assert_eq!(step(Some(&emptied), &roots, false), Step::Write);
    let written = Found { is_ours: true, ..Found::read(&config_map(&roots)) };
    assert_eq!(step(Some(&written), &roots, false), Step::Keep);
}

#[test]
fn namespaces_without_workloads_get_none() {
    for (namespace, concerned) in
        [("default", true), ("kube-system", true), ("kube-public", false), ("kube-node-lease", false)]
    {
        assert_eq!(concerns(namespace), concerned, "{namespace}");
    }
}
