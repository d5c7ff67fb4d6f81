//! Drops what a container's process must not have: capabilities, other users' ids, and system calls.

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

use crate::inside::{Error, filter, kernel};
use crate::wire::Launch;

/// Switches to the container's user and keeps only the container's capabilities. This cannot be undone.
pub fn become_user(launch: &Launch) -> Result<(), Error> {
    let kept = CapabilitySet::from_bits_retain(launch.capabilities);
    // All 64 bits are dropped, because the kernel may have capabilities that have no name here.
    for bit in (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit)).filter(|bit| !kept.contains(*bit))
    {
        match remove_capability_from_bounding_set(bit) {
            // The kernel has no capability with this number.
            Err(Errno::INVAL) => {}
            result => result.map_err(errno("limiting capabilities"))?,
        }
    }
    if launch.user.is_some() || launch.group.is_some() || !launch.groups.is_empty() {
        let user = Uid::from_raw(launch.user.unwrap_or(0));
        let group = Gid::from_raw(launch.group.unwrap_or(0));
        let groups: Vec<Gid> = launch.groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).map_err(kernel("changing groups"))?;
        setresgid(group, group, group).map_err(kernel(format!("becoming group {group}")))?;
        setresuid(user, user, user).map_err(kernel(format!("becoming user {user}")))?;
    }
    // A user other than root has no capabilities left at this point, as in Kubernetes.
    let have = capabilities(None).map_err(errno("reading capabilities"))?.permitted;
    let kept = have & kept;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(errno("dropping capabilities"))?;
    clear_ambient_capability_set().map_err(errno("dropping capabilities"))?;
    filter::apply()
}

fn errno(step: &'static str) -> impl FnOnce(Errno) -> Error {
    move |error| kernel(step)(nix::errno::Errno::from_raw(error.raw_os_error()))
}
