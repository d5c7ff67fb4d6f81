//! Moves the supervisor out of the host's network: creates the node's namespaces while this process has one thread.
//! What must stay on the host is opened before: the gateway's listeners, and a helper process for the host's side of
//! the network.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use crate::failure::Failure;
use crate::inside::seal;
use crate::state::State;
use crate::wire::SELF;

/// The node's namespaces, and the abilities of this machine.
#[derive(Debug)]
pub struct Node {
    /// Whether containers can run as several users.
    pub users: bool,
    /// Listeners on the host for ports 80 and 443 of the gateway.
    pub listeners: Vec<(u16, TcpListener)>,
    /// A helper process in the host's network namespace.
    host: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut host) = self.host.take() {
            // The helper cleans up when its input ends. Wait until it has ended.
            drop(host.stdin.take());
            let _ = host.wait();
        }
    }
}

/// Opens listeners on the host. The failure names the port that is in use.
pub fn listen(
    gateway: SocketAddr,
    gateway_https: Option<SocketAddr>,
) -> Result<Vec<(u16, TcpListener)>, Failure> {
    let open = |port: u16, address: SocketAddr, flag: &str| {
        let listener =
            TcpListener::bind(address).and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        listener.map(|listener| (port, listener)).map_err(|error| {
            Failure::blocked(
                format!("the gateway's address {address} cannot be opened: {error}"),
                format!(
                    "stop the program that uses the port, or choose another port with {flag} 127.0.0.1:PORT"
                ),
            )
        })
    };
    let mut listeners = vec![open(80, gateway, "--gateway")?];
    if let Some(address) = gateway_https {
        listeners.push(open(443, address, "--gateway-https")?);
    }
    Ok(listeners)
}

/// Unmounts the private folder, so that the state folder can be removed. The kernel frees the tmpfs with the last pod.
pub fn give_up_private(state: &State) {
    // If the mesh ended before the folder was mounted, there is nothing to unmount.
    let _ = umount2(&state.private(), MntFlags::MNT_DETACH);
}

/// Checks that the programs that the node needs exist.
pub fn require_programs(find: &dyn Fn(&str) -> bool) -> Result<(), Failure> {
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        if !find(program) {
            return Err(Failure::blocked(
                format!("program {program} is not on PATH"),
                format!("install it: apt-get install {package}"),
            ));
        }
    }
    Ok(())
}

/// Creates the node's namespaces and moves this process into them.
pub fn enter(state: &State, listeners: Vec<(u16, TcpListener)>, egress: bool) -> Result<Node, Failure> {
    let root = geteuid().is_root();
    if egress && !root {
        return Err(Failure::blocked(
            "--egress needs root: only root can join the pods' network to the host's",
            "remove --egress, or run the command with sudo",
        ));
    }
    let mut node = Node { users: true, listeners, host: None };
    if egress {
        node.host = Some(helper(EGRESS)?);
    }
    if root {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).map_err(|error| refused(error, true))?;
    } else {
        node.users = map_users()?;
    }
    private(state.private().as_path()).map_err(|error| {
        Failure::blocked(format!("a private folder for the pods cannot be mounted: {error}"), NEXT_ROOT)
    })?;
    show_own_program(&state.own_program())?;
    if let Some(host) = node.host.as_mut() {
        confirm(host, "the pods' network cannot be joined to the host's")?;
    }
    Ok(node)
}

/// Creates a user namespace. Returns whether it has more than one user.
fn map_users() -> Result<bool, Failure> {
    let (user, group) = (geteuid(), getegid());
    let ranged = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join("newuidmap").is_file())
        && range("/etc/subuid").is_some()
        && range("/etc/subgid").is_some();
    let mut mapper = None;
    if ranged {
        let (users, groups) =
            (range("/etc/subuid").unwrap_or_default(), range("/etc/subgid").unwrap_or_default());
        mapper = Some(helper(&format!(
            "newuidmap $PPID 0 {user} 1 1 {} {} && newgidmap $PPID 0 {group} 1 1 {} {} && echo done",
            users.0, users.1, groups.0, groups.1
        ))?);
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .map_err(|error| refused(error, false))?;
    if let Some(mut mapper) = mapper
        && confirm(&mut mapper, "users cannot be mapped").is_ok()
    {
        let _ = mapper.wait();
        return Ok(true);
    }
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), text).map_err(|error| {
            Failure::blocked(format!("the user namespace's {file} cannot be written: {error}"), NEXT_ROOT)
        })
    };
    write("uid_map", format!("0 {user} 1"))?;
    write("setgroups", "deny".into())?;
    write("gid_map", format!("0 {group} 1"))?;
    Ok(false)
}

/// The first id and the number of this user's subordinate ids.
fn range(file: &str) -> Option<(u32, u32)> {
    let user = nix::unistd::User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    let text = std::fs::read_to_string(file).ok()?;
    ranges(&text, user.as_deref(), geteuid().as_raw())
}

fn ranges(text: &str, name: Option<&str>, id: u32) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut parts = line.split(':');
        let owner = parts.next()?;
        if Some(owner) != name && owner.parse() != Ok(id) {
            return None;
        }
        Some((parts.next()?.trim().parse().ok()?, parts.next()?.trim().parse().ok()?))
    })
}

