//! Renders the Helm chart with each profile and with the values that its schema names, and checks that the objects fit
//! together: what an API server does not check until something fails to start.
//!
//! The tests need `helm` (`HELM` is its path), so `make chart` runs them and `make test` does not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test ends with what went wrong")]

mod helm;
mod object;
mod port;
mod rule;
mod values;

use std::collections::BTreeSet;

use helm::{chart, render};

#[test]
#[ignore = "needs helm: make chart"]
fn helm_finds_no_mistake_in_any_profile() {
    for profile in PROFILES {
        let output = helm::run(&["lint", "--strict", chart(""), "-f", chart(profile)]);
        assert!(output.is_ok(), "{profile}: {output:?}");
    }
}

#[test]
#[ignore = "needs helm: make chart"]
fn every_two_values_that_the_schema_names_render_objects_that_fit_together() {
    let rows = values::pairs(&helm::read("values.schema.json"));
    assert!(rows.len() > 8, "the schema names few values: {rows:?}");
    for row in rows {
        let set: Vec<String> = row.iter().map(|(path, value)| format!("{path}={value}")).collect();
        let arguments: Vec<&str> = set.iter().flat_map(|set| ["--set-json", set]).collect();
        let objects = render(&arguments).unwrap_or_else(|error| panic!("{row:?}: {error}"));
        rule::check(&objects, &format!("{row:?}"));
    }
}

#[test]
#[ignore = "needs helm: make chart"]
fn every_profile_renders_objects_that_fit_together() {
    for profile in PROFILES {
        rule::check(&render(&["-f", chart(profile)]).unwrap(), profile);
    }
}

#[test]
#[ignore = "needs helm: make chart"]
fn a_revision_shares_no_object_with_the_one_without() {
    let names = |set: &str| -> BTreeSet<(String, String)> {
        let objects = render(&["--set", set, "--set", "crds.enabled=false"]).unwrap();
        rule::check(&objects, set);
        objects.iter().map(|object| (object.kind().to_owned(), object.name().to_owned())).collect()
    };
    let plain = names("revision=");
    let canary = names("revision=canary,ingressGateway.enabled=false");
    let shared: Vec<_> = plain.intersection(&canary).collect();
    // The citadels of all revisions elect one writer of the trust bundles.
    let lease = ("Lease".to_owned(), "ostria-citadel-leader".to_owned());
    assert!(shared == [&lease] && canary.len() > 20, "{shared:?}");
    let gateways = render(&["-f", chart("values-gateways.yaml"), "--set", "revision=stable"]).unwrap();
    let control: Vec<_> = gateways.iter().filter(|object| !object.name().contains("gateway")).collect();
    assert!(control.is_empty(), "{control:?}");
    let deployment = gateways.iter().find(|object| object.kind() == "Deployment").unwrap();
    assert_eq!(deployment.pod()["metadata"]["labels"]["istio.io/rev"], "stable");
}

/// Everything that names citadel names the one of the release, or the one without revision if the release has none.
#[test]
#[ignore = "needs helm: make chart"]
fn a_control_plane_trusts_its_own_citadel_or_the_shared_one() {
    for (set, citadel) in [
        ("revision=", "ostria-citadel"),
        ("revision=canary", "ostria-citadel-canary"),
        ("revision=canary,citadel.enabled=false", "ostria-citadel"),
    ] {
        let text = helm::template(&["--set", set, "--set", "crds.enabled=false"]).unwrap();
        for expected in
            [format!("--ca-address={citadel}.istio-system.svc:8060\n"), format!("/sa/{citadel}\n")]
        {
            assert!(text.contains(&expected), "{set}: no {expected}");
        }
        let mut named = text.split("ostria-citadel").skip(1);
        let canary = citadel.ends_with("-canary");
        // The Lease is shared, and the image has one name.
        let is_common = |rest: &str| rest.starts_with("-leader") || rest.starts_with(':');
        let is_alike = |rest: &str| is_common(rest) || rest.starts_with("-canary") == canary;
        assert!(named.all(is_alike), "{set}: another citadel is named, too");
    }
}

