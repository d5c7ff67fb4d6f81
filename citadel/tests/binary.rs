//! The program as an operator starts and stops it.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostria-citadel"));
    command.env_clear();
    command
}

#[test]
fn wrong_settings_end_it_with_64_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let output = program()
        .args(["--root-dir", root.to_str().unwrap(), "--port", "x"])
        .env("OSTRIA_MAX_TTL", "soon")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    for flag in ["--port", "--max-ttl", "--token-issuer", "--token-jwks"] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
    assert!(!root.exists());
    assert_eq!(program().arg("--unknown").output().unwrap().status.code(), Some(64));
    assert_eq!(program().arg("--version").output().unwrap().status.code(), Some(0));
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = program()
        .args(["--root-dir", folder.path().join("root").to_str().unwrap(), "--address", "127.0.0.1"])
        .args(["--port", &port])
        .args(["--token-issuer", "i", "--token-jwks", "/keys.json"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&port) && text.contains("choose another --port"), "{text}");
    assert!(!folder.path().join("root").exists());
}

#[test]
fn it_exits_with_success_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, r#"{"keys":[]}"#).unwrap();
    let mut child = program()
        .args(["--root-dir", folder.path().join("root").to_str().unwrap(), "--address", "127.0.0.1"])
        .args([
            "--port",
            "0",
            "--http-port",
            "0",
            "--token-issuer",
            "i",
            "--token-jwks",
            keys.to_str().unwrap(),
        ])
        .args(["--log-as-json"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tests::cleanup::end_when_killed(child.id());
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains("listening")).unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["grpc"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    tests::program::terminate(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(!rest.iter().any(|line| line.contains("PRIVATE KEY")));
}

/// The root folder and the folder of the published root, each on a disk of its own in a private mount namespace.
struct Disks {
    folder: tempfile::TempDir,
}

impl Disks {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["root", "published"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("keys.json"), r#"{"keys":[]}"#).unwrap();
        Self { folder }
    }

    /// Runs a shell script in mounts of its own: `$0` is the folder, `$@` the program with its flags.
    fn start(&self, script: &str) -> Child {
        let folder = self.folder.path().display().to_string();
        let mut command = Command::new("unshare");
        // Without privileges the mounts need a user namespace, of which the caller is root.
        let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        command.args(if is_root { &["--mount"][..] } else { &["--user", "--map-root-user", "--mount"] });
        command.args(["sh", "-c", script, &folder]);
        command.args([env!("CARGO_BIN_EXE_ostria-citadel"), "--address", "127.0.0.1"]);
        command.args(["--port", "0", "--http-port", "0", "--token-issuer", "i"]);
        command.args([
            "--token-jwks",
            &format!("{folder}/keys.json"),
            "--root-dir",
            &format!("{folder}/root"),
        ]);
        command.args(["--publish-root", &format!("{folder}/published/root-cert.pem")]);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        tests::cleanup::end_when_killed(child.id());
        child
    }

    /// The error when it does not start, and the content of the root folder afterwards.
    fn refusal(&self, mounts: &str) -> String {
        let script = format!("{mounts} && \"$@\"; code=$?; echo \"left:\" $(ls -A $0/root) >&2; exit $code");
        let output = self.start(&script).wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(!text.contains("PRIVATE KEY"), "{text}");
        text
    }
}

#[test]
fn a_full_or_read_only_disk_is_reported_and_no_partial_file_remains() {
    let table = [
        // Room for two of the four files.
        ("mount -t tmpfs -o size=8k none $0/root", "a new root cannot be written", "No space left on device"),
        ("mount -t tmpfs -o ro none $0/root", "a new root cannot be written", "Read-only file system"),
        ("mount -t tmpfs -o ro none $0/published", "cannot be published", "Read-only file system"),
    ];
    for (mounts, what, why) in table {
        let disks = Disks::new();
        let text = disks.refusal(mounts);
        let next = if mounts.ends_with("root") {
            "choose another --root-dir"
        } else {
            "choose another --publish-root"
        };
        for part in [what, why, next] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let left = text.lines().find_map(|line| line.strip_prefix("left:")).unwrap();
        let whole = !mounts.ends_with("root") && left.matches(".pem").count() == 4;
        assert!(whole || !left.contains(".pem"), "half a root was left: {text}");
    }
}

/// A running program and its output.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn of(mut child: Child) -> Self {
        let (sender, lines) = channel();
        let output = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// The next line of output with this part.
    fn until(&self, part: &str) -> String {
        let mut seen = vec![];
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(30)) {
            if line.contains(part) {
                return line;
            }
            seen.push(line);
        }
        panic!("it does not say `{part}`: {seen:#?}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_rotation_on_a_full_disk_is_retried_and_the_old_root_stays_in_force() {
    let disks = Disks::new();
    let running = Running::of(disks.start("mount -t tmpfs -o size=64k none $0/published && exec \"$@\""));
    running.until("listening");
    let own = disks.folder.path().strip_prefix("/").unwrap();
    let inside = Path::new("/proc").join(running.child.id().to_string()).join("root").join(own);
    let published = || std::fs::read_to_string(inside.join("published/root-cert.pem")).unwrap();
    let old = published();
    let filling = std::fs::write(inside.join("published/fill"), vec![0; 128 << 10]);
    assert!(filling.is_err(), "the disk is full");

    let now = time::OffsetDateTime::now_utc();
    let next = citadel::root::create::self_signed(&"cluster.local".parse().unwrap(), &[9], now).unwrap();
    for (name, text) in [
        ("ca-cert.pem", &next.certificate),
        ("ca-key.pem", &next.key),
        ("root-cert.pem", &format!("{}{old}", next.roots)),
    ] {
        std::fs::write(disks.folder.path().join("root").join(name), text).unwrap();
    }
    let key = disks.folder.path().join("root/ca-key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let line = running.until("others on this machine can read the signing key");
    assert!(line.contains("root/ca-key.pem") && line.contains("644") && line.contains("chmod 600"), "{line}");
    let line = running.until("cannot be published");
    for part in [
        "the old root stays in force",
        "published/root-cert.pem",
        "No space left on device",
        "--publish-root",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(published(), old, "the published root is whole");
    let left: Vec<_> = std::fs::read_dir(inside.join("published"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");

    std::fs::remove_file(inside.join("published/fill")).unwrap();
    running.until("the signing certificate was replaced");
    assert!(published().starts_with(next.roots.trim()), "{}", published());
    assert_eq!(published().matches("BEGIN CERTIFICATE").count(), 2, "old and new overlap");
}

#[test]
fn a_root_that_is_damaged_is_named_by_file_and_left_as_it_is() {
    let now = time::OffsetDateTime::now_utc();
    let made = citadel::root::create::self_signed(&"cluster.local".parse().unwrap(), &[9], now).unwrap();
    let half = |text: &str| text[..text.len() / 2].to_owned();
    let table = [
        ("ca-cert.pem", String::new(), "ca-cert.pem: invalid PEM"),
        ("ca-cert.pem", half(&made.certificate), "ca-cert.pem: invalid PEM"),
        ("ca-key.pem", half(&made.key), "ca-key.pem: invalid PEM"),
        ("root-cert.pem", "\0".repeat(500), "root-cert.pem: invalid PEM"),
    ];
    for (name, text, reason) in table {
        let disks = Disks::new();
        let root = disks.folder.path().join("root");
        for (name, text) in
            [("ca-cert.pem", &made.certificate), ("ca-key.pem", &made.key), ("root-cert.pem", &made.roots)]
        {
            std::fs::write(root.join(name), text).unwrap();
        }
        std::fs::write(root.join(name), &text).unwrap();
        let message = disks.refusal("true");
        for part in [reason, "correct the file, or empty the folder", &root.display().to_string()] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(std::fs::read_to_string(root.join(name)).unwrap(), text, "{name} was touched");
        assert!(!disks.folder.path().join("published/root-cert.pem").exists(), "{name}");
    }
}
