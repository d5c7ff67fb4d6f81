//! Creates a pod's namespaces, starts the pod's first process in them and waits for it.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::sethostname;

use crate::inside::{Error, file, guard, kernel};
use crate::wire::{Report, SELF, Sandbox};

/// Creates the namespaces, starts the pod's first process and exits when that process exits.
pub fn run(spec: &Path) -> Result<(), Error> {
    guard::tie(None)?;
    let text = std::fs::read(spec).map_err(file("reading the pod's description"))?;
    let sandbox: Sandbox = serde_json::from_slice(&text).map_err(Error::Order)?;
    let flags = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWPID;
    unshare(flags).map_err(kernel("creating the pod's namespaces"))?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)
        .map_err(kernel("making the pod's mounts private"))?;
    sethostname(&sandbox.hostname).map_err(kernel("setting the pod's host name"))?;
    without_automatic_addresses()?;
    for (name, value) in &sandbox.sysctls {
        let place = Path::new("/proc/sys").join(name.replace('.', "/"));
        std::fs::write(&place, value).map_err(file(format!("setting {name} to {value}")))?;
    }
    let mut first = Command::new(SELF)
        .arg0("ostria")
        .arg("pod-init")
        .spawn()
        .map_err(file("starting the pod's first process"))?;
    let line = serde_json::to_string(&Report::Ready { pid: first.id() }).expect("a report is plain data");
    writeln!(std::io::stdout(), "{line}").map_err(file("reporting to the supervisor"))?;
    first.wait().map(drop).map_err(file("waiting for the pod's first process"))
}

/// Disables automatic IPv6 addresses on the pod's interface. With them, pods could reach each other and bypass
/// Services, the node and policies for IPv4 addresses. The loopback interface keeps `::1`.
fn without_automatic_addresses() -> Result<(), Error> {
    for (setting, value) in [("addr_gen_mode", NO_LINK_LOCAL), ("accept_ra", "0")] {
        let path = format!("/proc/sys/net/ipv6/conf/default/{setting}");
        match std::fs::write(&path, value) {
            // A kernel without IPv6 assigns no IPv6 addresses.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => result.map_err(file(format!("setting {path}")))?,
        }
    }
    Ok(())
}

/// The value of `IN6_ADDR_GEN_MODE_NONE`.
const NO_LINK_LOCAL: &str = "1";
