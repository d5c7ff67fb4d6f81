//! Full disks: a mesh says once what it cannot write, works as far as it can, and recovers.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tests::port;

use crate::harness::{Mesh, SLEEP, is_root, pod, until};

/// A disk of 512 KiB at the mesh's home. Only processes in its mount namespace see it.
struct Disk<'a> {
    mesh: &'a Mesh,
    /// Holds the mount namespace, and with it the disk.
    holder: Child,
}

impl<'a> Disk<'a> {
    fn new(mesh: &'a Mesh) -> Self {
        let home = mesh.path("home");
        let script = format!("mount -t tmpfs -o size=512k disk {} && exec cat", home.display());
        let holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mounts = format!("/proc/{}/mounts", holder.id());
        until("the disk", || {
            std::fs::read_to_string(&mounts).is_ok_and(|mounts| mounts.contains(home.to_str().unwrap()))
        });
        Self { mesh, holder }
    }

    /// A command that sees the disk.
    fn on(&self, command: &Command) -> Command {
        within(self.holder.id(), command)
    }

    fn ostria(&self, arguments: &[&str]) -> Output {
        self.on(&self.mesh.command(arguments)).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.ostria(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn apply(&self, name: &str) -> Output {
        let file = self.mesh.path("yaml/all.yaml");
        std::fs::write(&file, pod(name, SLEEP)).unwrap();
        self.ostria(&["apply", "-f", file.to_str().unwrap()])
    }

    fn runs(&self, name: &str) -> bool {
        let pods = self.ok(&["get", "pods"]);
        pods.lines().any(|line| line.starts_with(name) && line.contains("1/1     Running"))
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The command in the mount namespace of a process.
fn within(process: u32, command: &Command) -> Command {
    let mut inside = Command::new("nsenter");
    inside.args(["--target", &process.to_string(), "--mount", "--"]);
    inside.arg(command.get_program()).args(command.get_args());
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside
}

fn shell(process: u32, script: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    within(process, &command).output().unwrap()
}

/// Fills the file system of a folder.
fn fill(process: u32, folder: &str) {
    let full = shell(process, &format!("cat /dev/zero > {folder}/fill"));
    let words = String::from_utf8_lossy(&full.stderr).into_owned();
    assert!(words.contains("No space left"), "{words}");
}

/// A mesh in the foreground. It ends with the test.
struct Foreground {
    child: Child,
    errors: PathBuf,
}

impl Foreground {
    fn up(disk: &Disk<'_>) -> Self {
        let mesh = disk.mesh;
        let errors = mesh.path("errors");
        let gateway = format!("127.0.0.1:{}", port::free());
        let up = mesh.command(&["up", mesh.path("yaml").to_str().unwrap(), "--gateway", &gateway]);
        let mut guarded = Command::new(up.get_program());
        guarded.args(["guard", "--parent", &std::process::id().to_string(), "--"]);
        guarded.arg(up.get_program()).args(up.get_args());
        guarded.envs(up.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut command = disk.on(&guarded);
        let summary = mesh.path("summary");
        command.stdin(Stdio::null()).stdout(std::fs::File::create(&summary).unwrap());
        let child = command.stderr(std::fs::File::create(&errors).unwrap()).spawn().unwrap();
        let up = Self { child, errors };
        // The start is over, with the lock written, when the summary is printed.
        until("the start", || std::fs::read_to_string(&summary).is_ok_and(|text| text.contains("NAME")));
        up
    }

    /// How often a text is in the output for errors.
    fn count(&self, text: &str) -> usize {
        std::fs::read_to_string(&self.errors).unwrap().matches(text).count()
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_mesh_on_a_full_disk_is_not_started_and_says_why_once() {
    if !is_root() {
        return;
    }
    let mesh = Mesh::new(&pod("web", SLEEP));
    let disk = Disk::new(&mesh);
    let home = mesh.path("home").display().to_string();
    fill(disk.holder.id(), &home);
    let gateway = format!("127.0.0.1:{}", port::free());
    let output = disk.ostria(&["up", mesh.path("yaml").to_str().unwrap(), "--gateway", &gateway]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{words}");
    assert_eq!(words.matches("No space left on device").count(), 1, "{words}");
    assert!(words.contains(&format!("{home}/state")) && words.contains("--state"), "{words}");
    let left = shell(disk.holder.id(), &format!("ls {home}"));
    assert_eq!(String::from_utf8_lossy(&left.stdout), "fill\n");
}

#[test]
fn a_disk_that_fills_while_the_mesh_runs_is_one_error_and_pods_start_still() {
    if !is_root() {
        return;
    }
    let mesh = Mesh::new(&pod("web", SLEEP));
    let disk = Disk::new(&mesh);
    let up = Foreground::up(&disk);
    assert!(disk.runs("web"));
    let home = mesh.path("home").display().to_string();
    fill(disk.holder.id(), &home);
    for name in ["second", "third", "fourth"] {
        let applied = disk.apply(name);
        assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        until("another pod", || disk.runs(name));
    }
    let unwritten = "the state folder cannot be written";
    until("the error", || up.count(unwritten) > 0);
    assert_eq!((up.count(unwritten), up.count("No space left on device")), (1, 1));
    shell(disk.holder.id(), &format!("rm {home}/fill"));
    assert!(disk.apply("fifth").status.success());
    // A pod that still starts writes files, and removes some.
    until("the fifth pod", || disk.runs("fifth"));
    until("the recovery", || up.count("the state folder can be written again") == 1);
    assert_eq!(up.count(unwritten), 1);

    // Objects, keys and tokens are on a tmpfs of the mesh.
    let lock = shell(disk.holder.id(), &format!("cat {home}/state/lock.json"));
    let lock: serde_json::Value = serde_json::from_slice(&lock.stdout).unwrap();
    let supervisor = u32::try_from(lock["supervisor"]["pid"].as_u64().unwrap()).unwrap();
    let private = format!("{home}/state/private");
    shell(supervisor, &format!("mount -o remount,size=4m {private}"));
    fill(supervisor, &private);
    let refused = disk.apply("sixth");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{words}");
    assert_eq!(words.matches("No space left on device").count(), 1, "{words}");
    assert!(words.contains("nothing was changed") && !disk.ok(&["get", "pods"]).contains("sixth"), "{words}");
    shell(supervisor, &format!("rm {private}/fill"));
    let applied = disk.apply("sixth");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    until("the pod that was refused", || disk.runs("sixth"));
    disk.ok(&["down"]);
}
