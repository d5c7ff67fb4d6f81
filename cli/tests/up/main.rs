//! Tests of `ostria` with real namespaces: pods that run small shell programs, and the failures that users meet. The
//! executable is linked into a separate folder without the control plane, so that pods run without it even if it has
//! been built.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod foreign;
mod full;
mod harness;
mod jobs;
mod limits;
mod verbs;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Mesh, SLEEP, deployment, is_root, pod, runs, until};
use tests::port;

#[test]
fn a_pod_has_its_own_network_name_files_and_configuration() {
    let yaml = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {key: s3cret}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: settings, configMap: {name: settings}}
  - name: token
    projected: {sources: [{serviceAccountToken: {path: token, audience: istio-ca}}]}
  - {name: shared, emptyDir: {}}
  initContainers:
  - name: first
    command: [sh, -c, 'echo made by init > /shared/file']
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - name: app
    command: [sh, -c]
    args: ['echo started as $(WHO); exec sleep 1000']
    env:
    - {name: WHO, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: KEY, valueFrom: {secretKeyRef: {name: keys, key: key}}}
    volumeMounts:
    - {name: settings, mountPath: /etc/settings}
    - {name: token, mountPath: /var/run/secrets/tokens}
    - {name: shared, mountPath: /shared}
";
    let mesh = Mesh::new(yaml);
    let table = mesh.up();
    assert!(table.contains("web    -          10.244.0.2   1/1"), "{table}");
    assert_eq!(mesh.exec("web", "cat /etc/settings/greeting"), "hello");
    assert_eq!(mesh.exec("web", "cat /shared/file"), "made by init\n");
    assert_eq!(mesh.exec("web", "echo $KEY; hostname"), "s3cret\nweb\n");
    assert_eq!(
        mesh.exec("web", "cut -d. -f1 /var/run/secrets/tokens/token | wc -c | xargs test 20 -lt && echo yes"),
        "yes\n"
    );
    assert_eq!(mesh.ok(&["logs", "web"]), "started as web\n");
    let network = mesh.exec("web", "ip -brief addr show eth0; getent hosts web.default.svc.cluster.local");
    assert!(network.contains("10.244.0.2/32"), "{network}");
    assert!(network.lines().nth(1).unwrap().starts_with("10."), "{network}");
    let read_only = mesh.run(&["exec", "web", "--", "sh", "-c", "touch /usr/new /etc/passwd"]);
    assert_ne!(read_only.status.code(), Some(0), "the host's files can be written");
}

