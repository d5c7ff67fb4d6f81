//! A pod's namespaces as the supervisor handles them: starts the pod's first process, sends it orders and dispatches
//! its reports.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::wire::{Order, Report};

/// How a process in a pod ended: its exit code, or why it did not run.
pub type Exit = oneshot::Receiver<Result<i32, SandboxError>>;

/// Why a pod's namespaces cannot be created, or why an order failed.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The first process cannot be started.
    #[error("the pod's first process cannot be started: {0}")]
    Start(#[from] std::io::Error),
    /// The first process created no namespaces. Holds its last output.
    #[error("{0}")]
    NotMade(String),
    /// The first process refused an order.
    #[error("{0}")]
    Refused(String),
    /// The first process has ended.
    #[error("the pod's first process ended")]
    Ended,
}

/// A pod's namespaces. They end when `close` is called, and with the supervisor.
#[derive(Debug, Clone)]
pub struct Sandbox {
    orders: mpsc::UnboundedSender<Order>,
    waiting: Arc<Mutex<Waiting>>,
    /// Process id of the first process, as the supervisor sees it.
    pub pid: u32,
    ended: watch::Receiver<bool>,
    close: mpsc::Sender<()>,
}

type Waiting = HashMap<String, oneshot::Sender<Result<i32, SandboxError>>>;

impl Sandbox {
    /// Creates the namespaces. `own` is the path of this program, where no pod can write to it.
    pub async fn start(own: &Path, spec: &Path) -> Result<Self, SandboxError> {
        let mut child = Command::new(own)
            .arg0("ostria")
            .arg("sandbox")
            .arg("--spec")
            .arg(spec)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let mut reports = BufReader::new(child.stdout.take().expect("output is piped")).lines();
        let first = reports.next_line().await.ok().flatten();
        let Some(Report::Ready { pid }) = first.and_then(|line| serde_json::from_str(&line).ok()) else {
            return Err(SandboxError::NotMade(last_words(child).await));
        };
        let waiting = Arc::new(Mutex::new(Waiting::new()));
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (close, close_queue) = mpsc::channel(1);
        let (end, ended) = watch::channel(false);
        tokio::spawn(listen(reports, Arc::clone(&waiting)));
        tokio::spawn(serve(child, order_queue, close_queue, end));
        Ok(Self { orders, waiting, pid, ended, close })
    }

    /// Gives the pod its address.
    pub async fn network(&self, address: Ipv4Addr, gateway: Ipv4Addr) -> Result<(), SandboxError> {
        let exit = self.expect("network");
        let _ = self.orders.send(Order::Network { address, gateway });
        exit.await.map_err(|_| SandboxError::Ended)?.map(drop)
    }

    /// Starts a container and writes its output to a file. If `shared`, it sees the pod's other processes.
    pub fn launch(&self, id: &str, launch: PathBuf, log: PathBuf, shared: bool) -> Exit {
        let exit = self.expect(id);
        let _ = self.orders.send(Order::Start { id: id.into(), launch, log, shared });
        exit
    }

    /// Starts a command in a container. Its input and output connect to a socket.
    pub fn attach(&self, id: &str, launch: PathBuf, socket: PathBuf, beside: &str) -> Exit {
        let exit = self.expect(id);
        let _ = self.orders.send(Order::Attach { id: id.into(), launch, socket, beside: beside.into() });
        exit
    }

    /// Sends a signal to the process with this name.
    pub fn signal(&self, id: &str, signal: nix::sys::signal::Signal) {
        let _ = self.orders.send(Order::Signal { id: id.into(), signal: signal as i32 });
    }

    /// Ends everything in the pod.
    pub async fn close(&self) {
        let _ = self.close.try_send(());
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    fn expect(&self, id: &str) -> Exit {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(id.into(), sender);
        receiver
    }
}

async fn listen(mut reports: tokio::io::Lines<BufReader<ChildStdout>>, waiting: Arc<Mutex<Waiting>>) {
    let complete = |id: &str, result| {
        let sender = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(sender) = sender {
            let _ = sender.send(result);
        }
    };
    while let Ok(Some(line)) = reports.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Report::Connected) => complete("network", Ok(0)),
            Ok(Report::Exited { id, code }) => complete(&id, Ok(code)),
            Ok(Report::Failed { id, reason }) => complete(&id, Err(SandboxError::Refused(reason))),
            Ok(Report::Ready { .. }) | Err(_) => {}
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

async fn serve(
    mut child: Child,
    mut orders: mpsc::UnboundedReceiver<Order>,
    mut close: mpsc::Receiver<()>,
    end: watch::Sender<bool>,
) {
    let mut input = child.stdin.take();
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            _ = close.recv() => None,
            _ = child.wait() => None,
        };
        let (Some(order), Some(input)) = (order, input.as_mut()) else { break };
        let mut line = serde_json::to_vec(&order).expect("an order is plain data");
        line.push(b'\n');
        if input.write_all(&line).await.is_err() {
            break;
        }
    }
    drop(input);
    let patience = tokio::time::timeout(std::time::Duration::from_secs(2), child.wait()).await;
    if patience.is_err() {
        let _ = child.kill().await;
    }
    end.send_replace(true);
}

async fn last_words(child: Child) -> String {
    match child.wait_with_output().await {
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_string(),
        Err(error) => error.to_string(),
    }
}
