//! Pure. Decides whether this machine allows control groups (cgroup v2) that enforce limits, and where; if not, what is
//! missing.

use std::path::{Path, PathBuf};

use crate::kubelet::mountinfo::Mounted;

/// What decides whether control groups can be used.
pub struct Machine<'a> {
    /// The kernel's list of mounts.
    pub mounts: &'a [Mounted],
    /// The groups of this process (`/proc/self/cgroup`).
    pub own: &'a str,
    /// The id of this process.
    pub process: u32,
    /// Whether this process runs as root.
    pub is_root: bool,
    /// Reads a file.
    pub read: &'a dyn Fn(&Path) -> Option<String>,
    /// Returns whether a file can be written, or a folder can be changed.
    pub can_write: &'a dyn Fn(&Path) -> bool,
}

/// Why limits cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing.
    pub reason: String,
    /// How to get it.
    pub next: String,
}

impl Lack {
    fn new(reason: impl Into<String>, next: impl Into<String>) -> Self {
        Self { reason: reason.into(), next: next.into() }
    }

    /// The kernel refused a group. `is_busy` says whether because of processes in the base.
    pub fn refused(base: &Path, error: &str, is_busy: bool) -> Self {
        if is_busy {
            let reason = format!("control group {} also contains other processes", base.display());
            return Self::new(
                reason,
                "run the command in a group of its own: systemd-run --scope -p Delegate=yes",
            );
        }
        Self::new(format!("a control group cannot be created: {error}"), "run the command with sudo")
    }
}

/// The group below which a mesh creates its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Its folder.
    pub folder: PathBuf,
    /// Whether this process is in it and has to leave it before its children can have limits.
    pub is_own: bool,
}

/// Finds the base: for root the top of the hierarchy, for other users the group of this process if it was delegated to
/// them.
pub fn base(machine: &Machine<'_>) -> Result<Base, Lack> {
    let unified = machine.mounts.iter().filter(|mount| mount.kind == "cgroup2");
    let Some(mount) = unified.min_by_key(|mount| mount.root.components().count()) else {
        if in_v1(machine.mounts, &CONTROLLERS) {
            return Err(v1(&CONTROLLERS));
        }
        let next = "mount it: mount -t cgroup2 none /sys/fs/cgroup";
        return Err(Lack::new("no cgroup v2 file system is mounted", next));
    };
    let folder = if machine.is_root { mount.point.clone() } else { own_folder(mount, machine.own) };
    let missing = missing(machine, &folder);
    if in_v1(machine.mounts, &missing) {
        return Err(v1(&missing));
    }
    if !missing.is_empty() && (machine.is_root || !self::missing(machine, &mount.point).is_empty()) {
        return Err(Lack::new(
            format!("{} lacks the controllers {}", folder.display(), missing.join(" and ")),
            "start a kernel that has them; some need the kernel parameter cgroup_enable=memory",
        ));
    }
    if mount.has("ro") {
        return Err(Lack::new(
            format!("{} is mounted read-only, as in a container", mount.point.display()),
            "run the command outside of the container, or give the container --privileged",
        ));
    }
    let needed = ["", "cgroup.procs", "cgroup.subtree_control"].map(|file| folder.join(file));
    if !missing.is_empty() || !needed.iter().all(|path| (machine.can_write)(path)) {
        return Err(Lack::new(
            format!("control group {} is not delegated to this user with its controllers", folder.display()),
            "run the command with sudo, or as systemd-run --user --scope -p Delegate=yes ostria up; if the \
             controllers are missing then, Delegate=cpu memory in a drop-in of user@.service gives them",
        ));
    }
    // The top group of the machine, which has no type, may contain processes beside groups with limits.
    let is_top = (machine.read)(&folder.join("cgroup.type")).is_none();
    let processes = (machine.read)(&folder.join("cgroup.procs")).unwrap_or_default();
    let is_own = !is_top && processes.lines().any(|line| line.parse() == Ok(machine.process));
    Ok(Base { folder, is_own })
}

