//! Invalid input: each refusal names file, object, field and the next step, exits with an error, and changes nothing.

use std::net::TcpListener;
use std::path::Path;

use tests::mesh::Mesh;
use tests::program::{self, Outcome, Running};

use crate::PROBE;

/// A test case: a file that must be refused, and the expected parts of the message.
type Case = (&'static str, &'static str, &'static [&'static str]);

const FILES: &[Case] = &[
    ("malformed.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: a\nspec: {}\n", &["malformed.yaml"]),
    (
        "typing.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec:\n  prots:\n  - port: 80\n",
        &["typing.yaml", "Service default/shop", "spec.prots"],
    ),
    (
        "mesh-typing.yaml",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop}\nspec:\n  hosts: [a.example]\n  htpp: []\n",
        &["mesh-typing.yaml", "VirtualService default/shop", "spec.htpp"],
    ),
    ("kind.yaml", "apiVersion: v1\nkind: Sevrice\nmetadata: {name: shop}\n", &["kind.yaml", "Sevrice"]),
    (
        "unsupported.yaml",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: locked}\nspec: {}\n",
        &["unsupported.yaml", "AuthorizationPolicy", "not supported"],
    ),
    (
        "twice.yaml",
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n",
        &["twice.yaml:5", "ServiceAccount default/a", "twice.yaml:1"],
    ),
    (
        "nameless.yaml",
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {}\n",
        &["nameless.yaml", "metadata.name"],
    ),
    (
        "program.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: main, command: [no-such-program]}\n",
        &["program.yaml", "Pod default/a", "spec.containers[0].command[0]", "no-such-program"],
    ),
    (
        "image.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: main, image: nginx}\n",
        &["image.yaml", "Pod default/a", "spec.containers[0].command", "does not run images"],
    ),
    (
        "volume.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: main\n    command: [sleep, \"9\"]\n    volumeMounts: [{name: data, mountPath: /data}]\n",
        &["volume.yaml", "Pod default/a", "spec.containers[0].volumeMounts[0].name", "data"],
    ),
];

#[test]
fn invalid_manifests_are_refused_with_file_object_and_field_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (name, text, parts) in FILES {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("the folder can be written");
        refused(&up(folder.path(), &file, &[]), parts, folder.path());
    }
    let missing = folder.path().join("nowhere");
    refused(&up(folder.path(), &missing, &[]), &["nowhere"], folder.path());
}

#[test]
fn a_port_in_use_is_named_with_the_flag_that_changes_it() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it has an address").to_string();
    let outcome = up(folder.path(), &program::repository("samples/echo"), &["--gateway", &address]);
    refused(&outcome, &[&address, "--gateway 127.0.0.1:PORT"], folder.path());
}

