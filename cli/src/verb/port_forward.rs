//! `ostria port-forward`: forwards a port of this host to a port of a pod. A helper process in the pod connects to the
//! port and copies the bytes, so that, as with kubectl, the sidecar neither captures nor rejects the connection.

use std::net::IpAddr;

use clap::Args;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client;
use crate::failure::Failure;
use crate::manifest::object::{is_selected, text};
use crate::state::State;
use crate::up::files::PROGRAMS;
use crate::verb::entry::Verb;
use crate::verb::resource;
use crate::view::forward::{Mapping, pod_port};
use crate::wire::{ExecQuery, Target, frame};
use api::resource::kind;

/// `ostria port-forward`
#[derive(Debug, Args)]
pub struct PortForward {
    /// Name of the pod, deployment/NAME or service/NAME
    target: String,
    /// Ports as [LOCAL:]REMOTE; :REMOTE takes any free local port
    #[arg(required = true, value_name = "PORT")]
    ports: Vec<Mapping>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// Namespace of the pod
    #[arg(short, long)]
    namespace: Option<String>,
}

impl Verb for PortForward {
    const NAME: &'static str = "port-forward";
    const ABOUT: &'static str = "Forward local ports to a pod";
    const EXAMPLES: &'static [&'static str] =
        &["port-forward deployment/productpage-v1 8080:9080", "port-forward svc/reviews :9080"];

    fn run(self, state: &State) -> Result<(), Failure> {
        client::block_on(async {
            let namespace = resource::namespace(self.namespace.as_ref());
            let (pod, service) = self.pod(state, &namespace).await?;
            let target = Target { namespace, pod: text(&pod, "/metadata/name").into(), container: None };
            let mut tasks = tokio::task::JoinSet::new();
            for mapping in &self.ports {
                let port = pod_port(&pod, service.as_ref(), mapping).map_err(|error| {
                    Failure::blocked(
                        error,
                        "look at the ports with `ostria get svc` and `ostria get pod -o yaml`",
                    )
                })?;
                let listener = TcpListener::bind((self.address, mapping.local)).await.map_err(|error| {
                    Failure::blocked(
                        format!("unable to listen on {}:{}: {error}", self.address, mapping.local),
                        "choose another port: LOCAL:REMOTE, or :REMOTE for any",
                    )
                })?;
                let local = listener.local_addr().map_err(|error| Failure::blocked(error, "try again"))?;
                println!("Forwarding from {local} -> {port}");
                tasks.spawn(accept(state.clone(), listener, target.clone(), port));
            }
            tasks.join_all().await;
            Ok(())
        })
    }
}

impl PortForward {
    /// The pod to forward to, and the service if the user named one.
    async fn pod(&self, state: &State, namespace: &str) -> Result<(Value, Option<Value>), Failure> {
        let pods_kind = resource::kind("pods")?;
        let all = resource::query(pods_kind, None, Some(namespace));
        if let Some((word, name)) = self.target.split_once('/')
            && let Some(known) = kind::named(word).filter(|known| known.kind == "Service")
        {
            let service = resource::object(state, known, namespace, name).await?;
            let pods: Vec<Value> = client::call(state, "/get", &all).await?;
            let labels = serde_json::from_value(service["spec"]["selector"].clone()).unwrap_or_default();
            let selector = api::resource::selector::requirement::Selector::of_labels(&labels);
            let chosen = pods.into_iter().find(|pod| {
                !selector.is_empty()
                    && is_selected(pod, &selector)
                    && text(pod, "/status/phase") == "Running"
                    && text(pod, "/metadata/deletionTimestamp").is_empty()
            });
            let none = || {
                let reason = format!("no running pod is behind service \"{name}\"");
                Failure::missing(reason, "compare its selector with `ostria get pods --show-labels`")
            };
            return Ok((chosen.ok_or_else(none)?, Some(service)));
        }
        let target = Target { namespace: namespace.into(), pod: self.target.clone(), container: None };
        let found: Target = client::call(state, "/find", &target).await?;
        Ok((resource::object(state, pods_kind, namespace, &found.pod).await?, None))
    }
}

async fn accept(state: State, listener: TcpListener, target: Target, port: u16) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                println!("Handling connection for {port}");
                tokio::spawn(forward(state.clone(), stream, target.clone(), port));
            }
            Err(error) => {
                eprintln!("error: cannot accept a connection: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn forward(state: State, stream: TcpStream, target: Target, port: u16) {
    let own = std::env::current_exe().ok();
    let own = own.and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    let program = format!("{PROGRAMS}/{}", own.unwrap_or_else(|| "ostria".into()));
    let command = vec![program, "connect".into(), port.to_string()];
    let query = ExecQuery { target, command, stdin: true, tty: false };
    match client::exec(&state, &query).await {
        Ok(upgraded) => pass(stream, upgraded).await,
        Err(failure) => eprintln!("{failure}"),
    }
}

async fn pass(stream: TcpStream, upgraded: Upgraded) {
    let (mut from_user, mut to_user) = stream.into_split();
    let (mut from_pod, mut to_pod) = tokio::io::split(TokioIo::new(upgraded));
    let sending = tokio::spawn(async move {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(length @ 1..) = from_user.read(&mut buffer).await {
            if to_pod.write_all(&frame::encode(frame::INPUT, &buffer[..length])).await.is_err() {
                return;
            }
        }
        // An empty frame marks the end of input. The stream stays open for the output.
        let _ = to_pod.write_all(&frame::encode(frame::INPUT, &[])).await;
        std::future::pending::<()>().await;
    });
    while let (Ok(kind), Ok(length)) = (from_pod.read_u8().await, from_pod.read_u32().await) {
        let mut bytes = vec![0; length as usize];
        if from_pod.read_exact(&mut bytes).await.is_err() {
            break;
        }
        match kind {
            frame::OUTPUT if to_user.write_all(&bytes).await.is_ok() => {}
            frame::ERROR => eprint!("{}", String::from_utf8_lossy(&bytes)),
            _ => break,
        }
    }
    sending.abort();
}
