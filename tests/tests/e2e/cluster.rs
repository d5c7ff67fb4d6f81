//! Calls `kubectl` and `helm`, and holds an installed mesh that is uninstalled when the test ends, however it ends.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use tests::{program, wait};

/// The namespace of the control plane.
pub(crate) const SYSTEM: &str = "istio-system";
/// How long a step may take that needs containers to start, on a small busy machine.
pub(crate) const START: Duration = Duration::from_secs(90);
/// How long a change may take until every proxy has it.
pub(crate) const CHANGE: Duration = Duration::from_secs(20);

/// Runs `kubectl`; returns what it prints.
///
/// # Errors
/// Its error output if it fails.
pub(crate) fn kubectl(arguments: &[&str]) -> Result<String, String> {
    run("kubectl", arguments, "")
}

/// Applies YAML to a namespace; returns what `kubectl` prints, warnings included.
///
/// # Errors
/// The refusal.
pub(crate) fn apply(namespace: &str, yaml: &str) -> Result<String, String> {
    run("kubectl", &["-n", namespace, "apply", "-f", "-"], yaml)
}

/// A file of the samples with the images under test.
pub(crate) fn sample(file: &str) -> String {
    let path = program::repository("samples/bookinfo").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let image = format!("{}/ostria-bookinfo:{}", setting("E2E_HUB"), setting("E2E_TAG"));
    text.replace("ghcr.io/ostria/ostria-bookinfo:latest", &image)
        .replace("imagePullPolicy: IfNotPresent", &format!("imagePullPolicy: {}", setting("E2E_PULL")))
}

/// A setting that `make e2e` gives.
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make e2e`, which sets it"))
}

/// Runs a program with an input; returns its output, on success with its warnings.
fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not run ({error}): run `make e2e`, which finds it"));
    let mut pipe = child.stdin.take().expect("its input is a pipe");
    // A program that reads no input may have ended; its status tells what went wrong.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().expect("a child can be waited for");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        Ok(out + &err)
    } else {
        Err(format!("`{program} {}`: {out}{err}", arguments.join(" ")))
    }
}

/// Waits until every Deployment of a namespace is available; fails the test with the state of its pods.
pub(crate) fn until_available(namespace: &str) {
    let timeout = format!("--timeout={}s", START.as_secs());
    let waited =
        kubectl(&["-n", namespace, "wait", "--for=condition=Available", "deployment", "--all", &timeout]);
    if let Err(error) = waited {
        panic!("{error}\n{}", state(namespace));
    }
}

/// What an operator would look at when something doesn't start.
fn state(namespace: &str) -> String {
    let mut text = String::new();
    for arguments in [
        &["get", "pods", "-o", "wide"][..],
        &["get", "events", "--field-selector", "type=Warning"],
        &["logs", "-l", "ostria-e2e!=none", "--all-containers", "--prefix", "--tail", "15"],
    ] {
        text += &kubectl(&[&["-n", namespace], arguments].concat()).unwrap_or_else(|error| error);
    }
    text
}

/// A mesh that `helm install` has made.
pub(crate) struct Installed {
    is_there: bool,
}

impl Installed {
    /// Installs the chart with the profile `demo`, as docs/install.md says, and waits until all of it runs.
    pub(crate) fn install() -> Self {
        let chart = program::repository("deploy/helm/ostria");
        let values = chart.join("values-demo.yaml");
        let images = format!(
            "global.hub={},global.tag={},global.imagePullPolicy={}",
            setting("E2E_HUB"),
            setting("E2E_TAG"),
            setting("E2E_PULL")
        );
        let (chart, values) = (chart.display().to_string(), values.display().to_string());
        let arguments = [
            "install",
            "ostria",
            &chart,
            "-n",
            SYSTEM,
            "--create-namespace",
            "-f",
            &values,
            "--set",
            &images,
        ];
        run("helm", &arguments, "").unwrap_or_else(|error| panic!("{error}"));
        let installed = Self { is_there: true };
        until_available(SYSTEM);
        installed
    }

    /// Uninstalls it; fails the test if `helm` does.
    pub(crate) fn uninstall(mut self) {
        self.is_there = false;
        run("helm", &["uninstall", "ostria", "-n", SYSTEM, "--wait"], "")
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if self.is_there {
            if std::thread::panicking() {
                eprintln!("{}", state(SYSTEM));
            }
            if let Err(error) = run("helm", &["uninstall", "ostria", "-n", SYSTEM], "") {
                eprintln!("the mesh stays installed: {error}");
            }
        }
    }
}

/// A namespace that is deleted when the test ends.
pub(crate) struct Namespace(&'static str);

impl Namespace {
    /// Makes a namespace whose pods get a sidecar.
    pub(crate) fn with_sidecars(name: &'static str) -> Self {
        kubectl(&["create", "namespace", name]).unwrap_or_else(|error| panic!("{error}"));
        let namespace = Self(name);
        kubectl(&["label", "namespace", name, "istio-injection=enabled"])
            .unwrap_or_else(|error| panic!("{error}"));
        namespace
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", state(self.0));
        }
        if let Err(error) = kubectl(&["delete", "namespace", self.0, "--wait=false"]) {
            eprintln!("the namespace stays: {error}");
        }
    }
}

/// Asks a port of a pod through the API server.
///
/// # Errors
/// Why there is no answer.
pub(crate) fn ask(namespace: &str, pod: &str, port: u16, path: &str) -> Result<String, String> {
    kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}")])
}

/// The names of the ready pods with a label, and how many of their containers are ready.
pub(crate) fn pods(namespace: &str, label: &str) -> Vec<(String, usize)> {
    let format = "jsonpath={range .items[*]}{.metadata.name}{\" \"}{.status.containerStatuses[*].ready}\
                  {\" \"}{.status.initContainerStatuses[*].ready}{\"\\n\"}{end}";
    let text = wait::until("a list of pods", CHANGE, || {
        kubectl(&["-n", namespace, "get", "pods", "-l", label, "-o", format])
    });
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        Some((name, words.filter(|word| *word == "true").count()))
    };
    text.lines().filter_map(line).collect()
}
