//! A pod's first process: it starts processes as the supervisor orders, reports their ends and reaps orphans. When the
//! supervisor has gone, the input ends; then this process ends, and with it the kernel ends all processes of the pod.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, Write};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::beneath;
use crate::inside::{Error, file, guard, kernel};
use crate::kubelet::address::hardware;
use crate::wire::{Order, Report, SELF};

/// Executes orders until the input ends.
pub fn run() -> Result<(), Error> {
    guard::tie(None)?;
    // Not dumpable, because this process sees the node's files: processes of the pod must not ptrace it or read them
    // through `/proc`.
    prctl::set_dumpable(false).map_err(kernel("protecting the process from other users"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let nothing: Option<&str> = None;
    mount(Some("proc"), "/proc", Some("proc"), flags, nothing).map_err(kernel("mounting /proc for a pod"))?;
    let children = Arc::new(Children::default());
    let reaper = Arc::clone(&children);
    std::thread::spawn(move || reaper.reap());
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(file("reading the supervisor's orders"))?;
        let order = serde_json::from_str(&line).map_err(Error::Order)?;
        follow(order, &children);
    }
    Ok(())
}

fn follow(order: Order, children: &Children) {
    let (id, result) = match order {
        Order::Network { address, gateway } => ("network".to_string(), network(address, gateway)),
        Order::Start { id, launch, log, shared } => {
            let view = if shared { View::Pod } else { View::Own };
            let result = start(&launch, &log).and_then(|command| children.spawn(&id, command, view));
            (id, result)
        }
        Order::Attach { id, launch, socket, beside } => {
            let result = children.view(&beside).and_then(|view| {
                attach(&launch, &socket).and_then(|command| children.spawn(&id, command, view))
            });
            (id, result)
        }
        Order::Signal { id, signal } => {
            children.signal(&id, signal);
            return;
        }
    };
    if let Err(error) = result {
        report(&Report::Failed { id, reason: error.to_string() });
    }
}

fn network(address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), Error> {
    // The node is the pod's only neighbour: it routes packets and translates services. A static entry for its hardware
    // address makes neighbour discovery on the link unnecessary.
    let batch = format!(
        "link set lo up\naddr add {address}/32 dev eth0\nlink set eth0 up\n\
         neigh replace {gateway} lladdr {} nud permanent dev eth0\n\
         route add {gateway} dev eth0 scope link\nroute add default via {gateway}\n",
        hardware(gateway)
    );
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(file("running `ip`"))?;
    ip.stdin.take().expect("input is piped").write_all(batch.as_bytes()).map_err(file("writing to `ip`"))?;
    // The reaper may collect the exit status first, so the result is read from the interface.
    let _ = ip.wait();
    let routes = std::fs::read_to_string("/proc/self/net/route").map_err(file("reading the pod's routes"))?;
    if routes.lines().filter(|line| line.starts_with("eth0")).count() < 2 {
        return Err(Error::Kernel { step: "giving the pod its address".into(), source: Errno::ENETUNREACH });
    }
    report(&Report::Connected);
    Ok(())
}

fn start(launch: &Path, log: &Path) -> Result<Command, Error> {
    let output = beneath::append(log).map_err(file("opening the log"))?;
    let errors = output.try_clone().map_err(file("opening the log"))?;
    let mut command = container(launch);
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    Ok(command)
}

fn attach(launch: &Path, socket: &Path) -> Result<Command, Error> {
    let connect =
        || UnixStream::connect(socket).map(OwnedFd::from).map_err(file("connecting to the supervisor"));
    let mut command = container(launch);
    command.stdin(connect()?).stdout(connect()?).stderr(connect()?);
    Ok(command)
}

fn container(launch: &Path) -> Command {
    let mut command = Command::new(SELF);
    command.arg0("ostria").arg("container").arg("--spec").arg(launch);
    command
}

/// The processes that a started process sees.
#[derive(Debug)]
enum View {
    /// All processes of the pod.
    Pod,
    /// Only its own descendants.
    Own,
    /// The processes of a container.
    Of(File),
}

/// A child of this process.
#[derive(Debug)]
struct Child {
    id: String,
    /// Whether the child is the first process of its own PID namespace. The kernel then drops signals that the process
    /// does not handle.
    is_first: bool,
    /// The signal that was requested, if SIGKILL was sent in its place.
    ended_by: Option<Signal>,
}

/// The running processes of the pod.
#[derive(Default)]
struct Children {
    running: Mutex<HashMap<i32, Child>>,
    changed: Condvar,
}

impl Children {
    fn spawn(&self, id: &str, mut command: Command, view: View) -> Result<(), Error> {
        // The lock is held during the start, so that the reaper knows the child before the child can end.
        let mut running = self.running();
        let is_first = matches!(view, View::Own);
        // `setns` and `unshare` of a PID namespace apply to the children of the calling thread. A separate thread keeps
        // the children of this thread in the pod's namespace.
        let starter = std::thread::spawn(move || {
            match view {
                View::Pod => {}
                View::Own => {
                    unshare(CloneFlags::CLONE_NEWPID)
                        .map_err(kernel("creating the container's PID namespace"))?;
                }
                View::Of(space) => {
                    setns(space, CloneFlags::CLONE_NEWPID)
                        .map_err(kernel("joining the container's PID namespace"))?;
                }
            }
            command.spawn().map_err(file("starting `ostria container`"))
        });
        let child = starter.join().unwrap_or_else(|_| {
            Err(file("starting `ostria container`")(std::io::Error::other("the starting thread failed")))
        })?;
        running.insert(child.id().cast_signed(), Child { id: id.into(), is_first, ended_by: None });
        self.changed.notify_all();
        Ok(())
    }

    /// The PID namespace of a running container.
    fn view(&self, container: &str) -> Result<View, Error> {
        let running = self.running();
        let is_run = |id: &str| {
            let number = id.strip_prefix(container).and_then(|rest| rest.strip_prefix('-'));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let found = running.iter().find(|(_, child)| is_run(&child.id));
        let step = || file(format!("looking for container {container}"));
        match found {
            None => Err(step()(std::io::Error::other("it does not run"))),
            Some((_, child)) if !child.is_first => Ok(View::Pod),
            Some((pid, _)) => File::open(format!("/proc/{pid}/ns/pid")).map(View::Of).map_err(step()),
        }
    }

    fn signal(&self, id: &str, signal: i32) {
        let mut running = self.running();
        let Ok(signal) = Signal::try_from(signal) else { return };
        for (pid, child) in running.iter_mut().filter(|(_, child)| child.id == id) {
            // Only the process gets the signal, because it has its own session, as in a container. SIGKILL is sent to
            // its whole process group.
            if signal == Signal::SIGKILL {
                let _ = kill(Pid::from_raw(-*pid), signal);
            } else if child.is_first && ends(*pid, signal) {
                // The kernel would drop this signal. Outside a PID namespace it ends a process that does not handle it.
                child.ended_by = Some(signal);
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            } else {
                let _ = kill(Pid::from_raw(*pid), signal);
            }
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Child>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn reap(&self) {
        loop {
            let (pid, code) = match waitpid(None, None) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => {
                    let running = self.running();
                    let pause = std::time::Duration::from_millis(100);
                    drop(self.changed.wait_timeout_while(running, pause, |running| running.is_empty()));
                    continue;
                }
            };
            if let Some(child) = self.running().remove(&pid.as_raw()) {
                let code = child.ended_by.map_or(code, |signal| 128 + signal as i32);
                report(&Report::Exited { id: child.id, code });
            }
        }
    }
}

/// Whether the process neither handles nor ignores a signal, so that the signal would end it.
fn ends(pid: i32, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let has = |field: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let mask = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_none_or(|mask| mask & (1 << (signal as u64 - 1)) != 0)
    };
    !has("SigCgt:") && !has("SigIgn:")
}

fn report(report: &Report) {
    let line = serde_json::to_string(report).expect("a report is plain data");
    // If the write fails, the supervisor has gone; then the input ends too, which ends this process.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
