//! Tests of the verbs on a running mesh: selectors, output formats, rollouts, events, port forwarding, logs, and the
//! end of `up` and `down`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use crate::harness::{Mesh, SLEEP, deployment, pod, until};
use tests::port;

#[test]
fn objects_are_selected_and_printed_as_by_kubectl() {
    let mesh = Mesh::new(&[pod("a", SLEEP), pod("b", SLEEP), deployment(1, "v1")].join("---\n"));
    mesh.up();
    let names = |selector: &str| {
        let text =
            mesh.ok(&["get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.labels.app}"]);
        let mut names: Vec<String> = text.split_whitespace().map(str::to_string).collect();
        names.sort_unstable();
        names.join(" ")
    };
    for (selector, expected) in [
        ("app in (a,b)", "a b"),
        ("app notin (a,b)", "web"),
        ("app!=a", "b web"),
        ("!version", "a b"),
        ("version", "web"),
        ("app=a,!version", "a"),
        ("app=none", ""),
    ] {
        assert_eq!(names(selector), expected, "{selector}");
    }
    assert!(mesh.fails(&["get", "pods", "-l", "app in"]).contains("expected: '('"));
    assert_eq!(mesh.ok(&["get", "pods", "--field-selector", "metadata.name=a", "-o", "name"]), "pod/a\n");
    assert_eq!(mesh.ok(&["get", "pod/a", "deploy/web", "-o", "name"]), "pod/a\ndeployment.apps/web\n");
    let all = mesh.ok(&["get", "all", "--show-labels"]);
    assert!(all.contains("pod/a ") && all.contains("deployment.apps/web ") && all.contains("app=a"), "{all}");
    let columns = mesh.ok(&[
        "get",
        "pods",
        "--sort-by",
        ".metadata.name",
        "-o",
        "custom-columns=N:.metadata.name,P:.status.phase",
    ]);
    assert!(columns.starts_with('N'), "{columns}");
    let second: Vec<&str> = columns.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(second, ["a", "Running"]);
    let words = mesh.fails(&["get", "pods", "a", "none"]);
    assert!(words.contains("pods \"none\" not found"), "{words}");
}

#[test]
fn a_watch_reports_created_and_deleted_objects() {
    let mesh = Mesh::new(&pod("a", SLEEP));
    mesh.up();
    let mut watch =
        mesh.command(&["get", "pods", "-w", "-o", "name"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("pod/a"));
    assert!(mesh.apply(&pod("b", SLEEP)).status.success());
    assert_eq!(lines.find(|line| line == "pod/b").as_deref(), Some("pod/b"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn rollouts_are_followed_repeated_and_undone() {
    let mesh = Mesh::new(&deployment(1, "v1"));
    mesh.up();
    let version =
        || mesh.ok(&["get", "deploy", "web", "-o", "jsonpath={.spec.template.metadata.labels.version}"]);
    assert!(mesh.apply(&deployment(1, "v2")).status.success());
    let words = mesh.ok(&["rollout", "status", "deployment/web", "--timeout", "30s"]);
    assert!(words.ends_with("deployment \"web\" successfully rolled out\n"), "{words}");
    let history = mesh.ok(&["rollout", "history", "deployment/web"]);
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    assert_eq!(mesh.ok(&["rollout", "undo", "deployment/web"]), "deployment.apps/web rolled back\n");
    assert_eq!(version(), "v1");
    assert!(mesh.fails(&["rollout", "undo", "deployment/web", "--to-revision", "9"]).contains("revision 9"));
    mesh.ok(&["rollout", "status", "deploy", "web", "--timeout", "30s"]);
    let before = mesh.ok(&["get", "pods", "-o", "name"]);
    assert_eq!(mesh.ok(&["rollout", "restart", "deployment/web"]), "deployment.apps/web restarted\n");
    mesh.ok(&["rollout", "status", "deployment/web", "--timeout", "30s"]);
    until("other pods", || !mesh.ok(&["get", "pods", "-o", "name"]).contains(before.trim()));
    assert_eq!(mesh.ok(&["scale", "deployment/web", "--replicas=2"]), "deployment.apps/web scaled\n");
    mesh.ok(&["rollout", "status", "deployment/web", "--timeout", "30s"]);
    assert_eq!(mesh.ok(&["get", "deploy/web", "-o", "jsonpath={.status.readyReplicas}"]), "2");
    let events = mesh.ok(&["events", "--for", "deployment/web"]);
    assert!(events.contains("SuccessfulCreate"), "{events}");
    assert!(mesh.ok(&["get", "events"]).contains("Started container app"));
}

#[test]
fn a_forwarded_port_leads_into_the_pod() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        // Without Python, most machines have no program that can listen on a given port.
        return;
    }
    let server = "import socket\ns = socket.create_server(('127.0.0.1', 7000))\nwhile True:\n  c, _ = s.accept()\n  \
                  c.sendall(b'hello ' + c.recv(100))\n  c.close()";
    let container = format!("command: [python3, -c, {}]", serde_json::to_string(server).unwrap());
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec:\n  selector: {app: web}\n  \
                   ports: [{port: 80, targetPort: 7000}]\n";
    let mesh = Mesh::new(&(pod("web", &container) + service));
    mesh.up();
    let port = port::free();
    let mapping = format!("{port}:80");
    let mut forward =
        mesh.command(&["port-forward", "svc/web", &mapping]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(forward.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("Forwarding from 127.0.0.1:{port} -> 7000\n"));
    let mut echoed = String::new();
    until("the server", || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(b"you").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).is_ok() && text == "hello you"
    });
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"again").unwrap();
    stream.read_to_string(&mut echoed).unwrap();
    assert_eq!(echoed, "hello again");
    forward.kill().unwrap();
    forward.wait().unwrap();
}

