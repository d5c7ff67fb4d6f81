//! Limits of memory and processors: enforced where this machine has control groups (cgroup v2) for them, and a warning
//! with the reason elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::port;

use crate::harness::{Mesh, SLEEP, is_root, pod, until};

/// A program that needs more and more memory.
const GREEDY: &str = "command: [sh, -c, 'exec tail /dev/zero']\nresources: {limits: {memory: 32Mi}}";

/// Whether the kernel enforces limits for root.
fn is_enforced() -> bool {
    let there = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    ["cpu", "memory"].iter().all(|name| there.split_whitespace().any(|one| one == *name))
}

/// The control group of a mesh.
fn group(mesh: &Mesh) -> PathBuf {
    let lock: Value =
        serde_json::from_slice(&std::fs::read(mesh.path("home/state/lock.json")).unwrap()).unwrap();
    lock["control_group"].as_str().expect("the mesh has a control group").into()
}

/// The groups below a group.
fn children(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_string()
}

#[test]
fn limits_without_control_groups_cause_one_warning_that_says_why() {
    if !is_root() || is_enforced() {
        return;
    }
    let mesh = Mesh::new(&pod("web", SLEEP));
    mesh.up();
    let limited = format!("{SLEEP}\nresources: {{limits: {{memory: 32Mi, cpu: 100m}}}}");
    let applied = mesh.apply(&format!("{}---\n{}", pod("a", &limited), pod("b", &limited)));
    let words = String::from_utf8_lossy(&applied.stderr).into_owned();
    assert!(applied.status.success(), "{words}");
    assert_eq!(words.matches("is not enforced").count(), 1, "{words}");
    assert!(words.contains("containers[0].resources.limits.cpu") && words.contains("cgroup"), "{words}");
    let wrong = pod("c", &format!("{SLEEP}\nresources: {{limits: {{memory: 32MB}}}}"));
    let words = String::from_utf8_lossy(&mesh.apply(&wrong).stderr).into_owned();
    assert!(
        words.contains("spec.containers[0].resources.limits.memory") && words.contains("no quantity"),
        "{words}"
    );
}

#[test]
fn a_container_that_needs_more_memory_than_its_limit_is_killed_and_shown_as_on_kubernetes() {
    if !is_root() || !is_enforced() {
        return;
    }
    let once = pod("once", GREEDY).replace("spec:\n", "spec:\n  restartPolicy: Never\n");
    let mesh = Mesh::new(&format!("{}---\n{once}---\n{}", pod("web", SLEEP), pod("again", GREEDY)));
    mesh.run(&["up", "-d", mesh.path("yaml").to_str().unwrap(), "--wait", "0s"]);
    let row = |name: &str| {
        let pods = mesh.ok(&["get", "pods"]);
        pods.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_string()
    };
    until("the end of the pod", || row("once").contains("OOMKilled"));
    let object = |name: &str| -> Value {
        serde_json::from_str(&mesh.ok(&["get", "pod", name, "-o", "json"])).unwrap()
    };
    let killed =
        |state: &Value| (state["terminated"]["reason"].clone(), state["terminated"]["exitCode"].clone());
    let expected = (Value::from("OOMKilled"), Value::from(137));
    let once = object("once");
    assert_eq!(killed(&once["status"]["containerStatuses"][0]["state"]), expected, "{once}");
    assert_eq!(once["status"]["phase"], "Failed");
    until("a restart", || row("again").contains("CrashLoopBackOff") || row("again").contains("OOMKilled"));
    until("the last state", || {
        killed(&object("again")["status"]["containerStatuses"][0]["lastState"]) == expected
    });
    let described = mesh.ok(&["describe", "pod", "again"]);
    assert!(described.contains("OOMKilled") && described.contains("Exit Code:"), "{described}");
    assert!(mesh.ok(&["events"]).contains("OOMKilled"));
    // The neighbour is untouched.
    let neighbour = row("web");
    let cells: Vec<&str> = neighbour.split_whitespace().take(4).collect();
    assert_eq!(cells, ["web", "1/1", "Running", "0"], "{neighbour}");
}

#[test]
fn containers_see_their_limits_and_groups_end_with_pods_and_meshes() {
    if !is_root() || !is_enforced() {
        return;
    }
    let busy = "command: [sh, -c, 'while :; do :; done']\nresources: {limits: {memory: 32Mi, cpu: 100m}}";
    let mesh = Mesh::new(&format!("{}---\n{}", pod("web", SLEEP), pod("busy", busy)));
    mesh.up();
    let seen = mesh
        .exec("busy", "cd /sys/fs/cgroup; cat memory.max memory.oom.group cpu.max; cat /proc/self/cgroup");
    assert_eq!(seen, "33554432\n1\n10000 100000\n0::/\n");
    let read_only = mesh.run(&["exec", "busy", "--", "sh", "-c", "echo max > /sys/fs/cgroup/memory.max"]);
    assert!(!read_only.status.success(), "a container can change its limits");
    let pods = group(&mesh).join("pods");
    let limited = children(&pods).into_iter().find(|pod| read(pod.join("memory.max")) == "33554432");
    let limited = limited.expect("the pod has the limit of its only container");
    assert_eq!(read(limited.join("cpu.max")), "10000 100000");
    until("throttling", || {
        let stat = read(limited.join("app/cpu.stat"));
        stat.lines().any(|line| line.strip_prefix("nr_throttled ").is_some_and(|count| count != "0"))
    });
    mesh.ok(&["delete", "pod", "busy"]);
    until("the end of the pod's group", || !limited.exists());
    let whole = group(&mesh);
    mesh.ok(&["down"]);
    assert!(!whole.exists());

    mesh.up();
    let killed = group(&mesh);
    let supervisor = nix::unistd::Pid::from_raw(mesh.supervisor());
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the end of the mesh", || !crate::harness::runs(u64::from(supervisor.as_raw().cast_unsigned())));
    assert!(killed.exists());
    mesh.ok(&["down"]);
    assert!(!killed.exists(), "the group of a killed mesh is left");
}

#[test]
fn a_user_has_limits_in_a_group_that_was_delegated() {
    if !is_root() || !is_enforced() {
        return;
    }
    let top = Path::new("/sys/fs/cgroup");
    std::fs::write(top.join("cgroup.subtree_control"), "+cpu +memory").unwrap();
    let delegated = top.join(format!("delegated-{}", std::process::id()));
    std::fs::create_dir(&delegated).unwrap();
    for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        nix::unistd::chown(&delegated.join(file), Some(65534.into()), Some(65534.into())).unwrap();
    }
    let limited = format!("{SLEEP}\nresources: {{limits: {{memory: 32Mi}}}}");
    let mesh = Mesh::owned_by(&pod("web", &limited), true);
    let gateway = format!("127.0.0.1:{}", port::free());
    let up = mesh.command(&["up", "-d", mesh.path("yaml").to_str().unwrap(), "--gateway", &gateway]);
    let mut command = Command::new("sh");
    command.args(["-c", "echo 0 > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&delegated);
    command.arg(up.get_program()).args(up.get_args());
    command.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !words.contains("is not enforced"), "{words}");
    assert!(group(&mesh).starts_with(&delegated));
    assert_eq!(mesh.exec("web", "cat /sys/fs/cgroup/memory.max"), "33554432\n");
    mesh.ok(&["down"]);
    // The supervisor has left the group, so that it can be removed.
    assert_eq!(children(&delegated), Vec::<PathBuf>::new());
    until("the end of the delegated group", || std::fs::remove_dir(&delegated).is_ok());
}