/// The needed controllers that a group does not have.
fn missing(machine: &Machine<'_>, folder: &Path) -> Vec<&'static str> {
    let there = (machine.read)(&folder.join("cgroup.controllers")).unwrap_or_default();
    CONTROLLERS.into_iter().filter(|name| !there.split_whitespace().any(|one| one == *name)).collect()
}

/// Whether a hierarchy of cgroup v1 has one of the controllers.
fn in_v1(mounts: &[Mounted], controllers: &[&str]) -> bool {
    let v1 = mounts.iter().filter(|mount| mount.kind == "cgroup");
    v1.flat_map(|mount| mount.data.split(',')).any(|option| controllers.contains(&option))
}

fn v1(controllers: &[&str]) -> Lack {
    Lack::new(
        format!("cgroup v1 has the controllers {}", controllers.join(" and ")),
        "start the machine with the kernel parameter cgroup_no_v1=all; with systemd, also \
         systemd.unified_cgroup_hierarchy=1",
    )
}

/// The folder of this process's group.
fn own_folder(mount: &Mounted, own: &str) -> PathBuf {
    let path = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
    mount.point.join(below)
}

const CONTROLLERS: [&str; 2] = ["cpu", "memory"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubelet::mountinfo::parse;
    use std::collections::BTreeMap;

    const V2: &str = "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "\
31 22 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 22 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
33 22 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
";
    const TOP: &str = "/sys/fs/cgroup";
    const SCOPE: &str = "/sys/fs/cgroup/user.slice/run.scope";

    /// The decision for a machine with these mounts and files. `writable` is the folder that can be written.
    fn decide(mounts: &str, own: &str, files: &[(&str, &str)], writable: &str) -> Result<Base, String> {
        let files: BTreeMap<PathBuf, String> =
            files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_string())).collect();
        let machine = Machine {
            mounts: &parse(mounts),
            own,
            process: 7,
            is_root: writable == "root",
            read: &|path| files.get(path).cloned(),
            can_write: &|path| writable == "root" || path.starts_with(writable),
        };
        base(&machine).map_err(|lack| format!("{}; {}", lack.reason, lack.next))
    }

    fn refused(result: Result<Base, String>, words: [&str; 2]) {
        let found = result.unwrap_err();
        assert!(words.iter().all(|word| found.contains(word)), "{found}");
    }

    #[test]
    fn root_uses_the_top_of_the_hierarchy_and_leaves_it_in_a_namespace() {
        let controllers = ("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
        let processes = ("/sys/fs/cgroup/cgroup.procs", "1\n7\n");
        let base = |is_own| Ok(Base { folder: TOP.into(), is_own });
        assert_eq!(decide(V2, "0::/user.slice\n", &[controllers, processes], "root"), base(false));
        let kind = ("/sys/fs/cgroup/cgroup.type", "domain\n");
        assert_eq!(decide(V2, "0::/\n", &[controllers, processes, kind], "root"), base(true));
        let others = ("/sys/fs/cgroup/cgroup.procs", "1\n77\n");
        assert_eq!(decide(V2, "0::/app\n", &[controllers, others, kind], "root"), base(false));
    }

    #[test]
    fn a_user_uses_the_group_that_was_delegated() {
        let own = "1:name=systemd:/x\n0::/user.slice/run.scope\n";
        let top = ("/sys/fs/cgroup/cgroup.controllers", "cpu memory\n");
        let file = |name: &str| format!("{SCOPE}/{name}");
        let (list, processes, kind) = (file("cgroup.controllers"), file("cgroup.procs"), file("cgroup.type"));
        let files = [top, (&list, "cpu memory\n"), (&processes, "7\n"), (&kind, "domain\n")];
        assert_eq!(decide(V2, own, &files, SCOPE), Ok(Base { folder: SCOPE.into(), is_own: true }));
        refused(decide(V2, own, &files, "/home"), ["run.scope is not delegated", "Delegate=yes"]);
        let without = [top, (&list, "memory pids\n"), (&processes, "7\n"), (&kind, "domain\n")];
        refused(decide(V2, own, &without, SCOPE), ["is not delegated", "Delegate=cpu memory"]);
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        let of = |mounts: &str, controllers: &str| {
            let files = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
            let files = files.map(|folder| format!("{folder}/cgroup.controllers"));
            let files: Vec<_> = files.iter().map(|file| (file.as_str(), controllers)).collect();
            decide(mounts, "0::/\n", &files, "root")
        };
        refused(of("", ""), ["no cgroup v2 file system is mounted", "mount -t cgroup2"]);
        refused(
            of(HYBRID, "hugetlb\n"),
            ["cgroup v1 has the controllers cpu and memory", "cgroup_no_v1=all"],
        );
        refused(of(HYBRID, "cpu\n"), ["cgroup v1 has the controllers memory", "cgroup_no_v1=all"]);
        let v1 = HYBRID.lines().take(2).collect::<Vec<_>>().join("\n");
        refused(of(&v1, ""), ["cgroup v1 has the controllers cpu and memory", "unified_cgroup_hierarchy=1"]);
        refused(
            of(V2, "cpuset cpu io\n"),
            ["/sys/fs/cgroup lacks the controllers memory", "cgroup_enable=memory"],
        );
        let read_only = V2.replace(" rw,nosuid", " ro,nosuid");
        refused(of(&read_only, "cpu memory\n"), ["mounted read-only", "--privileged"]);
    }

    #[test]
    fn a_base_with_other_processes_is_distinguished_from_other_refusals() {
        let busy = Lack::refused(Path::new("/c"), "", true);
        assert!(
            busy.reason.contains("/c also contains other processes") && busy.next.contains("systemd-run")
        );
        let other = Lack::refused(Path::new("/c"), "/c/m: Permission denied", false);
        assert!(other.reason.ends_with("/c/m: Permission denied"), "{}", other.reason);
    }
}