#[test]
#[ignore = "needs helm: make chart"]
fn pilot_reads_and_validates_every_kind_that_it_refuses() {
    let objects = render(&[]).unwrap();
    let find = |kind: &str, name: &str| {
        objects
            .iter()
            .find(|one| one.kind() == kind && one.name() == name)
            .unwrap_or_else(|| panic!("{kind} {name}"))
    };
    let role = find("ClusterRole", "ostria-pilot-istio-system");
    let rules = role.0["rules"].as_array().unwrap();
    let webhook = find("ValidatingWebhookConfiguration", "ostria-pilot-istio-system");
    let has = |list: &serde_json::Value, text: &str| list.as_array().unwrap().iter().any(|one| one == text);
    for kind in api::resource::kind::refused::of_istio() {
        let (group, plural) = (kind.descriptor.group, kind.descriptor.plural);
        for (resource, verbs) in
            [(plural.to_owned(), ["list", "watch"]), (format!("{plural}/status"), ["get", "patch"])]
        {
            let may = rules.iter().any(|rule| {
                has(&rule["apiGroups"], group)
                    && has(&rule["resources"], &resource)
                    && verbs.iter().all(|verb| has(&rule["verbs"], verb))
            });
            assert!(may, "{verbs:?} {resource}.{group}");
        }
        assert!(has(&webhook.0["webhooks"][0]["rules"][0]["apiGroups"], group), "{group}");
    }
}

/// `OSTRIA_WRITE_DOCS=1` rewrites the file.
#[test]
#[ignore = "needs helm: make chart"]
fn the_default_rendering_is_the_one_that_was_reviewed() {
    let text = helm::template(&["--set", "crds.enabled=false"]).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/default.yaml");
    if std::env::var_os("OSTRIA_WRITE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let reviewed = std::fs::read_to_string(path).unwrap();
    let differs = reviewed.lines().zip(text.lines()).position(|(old, rendered)| old != rendered);
    assert!(
        reviewed == text,
        "the chart renders something else from line {differs:?} of {path}; if that is meant, \
         run: OSTRIA_WRITE_DOCS=1 make chart"
    );
}

#[test]
#[ignore = "needs helm: make chart"]
fn every_value_has_a_default_and_a_schema() {
    // Helm itself refuses a default that the schema does not name.
    let values: serde_json::Value = serde_saphyr::from_str(&helm::read("values.yaml")).unwrap();
    for path in values::paths(&helm::read("values.schema.json")) {
        let pointer = format!("/{}", path.replace('.', "/"));
        assert!(values.pointer(&pointer).is_some(), "values.yaml does not show {path}");
    }
}

#[test]
#[ignore = "needs helm: make chart"]
fn a_mistake_in_a_value_is_refused_by_its_path() {
    for (set, path) in [
        ("pilott.replicas=1", "pilott"),
        ("pilot.replica=1", "replica"),
        ("pilot.replicas=0", "/pilot/replicas"),
        ("injector.failurePolicy=Sometimes", "/injector/failurePolicy"),
        ("revision=Canary", "/revision"),
        ("revision=default", "/revision"),
        ("citadel.maxTtl=1day", "/citadel/maxTtl"),
        ("ingressGateway.service.type=Internal", "/ingressGateway/service/type"),
        ("global.imagePullPolicy=never", "/global/imagePullPolicy"),
    ] {
        let error = render(&["--set", set]).err().unwrap_or_else(|| panic!("{set} was taken"));
        assert!(error.contains(path), "{set}: {error}");
    }
}

/// Needs the API server of `KUBECONFIG`; changes nothing there.
#[test]
#[ignore = "needs helm and a cluster: make e2e"]
fn an_api_server_takes_every_profile() {
    let config = std::env::var_os("KUBECONFIG").expect("KUBECONFIG names the cluster");
    for profile in PROFILES {
        let text = helm::template(&["-f", chart(profile), "--namespace", "default", "--no-hooks"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rendered.yaml");
        std::fs::write(&file, text).unwrap();
        let output = std::process::Command::new("kubectl")
            .args(["apply", "--dry-run=server", "--server-side", "--validate=strict", "-f"])
            .arg(&file)
            .env("KUBECONFIG", &config)
            .output()
            .expect("kubectl runs");
        assert!(output.status.success(), "{profile}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

const PROFILES: &[&str] =
    &["values-default.yaml", "values-demo.yaml", "values-minimal.yaml", "values-gateways.yaml"];
