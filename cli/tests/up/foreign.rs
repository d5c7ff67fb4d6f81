//! State folders of other users: their content is neither trusted nor changed.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::process::{Child, Command};

use crate::harness::{Mesh, SLEEP, is_root, pod};

/// A process whose id a forged lock contains.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    /// A lock in `ostria`'s format, with this process as supervisor and child.
    fn lock(&self) -> String {
        use std::os::unix::fs::MetadataExt;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let started = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_string();
        let program = std::fs::metadata(format!("/proc/{}/exe", self.0.id())).unwrap();
        let process = format!("{{\"pid\":{},\"started\":{started}}}", self.0.id());
        format!(
            "{{\"supervisor\":{process},\"children\":[{process}],\"programs\":[{{\"device\":{},\"inode\":{}}}],\
             \"gateway\":\"\",\"egress\":false}}",
            program.dev(),
            program.ino()
        )
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_lock_that_others_can_write_never_ends_a_process() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    let mut victim = Victim::new();
    let state = mesh.path("home/state");
    let yaml = mesh.path("yaml").display().to_string();
    let plant = |folder_mode: u32, file_mode: u32| {
        let _ = std::fs::remove_dir_all(&state);
        std::fs::create_dir(&state).unwrap();
        std::fs::write(state.join("lock.json"), victim.lock()).unwrap();
        std::fs::set_permissions(state.join("lock.json"), PermissionsExt::from_mode(file_mode)).unwrap();
        std::fs::set_permissions(&state, PermissionsExt::from_mode(folder_mode)).unwrap();
    };
    for (folder, file) in [(0o777, 0o600), (0o770, 0o600), (0o700, 0o666), (0o1777, 0o644)] {
        plant(folder, file);
        for verb in [&["down"][..], &["up", &yaml], &["status"]] {
            let words = mesh.fails(verb);
            assert!(words.contains("can be written by other users"), "{verb:?} {folder:o} {file:o}: {words}");
        }
        assert!(state.join("lock.json").exists());
    }
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::remove_dir_all(&state).unwrap();
    assert!(victim.lives());
}

#[test]
fn a_lock_of_another_user_or_a_planted_link_never_ends_a_process() {
    if !is_root() {
        return;
    }
    let mesh = Mesh::new(&pod("web", SLEEP));
    let mut victim = Victim::new();
    let yaml = mesh.path("yaml").display().to_string();
    let state = mesh.path("home/state");
    let elsewhere = mesh.path("home/elsewhere");
    for folder in [&state, &elsewhere] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("lock.json"), victim.lock()).unwrap();
    }
    let refused = |words: &str| {
        for verb in [&["down"][..], &["up", &yaml], &["status"]] {
            let found = mesh.fails(verb);
            assert!(found.contains(words), "{verb:?}: {found}");
        }
    };
    chown(&state, Some(1234), None).unwrap();
    refused("belongs to user 1234");
    chown(&state, Some(0), None).unwrap();
    chown(state.join("lock.json"), Some(1234), None).unwrap();
    refused("belongs to user 1234");
    std::fs::remove_file(state.join("lock.json")).unwrap();
    symlink(elsewhere.join("lock.json"), state.join("lock.json")).unwrap();
    refused("link");
    std::fs::remove_dir_all(&state).unwrap();
    symlink(&elsewhere, &state).unwrap();
    refused("is not a folder");
    assert!(elsewhere.join("lock.json").exists() && victim.lives());
    std::fs::remove_file(&state).unwrap();
}

#[test]
fn a_reused_process_id_is_not_ended() {
    let mesh = Mesh::new(&pod("web", SLEEP));
    let mut victim = Victim::new();
    let state = mesh.path("home/state");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    // The start time is right, but the program is another one.
    let lock = victim.lock();
    let forged = format!(
        "{}\"inode\":1}}],{}",
        lock.split("\"inode\"").next().unwrap(),
        "\"gateway\":\"\",\"egress\":false}"
    );
    std::fs::write(state.join("lock.json"), forged).unwrap();
    assert!(mesh.ok(&["down"]).contains("removed the remains of a killed mesh"));
    assert!(victim.lives() && !state.exists());
}
