//! `ostria port-forward`: forwards a port of this host to a port of a pod.

use std::net::IpAddr;

use clap::Args;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::client::mesh::Mesh;
use crate::client::stream::block_on;
use crate::failure::Failure;
use crate::manifest::object::{is_selected, text};
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::verb::resource;
use crate::view::forward::{Mapping, pod_port};
use crate::wire::Target;
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
}

impl Verb for PortForward {
    const NAME: &'static str = "port-forward";
    const ABOUT: &'static str = "Forward local ports to a pod";
    const EXAMPLES: &'static [&'static str] =
        &["port-forward deployment/productpage-v1 8080:9080", "port-forward svc/reviews :9080"];

    fn run(self, place: &Place) -> Result<(), Failure> {
        block_on(async {
            let mesh = place.mesh().await?;
            let namespace = mesh.namespace().to_string();
            let (pod, service) = self.pod(&mesh, &namespace).await?;
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
                tasks.spawn(accept(mesh.clone(), listener, target.clone(), port));
            }
            tasks.join_all().await;
            Ok(())
        })
    }
}

impl PortForward {
    /// The pod to forward to, and the service if the user named one.
    async fn pod(&self, mesh: &Mesh, namespace: &str) -> Result<(Value, Option<Value>), Failure> {
        let pods_kind = resource::kind("pods")?;
        let all = resource::query(pods_kind, None, Some(namespace));
        if let Some((word, name)) = self.target.split_once('/')
            && let Some(known) = kind::named(word).filter(|known| known.kind == "Service")
        {
            let service = resource::object(mesh, known, namespace, name).await?;
            let pods = mesh.list(&all).await?;
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
        let found = mesh.find(&target).await?;
        Ok((resource::object(mesh, pods_kind, namespace, &found.pod).await?, None))
    }
}

async fn accept(mesh: Mesh, listener: TcpListener, target: Target, port: u16) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                println!("Handling connection for {port}");
                let (mesh, target) = (mesh.clone(), target.clone());
                tokio::spawn(async move {
                    if let Err(failure) = mesh.forward(stream, &target, port).await {
                        eprintln!("{failure}");
                    }
                });
            }
            Err(error) => {
                eprintln!("error: cannot accept a connection: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}