#[test]
fn the_exit_code_and_input_of_exec_are_passed_on() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    mesh.up();
    assert_eq!(mesh.run(&["exec", "web", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
    let mut cat = mesh.command(&["exec", "-i", "web", "--", "cat"]);
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut cat.stdin.take().unwrap(), b"to and fro").unwrap();
    assert_eq!(cat.wait_with_output().unwrap().stdout, b"to and fro");
}

#[test]
fn apply_says_what_changed_and_a_changed_deployment_is_rolled() {
    let mesh = Mesh::new(&deployment(1, "v1"));
    mesh.up();
    let before = mesh.ok(&["get", "pods", "-o", "name"]);
    let unchanged = mesh.apply(&deployment(1, "v1"));
    assert_eq!(String::from_utf8_lossy(&unchanged.stdout), "deployment.apps/web unchanged\n");
    let configured = mesh.apply(&deployment(2, "v2"));
    assert_eq!(String::from_utf8_lossy(&configured.stdout), "deployment.apps/web configured\n");
    until("the rollout", || {
        let pods = mesh.ok(&["get", "pods", "-l", "version=v2"]);
        pods.matches("1/1     Running").count() == 2
            && !mesh.ok(&["get", "pods", "-o", "name"]).contains(before.trim())
    });
    mesh.ok(&["delete", "deployment", "web"]);
    until("the end of the pods", || mesh.ok(&["get", "pods"]).is_empty());
    assert!(mesh.fails(&["get", "deployment", "web"]).contains("not found"));
}

#[test]
fn probes_decide_readiness_and_restart() {
    let yaml = pod(
        "web",
        "command: [sh, -c, 'sleep 1000 & wait']\nreadinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}\n\
         livenessProbe: {exec: {command: [test, '!', -e, /tmp/ill]}, periodSeconds: 1, failureThreshold: 1}",
    );
    let mesh = Mesh::new("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    mesh.up();
    assert!(mesh.apply(&yaml).status.success());
    until("the start", || mesh.ok(&["get", "pods"]).contains("0/1     Running"));
    mesh.exec("web", "touch /tmp/ready");
    until("readiness", || mesh.ok(&["get", "pods"]).contains("1/1     Running"));
    mesh.exec("web", "rm /tmp/ready; touch /tmp/ill");
    until("the restart", || mesh.ok(&["get", "pods"]).contains("Running   1"));

    // The grace period of the probe, not the pod's.
    let deaf = "command: [sh, -c, 'trap : TERM; while :; do sleep 1; done']\nlivenessProbe: {exec: {command: [test, '!', -e, \
                /tmp/ill]}, periodSeconds: 1, failureThreshold: 1, terminationGracePeriodSeconds: 1}";
    let deaf = pod("deaf", deaf)
        .replace("terminationGracePeriodSeconds: 1\n", "terminationGracePeriodSeconds: 600\n");
    assert!(deaf.contains("600"));
    assert!(mesh.apply(&deaf).status.success());
    let shows = |expected: [&str; 2]| {
        let table = mesh.ok(&["get", "pods"]);
        // Ready, status, restarts.
        let of = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        table.lines().map(of).any(|line| line[0] == "deaf" && [&line[1], &line[3]] == expected)
    };
    until("the start", || shows(["1/1", "0"]));
    mesh.exec("deaf", "touch /tmp/ill");
    until("the restart of the deaf one", || shows(["0/1", "1"]));
}

#[test]
fn jobs_run_to_their_end_and_stateful_pods_have_names() {
    let yaml = "\
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: app, command: [sh, -c, 'echo done']}
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 5432}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: app, command: [sleep, '1000']}
";
    let mesh = Mesh::new(yaml);
    mesh.up();
    assert!(mesh.ok(&["get", "jobs"]).contains("1/1"));
    assert_eq!(mesh.ok(&["logs", "job/once"]), "done\n");
    let address = mesh.exec("db-0", "getent hosts db-1.db");
    assert!(address.contains("db-1.db.default.svc.cluster.local"), "{address}");
}

/// A container that writes its hook and its end to a log.
fn noted(name: &str, sidecar: bool, hook: &str) -> String {
    let restart = if sidecar { ", restartPolicy: Always" } else { "" };
    format!(
        "  - {{name: {name}{restart}, volumeMounts: [{{name: out, mountPath: /out}}],
    command: [sh, -c, 'trap \"echo {name} ends >> /out/log; exit\" TERM; touch /out/{name}; while :; do sleep 0.05; done'],
    lifecycle: {{preStop: {{exec: {{command: [sh, -c, 'echo {name} begins to end >> /out/log; {hook}']}}}}}}}}
"
    )
}

