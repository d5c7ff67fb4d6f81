//! Calls `kubectl` and `helm`: objects, states, and what an operator would look at when something fails.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::page::checkout::Images;
use tests::program::{self, Outcome};
use tests::report::Report;
use tests::wait;

/// How long a step may take that needs containers to start, on a small busy machine.
pub(crate) const START: Duration = Duration::from_secs(120);
/// How long a change may take until every proxy has it.
pub(crate) const CHANGE: Duration = Duration::from_secs(20);

/// Runs `kubectl`; returns what it prints.
///
/// # Errors
/// Its error output if it fails.
pub(crate) fn kubectl(arguments: &[&str]) -> Result<String, String> {
    run("kubectl", arguments, "")
}

/// Runs `kubectl`; fails the test if it fails.
#[track_caller]
pub(crate) fn must(arguments: &[&str]) -> String {
    kubectl(arguments).unwrap_or_else(|error| panic!("{error}"))
}

/// Applies YAML to a namespace; returns what `kubectl` prints, warnings included.
///
/// # Errors
/// The refusal.
pub(crate) fn apply(namespace: &str, yaml: &str) -> Result<String, String> {
    run("kubectl", &["-n", namespace, "apply", "-f", "-"], yaml)
}

/// Applies YAML that is right.
pub(crate) fn applied(namespace: &str, yaml: &str) {
    // The webhook's server may be a moment later than its Deployment.
    wait::until("objects are accepted", CHANGE, || apply(namespace, yaml));
}

/// A file of the samples with the images under test.
pub(crate) fn sample(file: &str) -> String {
    let path = program::repository("samples").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    with_images(&text)
}

/// YAML with the images under test in place of the released ones.
pub(crate) fn with_images(yaml: &str) -> String {
    Images { hub: setting("E2E_HUB"), tag: setting("E2E_TAG"), pull: setting("E2E_PULL") }.replace(yaml)
}

/// A setting that `make e2e` gives.
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make e2e`, which sets it"))
}

/// A number that a user may give.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Runs a program with an input; returns its output, on success with its warnings.
///
/// # Errors
/// Its output if it fails.
pub(crate) fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let begin = Instant::now();
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
    if begin.elapsed() >= wait::LONG {
        eprintln!("`{program} {}` took {:.0?}", arguments.join(" "), begin.elapsed());
    }
    if output.status.success() {
        Ok(out + &err)
    } else {
        Err(format!("`{program} {}`: {out}{err}", arguments.join(" ")))
    }
}

/// Waits until every Deployment of a namespace has the pods that it wants, all ready, and no others are left.
pub(crate) fn until_settled(namespace: &str) {
    for name in names(namespace, "deployments") {
        let timeout = format!("--timeout={}s", START.as_secs());
        must(&["-n", namespace, "rollout", "status", &format!("deployment/{name}"), &timeout]);
    }
    wait::until("replaced pods end", START, || {
        let ending = items(namespace, "pods", &[])?.into_iter();
        let ending: Vec<String> = ending
            .filter(|pod| !pod["metadata"]["deletionTimestamp"].is_null())
            .map(|pod| name(&pod))
            .collect();
        if ending.is_empty() { Ok(()) } else { Err(ending.join(" ")) }
    });
}

/// Restarts Deployments of a namespace at once, and waits until all of it is over.
pub(crate) fn restart(namespace: &str, deployments: &[&str]) {
    let mut arguments = vec!["-n", namespace, "rollout", "restart", "deployment"];
    arguments.extend(deployments);
    must(&arguments);
    until_settled(namespace);
}

/// Gives a Deployment a number of replicas, and waits until they are ready.
pub(crate) fn scale(namespace: &str, deployment: &str, replicas: u32) {
    let (target, replicas) = (format!("deployment/{deployment}"), format!("--replicas={replicas}"));
    must(&["-n", namespace, "scale", &target, &replicas]);
    until_settled(namespace);
}

/// The objects of a kind.
///
/// # Errors
/// What `kubectl` says.
pub(crate) fn items(namespace: &str, kind: &str, more: &[&str]) -> Result<Vec<Value>, String> {
    let text = kubectl(&[&["-n", namespace, "get", kind, "-o", "json"], more].concat())?;
    let list: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    list["items"].as_array().cloned().ok_or(text)
}

/// The names of the objects of a kind.
pub(crate) fn names(namespace: &str, kind: &str) -> Vec<String> {
    items(namespace, kind, &[]).unwrap_or_else(|error| panic!("{error}")).iter().map(name).collect()
}

/// An object's name.
pub(crate) fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// Whether an object's status has a condition with this status.
pub(crate) fn has_condition(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == kind && one["status"] == status))
}

/// The pods of an app that are not about to end.
pub(crate) fn pods(namespace: &str, label: &str) -> Vec<Value> {
    let all = wait::until("a list of pods", CHANGE, || items(namespace, "pods", &["-l", label]));
    all.into_iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect()
}

/// The name of the first pod with a label.
pub(crate) fn pod(namespace: &str, label: &str) -> String {
    pods(namespace, label).first().map_or_else(|| panic!("no pod {label} in {namespace}"), name)
}

/// The names of a pod's containers, init containers included.
pub(crate) fn containers(pod: &Value) -> Vec<String> {
    let of = |field: &str| pod["spec"][field].as_array().cloned().unwrap_or_default();
    let all = of("initContainers").into_iter().chain(of("containers"));
    all.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}

/// Asks a port of a pod through the API server.
///
/// # Errors
/// Why there is no response.
pub(crate) fn ask(namespace: &str, pod: &str, port: u16, path: &str) -> Result<String, String> {
    kubectl(&["get", "--raw", &format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}")])
}

/// Runs `echo client` in a container of a Deployment that is called `echo`, and returns its report.
pub(crate) fn echo(namespace: &str, deployment: &str, line: &[&str]) -> Report {
    let target = format!("deployment/{deployment}");
    let start = ["-n", namespace, "exec", &target, "-c", "echo", "--", "echo", "client", "--allow-failures"];
    let outcome: Outcome = program::run("kubectl".as_ref(), &[&start, line].concat());
    Report::of(&outcome)
}

/// What an operator would look at, not more than a few pages of it.
pub(crate) fn state(namespace: &str) -> String {
    let mut text = format!("== namespace {namespace}\n");
    for (arguments, most) in [
        (&["get", "pods", "-o", "wide"][..], 40),
        (&["get", "events", "--field-selector", "type=Warning", "--sort-by", ".lastTimestamp"], 30),
        (&["logs", "-l", "ostria-e2e!=none", "--all-containers", "--prefix", "--tail", "12"], 160),
    ] {
        let shown = kubectl(&[&["--request-timeout=10s", "-n", namespace], arguments].concat());
        text += &last_lines(&shown.unwrap_or_else(|error| error), most);
    }
    text
}

/// The last lines of a text, none of them very long.
fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let kept = &lines[lines.len().saturating_sub(most)..];
    kept.iter().map(|line| line.chars().take(300).collect::<String>() + "\n").collect()
}
