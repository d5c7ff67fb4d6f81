//! Runs one pod: injection, address, the ordered start of its containers and their ordered end.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::resource::selector::requirement::Selector;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::beneath;
use crate::kubelet::inject::requests_sidecar;
use crate::kubelet::status::{self, Role};
use crate::kubelet::{address, check, security};
use crate::manifest::object::{is_selected, text};
use crate::up::clock::now;
use crate::up::container::{Stop, Unit};
use crate::up::context::Context;
use crate::up::files::{self, FilesError};
use crate::up::groups::GroupError;
use crate::up::inject::InjectError;
use crate::up::node::{self, NodeError};
use crate::up::sandbox::{Sandbox, SandboxError};
use crate::up::world::PodKey;
use crate::wire;

/// Why a pod cannot be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    /// It was deleted during the start.
    #[error("is gone")]
    Gone,
    /// The injector returned no pod.
    #[error("the injector {0}")]
    Inject(#[from] InjectError),
    /// The control plane does not run yet.
    #[error("the injector is not running")]
    NoInjector,
    /// The injector's result is not a valid pod, or must not run.
    #[error("{0}")]
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// All addresses of pods are in use.
    #[error("no free pod address")]
    NoAddress,
    /// Its folder cannot be created.
    #[error("{path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    /// Its volumes cannot be written.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Its control group cannot be created.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Its namespaces or its network cannot be created.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Why the network of a pod cannot be set up.
#[derive(Debug, thiserror::Error)]
enum NetworkError {
    /// The pod's side failed.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The node's side failed.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Runs a pod from its creation until all of it is removed.
pub async fn run(context: Arc<Context>, key: PodKey, stop: CancellationToken) {
    let mut wait = Duration::from_millis(200);
    let started = loop {
        match tokio::select! { result = start(&context, &key) => result, () = stop.cancelled() => break None }
        {
            Ok(started) => break Some(started),
            Err(trouble) => {
                let trouble = trouble.to_string();
                tracing::warn!(pod = key.1, trouble, "cannot be started");
                context.shared.pod(&key, &now(), |pod| pod.trouble = Some(trouble));
            }
        }
        tokio::select! {
            () = sleep(wait) => {}
            () = stop.cancelled() => break None,
        }
        wait = (wait * 2).min(Duration::from_secs(30));
    };
    if let Some((pod, sandbox, address)) = started {
        let life = RunningPod {
            context: Arc::clone(&context),
            key: key.clone(),
            pod: Arc::new(pod),
            sandbox,
            address,
        };
        life.live(&stop).await;
        let uid = life.pod.metadata.uid.clone().unwrap_or_default();
        life.sandbox.close().await;
        // Files that remain are freed with the tmpfs.
        let _ = std::fs::remove_dir_all(context.state.pod(&uid));
    }
    let uid =
        context.shared.read().pods.get(&key).map(|entry| text(&entry.object, "/metadata/uid").to_string());
    if let Some(uid) = uid {
        context.groups.end_pod(&uid).await;
    }
    context.shared.change(|world| world.pods.remove(&key));
}

/// All steps before the pod's first container.
async fn start(context: &Context, key: &PodKey) -> Result<(Pod, Sandbox, Ipv4Addr), StartError> {
    let mut object = inject(context, key).await?;
    let pod: Pod = serde_json::from_value(object.clone()).map_err(|e| StartError::Refused(e.into()))?;
    check::injected(&pod).map_err(|e| StartError::Refused(e.into()))?;
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let given = context.shared.change(|world| {
        let taken = world.pod_addresses();
        let address = address::pod(world.last_address, &taken);
        let entry = world.pods.get_mut(key)?;
        let address = entry.address.or(address)?;
        entry.address = Some(address);
        world.last_address = world.last_address.max(Some(address));
        Some(address)
    });
    let address = given.ok_or(StartError::NoAddress)?;
    let folder = context.state.pod(&uid);
    files::network(&pod, &folder, &address.to_string())
        .map_err(|source| StartError::Folder { path: folder.clone(), source })?;
    files::volumes(context, &pod, &folder, &address.to_string(), true)?;
    context.groups.start_pod(&uid, pod.spec.as_ref().unwrap_or(&PodSpec::default()))?;
    let spec = folder.join("sandbox.json");
    let sysctls = pod.spec.as_ref().map(security::sysctls).unwrap_or_default();
    let description = serde_json::to_vec(&wire::Sandbox { hostname: files::hostname(&pod), sysctls });
    beneath::replace_own(&spec, &description.expect("a description is plain data"))
        .map_err(|source| StartError::Folder { path: spec.clone(), source })?;
    let started = Sandbox::start(&context.state.own_program(), &spec).await;
    let sandbox = started.map_err(NetworkError::from)?;
    let interface = node::interface(context.number());
    let connected = async {
        node::connect(&interface, sandbox.pid, address).await?;
        Ok(sandbox.network(address, address::NODE).await?)
    };
    if let Err(error) = connected.await {
        sandbox.close().await;
        return Err(StartError::Network(error));
    }
    object["spec"]["nodeName"] = json!("ostria");
    context.shared.change(|world| {
        if let Some(entry) = world.pods.get_mut(key) {
            entry.object = object;
            entry.sandbox = Some(sandbox.clone());
        }
    });
    context.shared.pod(key, &now(), |status| {
        status.address = address.to_string();
        status.trouble = None;
        status.containers = states(&pod);
    });
    Ok((pod, sandbox, address))
}

/// The pod as the injector returns it.
async fn inject(context: &Context, key: &PodKey) -> Result<Value, StartError> {
    let (object, needs_sidecar) = {
        let world = context.shared.read();
        let entry = world.pods.get(key).ok_or(StartError::Gone)?;
        let namespace = world.core("Namespace", "", &key.0);
        let labels = namespace.and_then(|namespace| namespace.pointer("/metadata/labels"));
        (entry.object.clone(), requests_sidecar(&entry.object, labels) && entry.status.containers.is_empty())
    };
    if !needs_sidecar {
        return Ok(object);
    }
    match context.injector.get() {
        Some(injector) => Ok(injector.inject(&object).await?),
        None => Err(StartError::NoInjector),
    }
}

fn states(pod: &Pod) -> Vec<status::Container> {
    let spec = pod.spec.iter();
    let state = |container: &Container, role| status::Container {
        name: container.name.clone(),
        role,
        ..status::Container::default()
    };
    spec.flat_map(|spec| {
        let inits =
            spec.init_containers.iter().flatten().map(move |container| state(container, role(container)));
        inits.chain(spec.containers.iter().map(move |container| state(container, Role::App)))
    })
    .collect()
}

fn role(init: &Container) -> Role {
    if init.restart_policy.as_deref() == Some("Always") { Role::Sidecar } else { Role::Init }
}

/// A running sidecar, with the token that tells it to end.
type Sidecar = (CancellationToken, tokio::task::JoinHandle<i32>);

/// A running pod with its namespaces.
struct RunningPod {
    context: Arc<Context>,
    key: PodKey,
    pod: Arc<Pod>,
    sandbox: Sandbox,
    address: Ipv4Addr,
}

impl RunningPod {
    async fn live(&self, stop: &CancellationToken) {
        let end = stop.child_token();
        tokio::select! {
            () = self.serve(&end) => {}
            never = self.limit(&end) => match never {},
        }
        if !stop.is_cancelled() {
            stop.cancelled().await;
        }
    }

    async fn serve(&self, stop: &CancellationToken) {
        let ending = stop.child_token();
        let mut sidecars = Vec::new();
        match self.begin(&ending, &mut sidecars).await {
            Ok(()) => self.apps(&ending).await,
            Err(code) if !stop.is_cancelled() => self.finish(code == 0, None),
            Err(_) => {}
        }
        ending.cancel();
        // Sidecars end in reverse order of their start, because each may need those before it.
        for (turn, task) in sidecars.into_iter().rev() {
            turn.cancel();
            let _: Result<i32, _> = task.await;
        }
    }

    /// Ends the containers when `activeDeadlineSeconds` is over.
    async fn limit(&self, end: &CancellationToken) -> Infallible {
        let seconds = self.pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        if let Some(seconds) = seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
            sleep(Duration::from_secs(seconds)).await;
            self.finish(false, Some("DeadlineExceeded"));
            end.cancel();
        }
        std::future::pending().await
    }

    /// Starts init containers and sidecars, each after the one before it, until the pod is to end.
    async fn begin(&self, ending: &CancellationToken, sidecars: &mut Vec<Sidecar>) -> Result<(), i32> {
        let inits = self.pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        for container in inits {
            let unit = self.unit(container, role(container));
            let stop = Stop { ending: ending.clone(), turn: CancellationToken::new() };
            if unit.role == Role::Sidecar {
                sidecars.push((stop.turn.clone(), tokio::spawn(unit.keep(stop))));
                ending.run_until_cancelled(self.until_started(&container.name)).await;
            } else {
                // An init container need not wait for its turn: nothing that runs at this point needs it.
                stop.turn.cancel();
                let code = tokio::spawn(unit.keep(stop)).await.unwrap_or(1);
                if code != 0 {
                    return Err(code);
                }
            }
            if ending.is_cancelled() {
                return Err(0);
            }
        }
        Ok(())
    }

    async fn until_started(&self, name: &str) {
        let mut changes = self.context.shared.watch();
        let started = || {
            let world = self.context.shared.read();
            world.pods.get(&self.key).is_none_or(|entry| {
                entry.status.containers.iter().any(|container| container.name == name && container.started)
            })
        };
        while !started() && changes.changed().await.is_ok() {}
    }

    async fn apps(&self, ending: &CancellationToken) {
        self.context.shared.pod(&self.key, &now(), |pod| pod.initialized = true);
        let mut tasks = JoinSet::new();
        let stop = Stop { ending: ending.clone(), turn: CancellationToken::new() };
        for container in self.pod.spec.iter().flat_map(|spec| &spec.containers) {
            tasks.spawn(self.unit(container, Role::App).keep(stop.clone()));
        }
        let mut worst = 0;
        loop {
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(code) => worst = worst.max(code.unwrap_or(1)),
                    None => break self.finish(worst == 0, None),
                },
                () = ending.cancelled(), if !stop.turn.is_cancelled() => {
                    self.leave().await;
                    stop.turn.cancel();
                }
            }
        }
    }

    /// If a Service selects the pod, waits so that clients learn that it leaves and stop sending before the application
    /// stops.
    async fn leave(&self) {
        let serves = {
            let world = self.context.shared.read();
            let backends = world.backends();
            world.services().iter().any(|service| {
                let labels = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
                let selector = Selector::of_labels(&labels);
                let entry = world.pods.get(&self.key);
                !selector.is_empty()
                    && !backends.is_empty()
                    && entry.is_some_and(|entry| is_selected(&entry.object, &selector))
            })
        };
        if serves && !self.context.ending.is_cancelled() {
            sleep(NOTICE).await;
        }
    }

    /// Records the end of the pod. The first call counts.
    fn finish(&self, well: bool, reason: Option<&str>) {
        self.context.shared.pod(&self.key, &now(), |pod| {
            if !pod.leaving && pod.finished.is_none() {
                pod.finished = Some(well);
                pod.reason = reason.map(str::to_string);
            }
        });
    }

    fn unit(&self, container: &Container, role: Role) -> Unit {
        Unit {
            context: Arc::clone(&self.context),
            key: self.key.clone(),
            pod: Arc::clone(&self.pod),
            container: container.clone(),
            role,
            sandbox: self.sandbox.clone(),
            address: self.address,
        }
    }
}

/// Time for clients to learn that a pod leaves, before its application is stopped.
const NOTICE: Duration = Duration::from_millis(500);