fn private(folder: &Path) -> std::io::Result<()> {
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    mount(Some("ostria"), folder, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0711"))?;
    for name in ["pods", "root", "empty"] {
        std::fs::create_dir(folder.join(name))?;
    }
    std::fs::DirBuilder::new().mode(0o700).create(folder.join("config"))?;
    Ok(())
}

/// Mounts this program read-only at a place that no pod can write to. Everything that runs in a pod before the pod's
/// own program is started from there: through `/proc/self/exe`, a process can open the file of its program on the mount
/// from which it was started.
fn show_own_program(place: &Path) -> Result<(), Failure> {
    let shown = own_program()
        .and_then(|own| {
            std::fs::File::create(place)?;
            let nothing: Option<&str> = None;
            Ok(mount(Some(&own), place, nothing, MsFlags::MS_BIND, nothing)?)
        })
        .map_err(|error| error.to_string())
        .and_then(|()| seal::make_read_only(place).map_err(|error| error.to_string()));
    shown.map_err(|error| {
        Failure::blocked(
            format!("the `ostria` program cannot be mounted read-only: {error}"),
            "run the command again",
        )
    })
}

/// The path of this program in this mount namespace. `/proc/self/exe` refers to the mount namespace in which the
/// program was started, and cannot be bind-mounted from there.
fn own_program() -> std::io::Result<PathBuf> {
    let path = std::fs::read_link(SELF)?;
    let own = std::fs::metadata(SELF)?;
    let same = |found: std::fs::Metadata| (own.dev(), own.ino()) == (found.dev(), found.ino());
    if std::fs::metadata(&path).is_ok_and(same) {
        return Ok(path);
    }
    Err(std::io::Error::other(format!("{} has been replaced or removed", path.display())))
}

fn refused(error: Errno, root: bool) -> Failure {
    let missing = if root {
        "the kernel does not let this root user create network namespaces (CAP_SYS_ADMIN is missing, as in a container)"
    } else {
        "the kernel does not let this user create user namespaces"
    };
    let next = if root {
        "run it outside of the container, or give the container --privileged"
    } else {
        "run the command with sudo, or allow them: sysctl kernel.unprivileged_userns_clone=1, \
         sysctl kernel.apparmor_restrict_unprivileged_userns=0, sysctl user.max_user_namespaces=10000"
    };
    Failure::blocked(format!("{missing}: {error}"), next)
}

/// Starts a shell that stays on the host. It waits for a line, runs its script and prints `done`.
fn helper(script: &str) -> Result<Child, Failure> {
    Command::new("sh")
        .args(["-c", &format!("read -r go || exit 0\n{script}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::blocked(format!("program sh cannot be started: {error}"), "install a shell")
        })
}

fn confirm(child: &mut Child, reason: &str) -> Result<(), Failure> {
    let mut line = String::new();
    let sent = child.stdin.as_mut().is_some_and(|input| input.write_all(b"go\n").is_ok());
    let received =
        child.stdout.as_mut().is_some_and(|output| BufReader::new(output).read_line(&mut line).is_ok());
    if sent && received && line.trim() == "done" {
        Ok(())
    } else {
        Err(Failure::blocked(format!("{reason}: see the message above"), NEXT_ROOT))
    }
}

/// The host's side of `--egress`: one link into the node, with NAT for the pods' addresses. The script removes it when
/// its input ends.
const EGRESS: &str = "set -e
ip link add ostria-host type veth peer name ostria-out netns $PPID
ip addr add 169.254.244.1/30 dev ostria-host
ip link set ostria-host up
was=$(cat /proc/sys/net/ipv4/ip_forward)
echo 1 > /proc/sys/net/ipv4/ip_forward
nft -f - <<END
table ip ostria-egress
delete table ip ostria-egress
table ip ostria-egress {
  chain post { type nat hook postrouting priority 100; ip saddr 169.254.244.2 masquerade; }
}
END
echo done
exec 2> /dev/null
cat > /dev/null
nft delete table ip ostria-egress
echo $was > /proc/sys/net/ipv4/ip_forward
ip link del ostria-host 2>/dev/null || true";

const NEXT_ROOT: &str = "run the command with sudo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_or_number() {
        let text = "alice:100000:65536\n1001:200000:1000\n";
        assert_eq!(ranges(text, Some("alice"), 1000), Some((100_000, 65_536)));
        assert_eq!(ranges(text, Some("bob"), 1001), Some((200_000, 1000)));
        assert_eq!(ranges(text, Some("carol"), 1002), None);
    }

    #[test]
    fn a_port_in_use_names_the_flag_that_changes_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let failure = listen(taken.local_addr().unwrap(), None).unwrap_err().to_string();
        assert!(
            failure.contains("cannot be opened") && failure.contains("--gateway 127.0.0.1:PORT"),
            "{failure}"
        );
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let failure = require_programs(&|program| program == "ip").unwrap_err().to_string();
        assert!(failure.contains("nft") && failure.contains("nftables"), "{failure}");
    }
}
