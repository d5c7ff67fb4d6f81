//! The system call filter of containers: the calls that the default profile of container runtimes forbids. It is a
//! second line of defence behind the capabilities: a program that gains capabilities still cannot make these calls.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter, sock_filter,
};

use crate::inside::{Error, file};

/// Filters the system calls of this process and its future children, and sets `no_new_privs`.
pub fn apply() -> Result<(), Error> {
    let wrong = |error: &dyn std::fmt::Display| std::io::Error::other(error.to_string());
    let step = || file("filtering system calls");
    let denied = denied().map_err(|error| wrong(&error)).map_err(step())?;
    apply_filter(&denied).map_err(|error| wrong(&error)).map_err(step())?;
    apply_filter(&absent()).map_err(|error| wrong(&error)).map_err(step())
}

/// The filter for forbidden calls, which return EPERM.
fn denied() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, vec![])).collect();
    let spaces: Result<Vec<SeccompRule>, _> =
        NAMESPACES.iter().map(|flag| rule([(0, Compare::MaskedEq(*flag), *flag)])).collect();
    rules.insert(libc::SYS_clone, spaces?);
    let word = Compare::MaskedEq(0xffff_ffff);
    rules.insert(
        libc::SYS_ioctl,
        vec![rule([(1, word.clone(), TIOCSTI)])?, rule([(1, word.clone(), TIOCLINUX)])?],
    );
    rules.insert(libc::SYS_socket, vec![rule([(0, word, libc::AF_VSOCK as u64)])?]);
    let personalities = PERSONALITIES.map(|known| (0, Compare::Ne, known));
    rules.insert(libc::SYS_personality, vec![rule(personalities)?]);
    let architecture = std::env::consts::ARCH.try_into()?;
    let forbid = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, forbid, architecture)?.try_into()
}

/// A rule that matches if all of these conditions on a call's arguments hold.
fn rule<const N: usize>(
    conditions: [(u8, Compare, u64); N],
) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions = conditions.into_iter().map(|(argument, compare, value)| {
        let length = if value > u64::from(u32::MAX) { Length::Qword } else { Length::Dword };
        SeccompCondition::new(argument, length, compare, value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

/// The filter for calls that return ENOSYS, as if the kernel did not implement them. Programs then use an older call
/// whose arguments a filter can read: clone instead of clone3. It covers calls that are more recent than this file, and
/// the x32 interface, whose numbers start at 2^30.
fn absent() -> [sock_filter; 5] {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_GREATER: u16 = 0x25;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    [
        step(LOAD_NUMBER, 0, 0, 0),
        step(JUMP_IF_EQUAL, 2, 0, libc::SYS_clone3 as u32),
        step(JUMP_IF_GREATER, 1, 0, NEWEST),
        step(RETURN, 0, 0, ALLOW),
        step(RETURN, 0, 0, ERRNO | libc::ENOSYS as u32),
    ]
}

/// `mseal` of Linux 6.10. Its number is the same on all supported architectures.
const NEWEST: u32 = 462;

/// Calls for mounts, namespaces, keys, modules, clocks, other processes' memory, and others that change or reveal the
/// state of the machine.
const DENIED: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
];

/// The flags of clone that make namespaces.
const NAMESPACES: [u64; 7] = [
    libc::CLONE_NEWNS as u64,
    libc::CLONE_NEWCGROUP as u64,
    libc::CLONE_NEWUTS as u64,
    libc::CLONE_NEWIPC as u64,
    libc::CLONE_NEWUSER as u64,
    libc::CLONE_NEWPID as u64,
    libc::CLONE_NEWNET as u64,
];

/// Ioctls that insert characters into a terminal's input, and that control a console's selection.
const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;

/// The allowed personalities: Linux and 32-bit Linux, both with and without the reported version 2.6, and the query.
const PERSONALITIES: [u64; 5] = [0, 8, 0x20000, 0x20008, 0xffff_ffff];