#[test]
fn logs_of_several_pods_are_prefixed_and_the_last_logs_are_kept() {
    let mesh = Mesh::new(
        &[
            pod("a", "command: [sh, -c, 'echo one; sleep 1000']"),
            pod("b", "command: [sh, -c, 'echo two; sleep 1000']"),
        ]
        .join("---\n"),
    );
    mesh.up();
    until("the output", || {
        let text = mesh.ok(&["logs", "-l", "app in (a,b)", "--prefix"]);
        text == "[pod/a/app] one\n[pod/b/app] two\n"
    });
    assert_eq!(mesh.ok(&["logs", "a", "--since", "10m"]), "one\n");
    mesh.ok(&["down"]);
    assert!(mesh.fails(&["logs", "a"]).contains("no mesh is running"));
    assert_eq!(mesh.ok(&["logs", "a", "--previous"]), "one\n");
    assert!(mesh.fails(&["logs", "c", "--previous"]).contains("default_a_app"));
}

#[test]
fn a_detached_start_fails_and_reports_a_crash_loop() {
    let mesh = Mesh::new(&pod("web", "command: [sh, -c, 'exit 3']"));
    let gateway = format!("127.0.0.1:{}", port::free());
    let folder = mesh.path("yaml");
    let started = mesh.run(&["up", "-d", folder.to_str().unwrap(), "--gateway", &gateway, "--wait", "3s"]);
    let words = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(1), "{words}");
    assert!(words.contains("pod web") && words.contains("exit code 3"), "{words}");
    let text = String::from_utf8_lossy(&started.stdout).into_owned();
    assert!(!text.contains("Open ") && text.contains("--state "), "{text}");
    assert!(mesh.ok(&["get", "pods"]).contains("CrashLoopBackOff"));
    let events = mesh.ok(&["events", "--types=Warning"]);
    assert!(events.contains("BackOff"), "{events}");
}

#[test]
fn an_unknown_log_level_is_refused_with_the_list_of_levels() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    let words = mesh.fails(&["up", "--log-level", "loud", mesh.path("yaml").to_str().unwrap()]);
    assert!(words.contains("write error, warn, info, debug, trace"), "{words}");
}