#[test]
fn all_hooks_run_when_a_pod_begins_to_end_and_sidecars_end_after_the_app_in_reverse_order() {
    let mesh = Mesh::new("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    let out = mesh.path("out");
    std::fs::create_dir(&out).unwrap();
    mesh.up();
    // The application's hook waits until the sidecars have begun to end.
    let all_begun = "until test $(grep -c begins /out/log) = 3; do sleep 0.05; done";
    let yaml = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  terminationGracePeriodSeconds: 60\n  \
         volumes: [{{name: out, hostPath: {{path: {}}}}}]\n  initContainers:\n{}{}  containers:\n{}",
        out.display(),
        noted("first", true, ":"),
        noted("second", true, ":"),
        noted("app", false, all_begun)
    );
    let log = || {
        let text = std::fs::read_to_string(out.join("log")).unwrap_or_default();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let begun = lines.len().min(3);
        lines[..begun].sort();
        lines
    };
    assert!(mesh.apply(&yaml).status.success());
    until("the app runs", || out.join("app").exists());
    mesh.ok(&["delete", "pod", "web"]);
    until("the pod's end", || mesh.ok(&["get", "pods"]).is_empty());
    let in_order = [
        "app begins to end",
        "first begins to end",
        "second begins to end",
        "app ends",
        "second ends",
        "first ends",
    ];
    assert_eq!(log(), in_order);

    // If the application ends by itself, the sidecars begin to end at that moment.
    for name in ["log", "app"] {
        std::fs::remove_file(out.join(name)).unwrap();
    }
    let (head, _) = yaml.split_once("  containers:").unwrap();
    let done = "  containers:\n  - {name: app, command: [sh, -c, 'exit 0']}\n  restartPolicy: Never\n";
    assert!(mesh.apply(&format!("{head}{done}")).status.success());
    until("the sidecars' end", || log().len() == 4);
    assert_eq!(log(), ["first begins to end", "second begins to end", "second ends", "first ends"]);
    until("success", || mesh.ok(&["get", "pods"]).contains("Completed"));
}

#[test]
fn a_second_mesh_in_the_same_folder_is_refused() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    mesh.up();
    let words = mesh.fails(&["up", mesh.path("yaml").to_str().unwrap()]);
    assert!(
        words.contains(&format!("process {}", mesh.supervisor())) && words.contains("ostria down"),
        "{words}"
    );
    assert!(mesh.ok(&["status"]).contains("10.244.0.2"));
}

#[test]
fn down_leaves_nothing_behind() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    mesh.up();
    let children = mesh.children();
    assert!(!children.is_empty() && children.iter().all(|pid| runs(*pid)));
    mesh.ok(&["down"]);
    assert!(!mesh.path("home/state").exists());
    assert!(!children.iter().any(|pid| runs(*pid)), "a process is left");
    assert!(mesh.fails(&["status"]).contains("no mesh is running"));
}

#[test]
fn a_killed_mesh_ends_its_pods_and_its_remains_are_removed() {
    for cleaner in ["up", "down"] {
        let mesh = Mesh::new(&pod("web", SLEEP));
        mesh.up();
        let children = mesh.children();
        let supervisor = nix::unistd::Pid::from_raw(mesh.supervisor());
        nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).unwrap();
        until("the end of all processes", || !children.iter().any(|pid| runs(*pid)));
        assert!(mesh.path("home/state/lock.json").exists());
        if cleaner == "up" {
            mesh.up();
            assert!(mesh.ok(&["get", "pods"]).contains("1/1"));
        } else {
            mesh.ok(&["down"]);
            assert!(!mesh.path("home/state").exists());
        }
    }
}

#[test]
fn a_mesh_is_taken_down_when_its_test_is_killed() {
    const CHILD: &str = "OSTRIA_TEST_IS_KILLED";
    if std::env::var_os(CHILD).is_some() {
        let mesh = Mesh::new(&pod("web", SLEEP));
        mesh.up();
        println!("started {} {}", mesh.supervisor(), mesh.path("home").display());
        std::thread::sleep(std::time::Duration::from_secs(1000));
    }
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_mesh_is_taken_down_when_its_test_is_killed", "--nocapture"])
        .env(CHILD, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.split_once("started ").map(|(_, rest)| rest.to_owned())).unwrap();
    let (supervisor, home) = line.split_once(' ').unwrap();
    let supervisor = supervisor.parse().unwrap();
    assert!(runs(supervisor));
    test.kill().unwrap();
    test.wait().unwrap();
    until("the end of the supervisor", || !runs(supervisor) && !Path::new(home).exists());
}

