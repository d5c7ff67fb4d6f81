//! Starts a separate mesh for each test, with the commands of a user.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tests::cleanup::{quoted, when_killed};
use tests::port;

/// A mesh with its folders. Dropping it takes the mesh down.
pub(crate) struct Mesh {
    folder: tempfile::TempDir,
    as_user: bool,
}

impl Mesh {
    pub(crate) fn new(yaml: &str) -> Self {
        Self::owned_by(yaml, false)
    }

    pub(crate) fn owned_by(yaml: &str, as_user: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "home", "yaml"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let own = Path::new(env!("CARGO_BIN_EXE_ostria"));
        let linked = folder.path().join("bin/ostria");
        std::fs::hard_link(own, &linked).or_else(|_| std::fs::copy(own, &linked).map(drop)).unwrap();
        std::fs::write(folder.path().join("yaml/all.yaml"), yaml).unwrap();
        if as_user {
            // Only the folders change their owner. The program below them stays the file that was built.
            for name in ["", "home", "yaml", "yaml/all.yaml"] {
                let path = folder.path().join(name);
                nix::unistd::chown(&path, Some(65534.into()), Some(65534.into())).unwrap();
            }
        }
        let mesh = Self { folder, as_user };
        mesh.down_when_killed();
        mesh
    }

    /// Takes the mesh down if the test is killed. A detached mesh outlives the process that started it.
    fn down_when_killed(&self) {
        let down = self.command(&["down"]);
        let words: Vec<_> = std::iter::once(down.get_program()).chain(down.get_args()).map(quoted).collect();
        let state = quoted(self.path("home/state"));
        let (line, folder) = (words.join(" "), quoted(self.folder.path()));
        when_killed(&format!("test -e {state} && {line}; rm -rf {folder}"));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let own = self.path("bin/ostria");
        let mut command = if self.as_user {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(own);
            command
        } else {
            Command::new(own)
        };
        command
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("--state")
            .arg(self.path("home/state"))
            .args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must fail.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    pub(crate) fn up(&self) -> String {
        let gateway = format!("127.0.0.1:{}", port::free());
        self.ok(&["up", "-d", self.path("yaml").to_str().unwrap(), "--gateway", &gateway])
    }

    pub(crate) fn exec(&self, pod: &str, script: &str) -> String {
        self.ok(&["exec", pod, "--", "sh", "-c", script])
    }

    pub(crate) fn apply(&self, yaml: &str) -> Output {
        let file = self.path("yaml/all.yaml");
        std::fs::write(&file, yaml).unwrap();
        self.run(&["apply", "-f", file.to_str().unwrap()])
    }

    pub(crate) fn supervisor(&self) -> i32 {
        let lock = std::fs::read(self.path("home/state/lock.json")).unwrap();
        let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
        i32::try_from(lock["supervisor"]["pid"].as_i64().unwrap()).unwrap()
    }

    pub(crate) fn children(&self) -> Vec<u64> {
        let lock = std::fs::read(self.path("home/state/lock.json")).unwrap();
        let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
        lock["children"].as_array().unwrap().iter().map(|child| child["pid"].as_u64().unwrap()).collect()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        let _ = self.run(&["down"]);
    }
}

/// Waits until `holds` returns true; fails after ten seconds.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{what} does not come to hold");
}

pub(crate) fn runs(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub(crate) fn pod(name: &str, container: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\nspec:\n  \
         terminationGracePeriodSeconds: 1\n  containers:\n  - name: app\n{}\n",
        container.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
    )
}

pub(crate) fn deployment(replicas: u32, version: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: {replicas}\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web, version: {version}}}}}\n    \
         spec:\n      terminationGracePeriodSeconds: 1\n      containers:\n      - name: app\n        \
         command: [sleep, \"1000\"]\n"
    )
}

pub(crate) const SLEEP: &str = "command: [sleep, \"1000\"]";
