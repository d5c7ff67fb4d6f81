//! Captures every frame on the node's network, which connects the pods.

use std::path::Path;
use std::time::Duration;

use crate::program::Running;
use crate::wait;

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    running: Running,
    ready: std::path::PathBuf,
}

impl Capture {
    /// Starts to capture in the network namespace of a process. `probe` is the path of this crate's program.
    pub fn start(node: u32, probe: &Path, folder: &Path) -> Self {
        let ready = folder.join("capture-is-ready");
        let running = enter(node, probe, &["capture", &ready.display().to_string()]);
        wait::until("the capture begins", Duration::from_secs(10), || {
            if ready.exists() { Ok(()) } else { Err("no packet socket yet".into()) }
        });
        Self { running, ready }
    }

    /// Stops the capture and returns all captured bytes.
    pub fn stop(self) -> Vec<u8> {
        let outcome = self.running.finish(Duration::from_secs(20));
        assert_eq!(outcome.code, 0, "the capture failed: {}", outcome.err);
        let _ = std::fs::remove_file(self.ready);
        outcome.out
    }
}

/// Fetches a page from inside the pods' network, as Prometheus would.
pub fn fetch(node: u32, probe: &Path, url: &str) -> String {
    enter(node, probe, &["get", url]).finish(Duration::from_secs(20)).text()
}

/// Whether `all` contains `part`.
pub fn contains(all: &[u8], part: &[u8]) -> bool {
    all.windows(part.len()).any(|window| window == part)
}

/// Starts a program inside the network namespace of a process.
pub fn enter(node: u32, program: &Path, arguments: &[&str]) -> Running {
    let target = node.to_string();
    let mut line = vec!["--target", &target, "--net"];
    if !nix::unistd::geteuid().is_root() {
        line.extend(["--user", "--preserve-credentials"]);
    }
    let program = program.display().to_string();
    line.extend(["--", &program]);
    line.extend(arguments);
    Running::start(Path::new("nsenter"), &line, &[])
}

/// Starts a program in its own network namespace, which ends with it; the process ID is the program's.
pub fn alone(program: &Path, arguments: &[&str]) -> Running {
    let mut line = vec!["--net"];
    if !nix::unistd::geteuid().is_root() {
        line.extend(["--user", "--map-root-user"]);
    }
    let program = program.display().to_string();
    line.extend(["sh", "-c", "ip link set lo up && exec \"$0\" \"$@\"", &program]);
    line.extend(arguments);
    Running::start(Path::new("unshare"), &line, &[])
}
