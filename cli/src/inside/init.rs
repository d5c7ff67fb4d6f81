//! A pod's first process: it starts what the supervisor orders, reports what ended and reaps orphans. When the
//! supervisor is gone, its input ends, it ends, and the kernel ends everything in the pod with it.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{BufRead, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::inside::{Error, file, guard, kernel};
use crate::wire::{Order, Report, SELF};

/// Follows orders until there are no more.
pub fn run() -> Result<(), Error> {
    guard::tie(None)?;
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
        Order::Network { address, gateway } => {
            ("network".to_string(), network(&address.to_string(), &gateway.to_string()))
        }
        Order::Start { id, launch, log } => {
            let result = start(&launch, &log).and_then(|command| children.spawn(&id, command));
            (id, result)
        }
        Order::Attach { id, launch, socket } => {
            let result = attach(&launch, &socket).and_then(|command| children.spawn(&id, command));
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

fn network(address: &str, gateway: &str) -> Result<(), Error> {
    // An address without neighbours sends all traffic through the node, where services are translated; on a
    // shared link answers would go straight back and never be translated again.
    let batch = format!(
        "link set lo up\naddr add {address}/32 dev eth0\nlink set eth0 up\n\
         route add {gateway} dev eth0 scope link\nroute add default via {gateway}\n"
    );
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(file("running `ip`"))?;
    ip.stdin.take().expect("input is piped").write_all(batch.as_bytes()).map_err(file("writing to `ip`"))?;
    // The reaper may collect the status first; the interface tells whether it worked.
    let _ = ip.wait();
    let routes = std::fs::read_to_string("/proc/self/net/route").map_err(file("reading the pod's routes"))?;
    if routes.lines().filter(|line| line.starts_with("eth0")).count() < 2 {
        return Err(Error::Kernel { step: "giving the pod its address".into(), source: Errno::ENETUNREACH });
    }
    report(&Report::Connected);
    Ok(())
}

fn start(launch: &Path, log: &Path) -> Result<Command, Error> {
    let output = OpenOptions::new().create(true).append(true).open(log).map_err(file("opening the log"))?;
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

/// What runs in the pod.
#[derive(Default)]
struct Children {
    running: Mutex<HashMap<i32, String>>,
    changed: Condvar,
}

impl Children {
    fn spawn(&self, id: &str, mut command: Command) -> Result<(), Error> {
        // The lock is held over the start so that the reaper knows the child before it can end.
        let mut running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let child = command.spawn().map_err(file("starting `ostria container`"))?;
        running.insert(child.id().cast_signed(), id.to_string());
        self.changed.notify_all();
        Ok(())
    }

    fn signal(&self, id: &str, signal: i32) {
        let running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Ok(signal) = Signal::try_from(signal) else { return };
        for (pid, _) in running.iter().filter(|(_, known)| *known == id) {
            // A process of its own session takes the signal alone, as in a container; SIGKILL takes all.
            let target = if signal == Signal::SIGKILL { -*pid } else { *pid };
            let _ = kill(Pid::from_raw(target), signal);
        }
    }

    fn reap(&self) {
        loop {
            let (pid, code) = match waitpid(None, None) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(_) => {
                    let running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let pause = std::time::Duration::from_millis(100);
                    drop(self.changed.wait_timeout_while(running, pause, |running| running.is_empty()));
                    continue;
                }
            };
            let mut running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(id) = running.remove(&pid.as_raw()) {
                report(&Report::Exited { id, code });
            }
        }
    }
}

fn report(report: &Report) {
    let line = serde_json::to_string(report).expect("a report is plain data");
    // Without a reader the supervisor is gone, and this process ends by its input.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