#[test]
fn a_missing_privilege_is_reported_with_the_remedy() {
    if !nix::unistd::geteuid().is_root() {
        println!("only root can give a privilege up");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let program = program::path("ostria").display().to_string();
    let state = folder.path().join("state").display().to_string();
    let echo = program::repository("samples/echo").display().to_string();
    let line = [
        "--bounding-set=-sys_admin",
        "--inh-caps=-sys_admin",
        &program,
        "up",
        "--detach",
        "--state",
        &state,
        "--gateway",
        "127.0.0.1:0",
        &echo,
    ];
    let outcome = Running::start(Path::new("setpriv"), &line, &[]).finish(program::TIMEOUT);
    refused(&outcome, &["CAP_SYS_ADMIN", "--privileged"], folder.path());
}

#[test]
fn a_bad_change_to_a_running_mesh_changes_nothing() {
    let mesh = Mesh::up(&["samples/bookinfo"], PROBE);
    let before = mesh.ostria(&["get", "virtualservices", "-A", "-o", "json"]).text();
    let route = |host: &str, more: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: broken}}\nspec:\n  \
             hosts: [reviews]\n  http:\n  - route:\n    - destination: {{host: {host}{more}\n"
        )
    };
    let good = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: good}\nspec:\n  hosts: \
                [ratings]\n  http:\n  - route:\n    - destination: {host: ratings}\n---\n";
    let cases = [
        (route("nonesuch", "}"), vec!["spec.http[0].route[0].destination.host", "nonesuch"]),
        (route("reviews", ", subset: v9}"), vec!["spec.http[0].route[0].destination.subset", "v9"]),
        (route("reviews", "}\n      weight: -1"), vec!["spec.http[0].route[0].weight", "-1"]),
        (
            route(
                "reviews",
                "}\n      weight: 0\n    - destination: {host: reviews, subset: v1}\n      weight: 0",
            ),
            vec!["spec.http[0].route"],
        ),
        (route("reviews", "}\n    timeout: soon"), vec!["spec.http[0].timeout", "soon"]),
        (route("reviews", "}\n    match: [{uri: {regex: \"(\"}}]"), vec!["spec.http[0].match[0].uri"]),
    ];
    for (text, mut parts) in cases {
        parts.extend(["applied.yaml", "VirtualService default/broken"]);
        assert_error_names(&mesh.apply_text(&format!("{good}{text}")), &parts);
    }
    let settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    \
                    trustDomainAliases: [old.example]\n";
    assert_error_names(
        &mesh.apply_text(settings),
        &["applied.yaml", "ConfigMap istio-system/istio", "data.mesh.trustDomainAliases", "not supported"],
    );
    assert_eq!(mesh.ostria(&["get", "configmap", "istio", "-n", "istio-system"]).code, 1, "it was stored");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: lone}\nspec:\n  serviceAccountName: nobody\n  containers:\n  - \
               {name: main, command: [sleep, \"9\"]}\n";
    assert_error_names(
        &mesh.apply_text(pod),
        &["Pod default/lone", "spec.serviceAccountName", "serviceaccount \"nobody\" not found"],
    );
    let empty = mesh.apply_text("# nothing\n");
    assert_eq!((empty.code, empty.err.trim()), (1, "error: no objects passed to apply"));
    let after = mesh.ostria(&["get", "virtualservices", "-A", "-o", "json"]).text();
    assert_eq!(before, after, "a refused change left something");
    assert_error_names(&mesh.ostria(&["delete", "virtualservice", "nonesuch"]), &["nonesuch"]);
    twice(&mesh);
    assert_eq!(mesh.page("/productpage", &[]).status, 200);
}

/// Checks that a second mesh in the same folder is refused, and that the first one is unaffected.
fn twice(mesh: &Mesh) {
    let folder = program::repository("samples/echo").display().to_string();
    let state = mesh.state().display().to_string();
    let outcome = mesh.ostria(&["up", "--detach", "--state", &state, "--gateway", "127.0.0.1:0", &folder]);
    assert_error_names(&outcome, &["already running", &state, "ostria down", "--state"]);
}

fn up(folder: &Path, file: &Path, more: &[&str]) -> Outcome {
    let state = folder.join("state").display().to_string();
    let file = file.display().to_string();
    let line = [&["up", "--detach", "--state", &state, &file][..], more].concat();
    let line = if more.is_empty() { [&line[..], &["--gateway", "127.0.0.1:0"]].concat() } else { line };
    program::run(&program::path("ostria"), &line)
}

/// Checks that a start was refused with a good message, and left no state.
fn refused(outcome: &Outcome, parts: &[&str], folder: &Path) {
    assert_error_names(outcome, parts);
    assert!(!folder.join("state").exists(), "a refused start left its state folder: {outcome}");
}

/// Checks that a refusal contains all these parts and a next step.
fn assert_error_names(outcome: &Outcome, parts: &[&str]) {
    let refusal = outcome.clone().refusal();
    assert_eq!(outcome.code, 1, "{outcome}");
    for part in parts.iter().chain(&["next: "]) {
        assert!(refusal.contains(part), "the refusal does not name {part}: {outcome}");
    }
}