#[test]
fn a_folder_with_copies_is_deleted_and_missing_objects_are_named() {
    let mesh = Mesh::new(&pod("a", SLEEP));
    mesh.up();
    let folder = mesh.path("copies");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("one.yaml"), pod("a", SLEEP)).unwrap();
    std::fs::write(folder.join("two.yaml"), pod("a", "command: [sleep, \"2000\"]")).unwrap();
    std::os::unix::fs::symlink("one.yaml", folder.join("three.yaml")).unwrap();
    std::fs::write(folder.join("none.yaml"), pod("none", SLEEP)).unwrap();
    let path = folder.to_str().unwrap();
    let result = mesh.run(&["delete", "-f", path]);
    assert_eq!(String::from_utf8_lossy(&result.stdout), "pod/a deleted\n");
    assert_eq!(result.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&result.stderr).contains("Pod default/none"));
    assert!(mesh.run(&["delete", "-f", path, "--ignore-not-found"]).status.success());
}

#[test]
fn changes_are_printed_for_scripts_and_errors_say_what_to_do_next() {
    let mesh = Mesh::new(&pod("a", SLEEP));
    mesh.up();
    let note =
        |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{k: v}}\n");
    let file = mesh.path("yaml/all.yaml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, note("one")).unwrap();
    assert_eq!(mesh.ok(&["apply", "-f", path, "--dry-run=server", "-o", "name"]), "configmap/one\n");
    let parsed = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let stored = parsed(mesh.ok(&["apply", "-f", path, "-o", "json"]));
    assert!(stored["metadata"]["uid"].is_string() && stored["data"]["k"] == "v", "{stored}");
    std::fs::write(&file, [note("one"), note("two")].join("---\n")).unwrap();
    let both = parsed(mesh.ok(&["apply", "-f", path, "-o", "json"]));
    assert_eq!((&both["kind"], both["items"].as_array().unwrap().len()), (&"List".into(), 2), "{both}");
    let shown = mesh.ok(&["describe", "cm/one", "cm/two"]);
    let names = shown.lines().filter_map(|line| line.strip_prefix("Name:")).map(str::trim);
    assert_eq!(names.collect::<Vec<_>>(), ["one", "two"], "{shown}");
    assert_eq!(mesh.ok(&["delete", "cm", "one", "two", "-o", "name"]), "configmap/one\nconfigmap/two\n");

    for line in [
        &["get", "cm", "one"][..],
        &["get", "nonesuch"],
        &["describe", "cm", "one"],
        &["describe", "pod/a", "nonesuch/b"],
        &["logs", "b"],
        &["logs", "a", "-c", "b"],
        &["logs", "a", "--previous"],
        &["exec", "b", "--", "true"],
        &["port-forward", "svc/b", "80"],
        &["port-forward", "b", "80"],
        &["scale", "deploy/b", "--replicas=1"],
        &["scale", "pod/a", "--replicas=1"],
        &["rollout", "status", "deploy/b"],
        &["delete", "cm", "one"],
        &["proxy-config", "routes", "a"],
        &["proxy-status", "a"],
    ] {
        let words = mesh.fails(line);
        assert!(words.contains("\n  next: "), "{line:?}: {words}");
    }
    let output = mesh.run(&["proxy-status", "a"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("pod a has no proxy"));
}

#[test]
fn the_content_of_a_secret_is_in_no_message_and_no_log() {
    let mesh = Mesh::new(&pod("a", SLEEP));
    mesh.up();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {k: s3cret-word}\n";
    let applied = mesh.apply(secret);
    assert!(applied.status.success());
    // The second object is refused, and with it the whole request.
    let refused = mesh.apply(
        &[secret.replace("word", "word-2").as_str(), &pod("bad", "command: [nonesuch]")].join("---\n"),
    );
    assert!(!refused.status.success());
    let mut texts = vec![applied.stdout, applied.stderr, refused.stdout, refused.stderr];
    texts.push(mesh.ok(&["describe", "secret", "key"]).into_bytes());
    texts.push(mesh.ok(&["events", "-A", "-o", "json"]).into_bytes());
    let folder = mesh.path("home/state/logs");
    let logs = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    texts.extend(logs.filter(|path| path.is_file()).map(|path| std::fs::read(path).unwrap()));
    for text in texts {
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("s3cret-word"), "{text}");
    }
}