#[test]
fn a_terminated_mesh_ends_in_time_even_if_a_pod_ignores_the_signal() {
    let mesh = Mesh::new(
        &pod("web", "command: [sh, -c, \"trap '' TERM; while true; do sleep 1; done\"]")
            .replace("GracePeriodSeconds: 1", "GracePeriodSeconds: 30"),
    );
    mesh.up();
    let children = mesh.children();
    mesh.ok(&["down"]);
    assert!(!children.iter().any(|pid| runs(*pid)));
}

#[test]
fn problems_are_reported_before_anything_starts() {
    let cases = [
        (pod("web", "image: nginx"), "spec.containers[0].command", "beside `ostria` or on PATH"),
        (pod("web", "command: [nonesuch]"), "program nonesuch", "install the program"),
        (format!("{0}---\n{0}", pod("web", SLEEP)), "Pod default/web", "all.yaml"),
        (pod("web", SLEEP).replace("containers:", "contaners:"), "contaners", "all.yaml"),
        ("kind: [".into(), "all.yaml", "next:"),
        (
            pod("web", SLEEP).replace("name: web", "name: web, namespace: nowhere"),
            "namespace nowhere not found",
            "Namespace",
        ),
        ("apiVersion: v1\nkind: Pot\nmetadata: {name: x}\n".into(), "Pot", "next:"),
    ];
    for (yaml, place, next) in cases {
        let mesh = Mesh::new(&yaml);
        let gateway = format!("127.0.0.1:{}", port::free());
        let words = mesh.fails(&["up", mesh.path("yaml").to_str().unwrap(), "--gateway", &gateway]);
        assert!(words.contains(place) && words.contains(next), "{yaml}\n{words}");
        assert!(!mesh.path("home/state").exists(), "something is left: {words}");
    }
}

#[test]
fn a_gateway_port_in_use_is_named() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let words = mesh.fails(&["up", mesh.path("yaml").to_str().unwrap(), "--gateway", &address]);
    assert!(words.contains(&address) && words.contains("--gateway 127.0.0.1:PORT"), "{words}");
    assert!(!mesh.path("home/state").exists());
}

#[test]
fn a_missing_control_plane_is_reported_if_a_pod_needs_a_sidecar() {
    let mesh = Mesh::new(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n",
    );
    let words = mesh.fails(&["up", mesh.path("yaml").to_str().unwrap()]);
    assert!(words.contains("ostria-pilot"), "{words}");
}

#[test]
fn an_invalid_change_changes_nothing() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    mesh.up();
    let both = format!("{}---\n{}", pod("other", SLEEP), pod("bad", "command: [nonesuch]"));
    let result = mesh.apply(&both);
    assert_eq!(result.status.code(), Some(1));
    let words = String::from_utf8_lossy(&result.stderr).into_owned();
    assert!(words.contains("Pod default/bad") && words.contains("nothing was changed"), "{words}");
    assert!(!mesh.ok(&["get", "pods"]).contains("other"));
}

#[test]
fn a_user_without_root_privileges_can_run_pods() {
    if !is_root() {
        // As such a user, all tests of this file already run in a user namespace.
        return;
    }
    let mesh = Mesh::owned_by(&pod("web", SLEEP), true);
    let table = mesh.up();
    assert!(table.contains("10.244.0.2   1/1"), "{table}");
    assert!(mesh.exec("web", "ip -brief addr show eth0").contains("10.244.0.2"));
    let words = mesh.fails(&[
        "up",
        "--egress",
        "--state",
        mesh.path("home/two").to_str().unwrap(),
        mesh.path("yaml").to_str().unwrap(),
    ]);
    assert!(words.contains("sudo") || words.contains("cannot be opened"), "{words}");
    mesh.ok(&["down"]);
    assert!(!mesh.path("home/state").exists());
}
