//! Runs `ostria up`, from the first check to the removal of the last file.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use api::process::open_files;
use api::resource::check::Given;
use api::resource::descriptor::Descriptor;
use api::resource::kind;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::arguments::Up;
use crate::beneath;
use crate::failure::Failure;
use crate::kubelet::check::check;
use crate::kubelet::inject::requests_sidecar;
use crate::kubelet::logmark::LogMarks;
use crate::kubelet::workload;
use crate::kubelet::workload::job::End;
use crate::manifest::object::Key;
use crate::manifest::read::{self, Kinds, Namespaces};
use crate::state::State;
use crate::state::folder::Folder;
use crate::state::last;
use crate::state::lock::{self, Lock, Process, Program};
use crate::up::clock::moment;
use crate::up::context::Context;
use crate::up::enter::{self, Node};
use crate::up::groups::Groups;
use crate::up::host::HostPorts;
use crate::up::names::{self, Forward};
use crate::up::plane::{self, Plane};
use crate::up::progress::Progress;
use crate::up::sign::Signer;
use crate::up::world::{Directory, Shared};
use crate::up::{change, controller, gateway, host_ports, look, marks, node, publish, refresh, server};
use crate::view;
use crate::view::summary::Hints;
use crate::wire::Apply;

/// Runs a mesh until it is stopped.
pub fn run(state: State, up: &Up) -> Result<(), Failure> {
    let progress = Progress::begin();
    let _log = api::process::log::init(&up.log_level, api::process::log::Format::Text);
    let objects =
        read::read(&up.folders, false, Namespaces::default(), Kinds::Known).map_err(Failure::Refused)?;
    if lock::sweep(&state)? {
        progress.step("removed the remains of a killed mesh");
    }
    let mut context = context(state)?;
    precheck(&context, &objects)?;
    enter::require_programs(&|program| change::find(&context, program))?;
    // Each connection of the gateway takes two files. Containers start with the same limit, as in a cluster.
    open_files::raise();
    let listeners = enter::listen(up.gateway, up.gateway_https)?;
    // Processes that are started from here on are in the group of this process.
    context.groups.create(up.background.then(std::os::unix::process::parent_id));
    let (state, groups) = (context.state.clone(), context.groups.clone());
    if let Err(failure) = prepare(&mut context, up) {
        // An empty group that remains does no harm.
        let _ = groups.end();
        return Err(failure);
    }
    let result = enter::enter(&context.state, listeners, up.egress).and_then(|node| {
        context.users = node.users;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            Failure::blocked(format!("the runtime cannot be started: {error}"), "free some memory")
        })?;
        let result = runtime.block_on(live(Arc::new(context), node, up, objects, progress));
        runtime.shutdown_timeout(Duration::from_millis(200));
        result
    });
    enter::give_up_private(&state);
    if let Err(error) = groups.end() {
        progress.step(&format!("control groups are left: {error}"));
    }
    if let Err(error) = last::keep(&state) {
        progress.step(&format!("the last logs cannot be saved: {error}"));
    }
    let removed = lock::remove(&state);
    result?;
    removed.map_err(|error| {
        Failure::blocked(
            format!("{} cannot be removed: {error}", state.root().display()),
            "remove it yourself",
        )
    })?;
    progress.step("the mesh is down");
    Ok(())
}

fn context(state: State) -> Result<Context, Failure> {
    let own =
        std::env::current_exe().map_err(|error| Failure::blocked(error, "start `ostria` by its path"))?;
    let signer = Signer::new().map_err(|error| Failure::blocked(error, "try again"))?;
    Ok(Context {
        state,
        shared: Shared::default(),
        translated: watch::Sender::new(0),
        published: watch::Sender::default(),
        signer,
        injector: OnceCell::new(),
        roots: RwLock::default(),
        users: true,
        groups: Groups::find(),
        host_ports: HostPorts::default(),
        programs: own.parent().map(PathBuf::from).unwrap_or_default(),
        path: std::env::var_os("PATH").unwrap_or_default().to_string_lossy().into_owned(),
        log_marks: LogMarks::default(),
        counter: 0.into(),
        ending: CancellationToken::new(),
    })
}

/// Finds failures that are predictable before anything is started.
fn precheck(context: &Context, objects: &[Given]) -> Result<(), Failure> {
    let programs = |program: &str| change::find(context, program);
    let problems: Vec<_> = objects.iter().flat_map(|given| check(given, &programs)).collect();
    if !problems.is_empty() {
        return Err(Failure::Refused(read::located(problems)));
    }
    let missing: Vec<&str> = plane::PROGRAMS.into_iter().filter(|program| !programs(program)).collect();
    if missing.is_empty() || !needs_mesh(objects) {
        return Ok(());
    }
    Err(Failure::blocked(
        format!("the control plane's {} are not beside `ostria` or on PATH", missing.join(", ")),
        "install them beside `ostria`",
    ))
}

/// Whether an object is of the mesh's kinds or a pod wants a sidecar.
fn needs_mesh(objects: &[Given]) -> bool {
    objects.iter().any(|given| {
        let key = Key::of(&given.object);
        let labels = given.object.pointer("/metadata/labels");
        kind::of(&key.group, &key.kind).is_some_and(Descriptor::is_mesh)
            || key.kind == "Namespace" && requests_sidecar(&json!({}), labels)
            || requests_sidecar(&given.object, None)
            || requests_sidecar(&given.object["spec"]["template"], None)
    })
}

/// Starts the helper that opens host ports, and claims the state folder.
fn prepare(context: &mut Context, up: &Up) -> Result<(), Failure> {
    context.host_ports = HostPorts::start().map_err(|error| {
        Failure::blocked(format!("host ports cannot be opened: {error}"), "run the command again")
    })?;
    claim(context, up)
}

/// Creates the state folder and writes the lock.
fn claim(context: &Context, up: &Up) -> Result<(), Failure> {
    let state = &context.state;
    let folder = Folder::make(state.root())?;
    for name in ["logs", "private"] {
        folder.add(name)?;
    }
    let written = lock(context, up, []).and_then(|lock| lock.write(&folder));
    written.map_err(|error| {
        // Best effort: if the removal fails, only empty folders remain.
        let _ = lock::remove(state);
        let next = "choose another with --state DIR";
        Failure::blocked(format!("the state folder {} cannot be used: {error}", state.root().display()), next)
    })
}

/// The content of the lock while these child processes run.
fn lock(context: &Context, up: &Up, children: impl IntoIterator<Item = u32>) -> std::io::Result<Lock> {
    let supervisor =
        Process::find(std::process::id()).ok_or_else(|| std::io::Error::other("/proc is not mounted"))?;
    let children: Vec<Process> = children.into_iter().filter_map(Process::find).collect();
    // A child may not have executed its program yet.
    let started = plane::PROGRAMS.into_iter().filter_map(|name| Program::at(context.program(name)?));
    let running = children.iter().chain([&supervisor]).filter_map(|process| Program::of(process.pid));
    let mut programs: Vec<Program> = Vec::new();
    for program in running.chain(started) {
        if !programs.contains(&program) {
            programs.push(program);
        }
    }
    let control_group = context.groups.mesh().map(PathBuf::from);
    Ok(Lock {
        supervisor,
        children,
        programs,
        gateway: up.gateway.to_string(),
        egress: up.egress,
        control_group,
    })
}

async fn live(
    context: Arc<Context>,
    mut node: Node,
    up: &Up,
    objects: Vec<Given>,
    progress: Progress,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut mesh = Mesh {
        context,
        progress,
        down: CancellationToken::new(),
        tasks: TaskTracker::new(),
        plane: Plane::default(),
    };
    let down = mesh.down.clone();
    let begun = tokio::select! {
        begun = mesh.begin(&mut node, up, objects) => begun,
        () = signals.any() => Err(Failure::blocked("interrupted before the mesh was ready", "run the command again")),
        () = down.cancelled() => Err(Failure::blocked("stopped before the mesh was ready", "run the command again")),
    };
    if begun.is_ok() {
        if up.background {
            detach(&mesh.context.state);
        }
        tokio::select! {
            () = signals.any() => {}
            () = down.cancelled() => {}
            () = mesh.keep(up, progress) => {}
        }
    }
    mesh.end().await;
    begun
}

/// A mesh that starts, runs or ends.
struct Mesh {
    context: Arc<Context>,
    progress: Progress,
    down: CancellationToken,
    tasks: TaskTracker,
    plane: Plane,
}

impl Mesh {
    async fn begin(&mut self, node: &mut Node, up: &Up, objects: Vec<Given>) -> Result<(), Failure> {
        let context = &self.context;
        let failed = |what: &str| {
            let what = what.to_string();
            move |error: &dyn std::error::Error| Failure::blocked(format!("{what}: {error}"), NEXT)
        };
        let built = node::build(up.egress).await;
        built.map_err(|error| failed("the node's network cannot be created")(&error))?;
        let forward = up.egress.then(resolvers);
        let named = names::serve(Arc::clone(context), forward).await;
        named.map_err(|error| failed("the DNS server cannot be started")(&error))?;
        self.progress.step("the node's network is ready");
        namespaces(context, &objects);
        let mut written = std::collections::BTreeMap::new();
        let published = publish::write(context, &mut written);
        published.map_err(|error| failed("configuration cannot be written")(&error))?;
        if plane::PROGRAMS.iter().all(|program| change::find(context, program)) {
            self.plane = Plane::start(context, &up.log_level, self.progress).await?;
        } else {
            self.progress.step("the control plane is not installed: pods run without a mesh");
        }
        let response = change::apply(context, &Apply { objects, ..Apply::default() }).await;
        if !response.problems.is_empty() {
            return Err(Failure::Refused(read::located(response.problems)));
        }
        response
            .warnings
            .iter()
            .for_each(|warning| self.progress.step(&format!("Warning: {}", warning.line())));
        self.progress.step(&format!("{} objects accepted", response.outcomes.len()));
        tokio::spawn(publish::run(Arc::clone(context)));
        tokio::spawn(controller::translate(Arc::clone(context)));
        tokio::spawn(controller::run(Arc::clone(context), self.tasks.clone()));
        tokio::spawn(refresh::run(Arc::clone(context)));
        tokio::spawn(host_ports::run(Arc::clone(context)));
        tokio::spawn(marks::run(Arc::clone(context)));
        for (port, listener) in node.listeners.drain(..) {
            let behind = move |directory: &Directory| gateway::endpoints(directory, port);
            let served = gateway::serve(context, listener, behind, CancellationToken::new());
            served.map_err(|error| failed("the gateway's port cannot be served")(&error))?;
        }
        let served = server::serve(context, up.gateway.to_string(), self.down.clone());
        served.map_err(|error| failed("the socket cannot be opened")(&error))?;
        let ready = self.settled(up.wait).await;
        self.record(up).map_err(|error| failed("the lock cannot be written")(&error))?;
        let mut words = view::summary::render(&look::lines(context), &self.hints(up));
        if up.background && !ready {
            words.push(char::from(UNREADY));
        }
        // The mesh continues if standard output is closed.
        let _ = std::io::stdout().write_all(words.as_bytes());
        let _ = std::io::stdout().flush();
        Ok(())
    }

    /// Keeps the control plane running and the lock current.
    async fn keep(&mut self, up: &Up, progress: Progress) {
        let context = Arc::clone(&self.context);
        let mut changes = context.shared.watch();
        let mut trouble = None;
        loop {
            tokio::select! {
                () = self.plane.keep(&context, progress) => {}
                _ = changes.changed() => {
                    let found = self.record(up).err().map(|error| error.to_string());
                    // Each change of a pod tries again; the same trouble is reported once.
                    if found != trouble {
                        match &found {
                            Some(error) => tracing::error!(error, "the state folder cannot be written"),
                            None => tracing::info!("the state folder can be written again"),
                        }
                    }
                    trouble = found;
                }
            }
        }
    }

    /// The hints of the final message of `up`.
    fn hints(&self, up: &Up) -> Hints {
        let context = &self.context;
        let routes = context
            .shared
            .read()
            .of_kind("VirtualService")
            .any(|(_, object)| object.to_string().contains("\"/productpage\""));
        let served = gateway::is_served(&context.shared.directory());
        let rule = |folder: &PathBuf| folder.join("networking/virtual-service-reviews-80-20.yaml");
        Hints {
            program: std::env::args().next().unwrap_or_else(|| "ostria".into()),
            flags: context.state.flags(),
            gateway: served.then(|| up.gateway.to_string()),
            page: routes,
            rule: up
                .folders
                .iter()
                .map(rule)
                .find(|file| file.is_file())
                .map(|file| file.display().to_string()),
        }
    }

    /// Waits until all pods are ready and the proxies and packet rules know them. Returns whether that was so within
    /// the limit. A pod may end while proxies are waited for, so all pods are checked again.
    async fn settled(&self, limit: Duration) -> bool {
        let mut reported = BTreeSet::new();
        let waited = async {
            loop {
                self.until_ready(&mut reported).await;
                self.until_in_step().await;
                // A program that ends at once is ready for a moment before its first restart.
                tokio::time::sleep(BLINK).await;
                if self.are_ready() {
                    return;
                }
            }
        };
        if tokio::time::timeout(limit, waited).await.is_ok() {
            return true;
        }
        self.unready();
        self.progress.step(&format!(
            "not all pods are ready after {}; check them with `ostria get pods -A`, `ostria events -A` and `ostria logs`",
            api::process::duration::display(limit)
        ));
        false
    }

    /// Whether all pods are ready or finished. A pod with restarts must have been ready for a while, because a
    /// container that ends at once is ready between restarts.
    fn are_ready(&self) -> bool {
        let world = self.context.shared.read();
        world.pods.values().filter(|entry| !entry.status.leaving).all(|entry| {
            let status = &entry.status;
            let restarted = status.containers.iter().any(|container| container.restarts > 0);
            status.finished.is_some()
                || status.is_ready() && (!restarted || moment() >= status.since() + STABLE)
        })
    }

    /// Reports each pod that becomes ready, and the problems of the others.
    async fn until_ready(&self, reported: &mut BTreeSet<String>) {
        let mut changes = self.context.shared.watch();
        loop {
            let lines: Vec<_> = {
                let world = self.context.shared.read();
                let pods = world.pods.iter().filter(|(_, entry)| !entry.status.leaving);
                pods.map(|(key, entry)| {
                    (
                        key.1.clone(),
                        entry.status.is_ready() || entry.status.finished.is_some(),
                        entry.status.problem(),
                    )
                })
                .collect()
            };
            for failure in self.failed_jobs().into_iter().chain(self.forbidden()) {
                if reported.insert(failure.clone()) {
                    self.progress.step(&failure);
                }
            }
            for (name, ready, trouble) in &lines {
                if *ready && reported.insert(name.clone()) {
                    self.progress.step(&format!("pod {name} is ready"));
                } else if let Some(trouble) = trouble
                    && reported.insert(trouble.clone())
                {
                    self.progress.step(&format!("pod {name} is not ready: {trouble}"));
                }
            }
            let settled = {
                let world = self.context.shared.read();
                let plan =
                    workload::plan(&world.objects, &world.jobs, &world.existing_pods(), moment(), &mut || 0);
                plan.changes.is_empty()
            };
            if settled && self.are_ready() {
                return;
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    fn failed_jobs(&self) -> Vec<String> {
        let world = self.context.shared.read();
        let ended = world.jobs.iter().filter_map(|(key, record)| Some((key, record.end?.0)));
        let failed = ended.filter(|(_, end)| *end != End::Complete);
        failed.map(|(key, end)| format!("{key} failed: {}: {}", end.reason(), end.message())).collect()
    }

    /// Why workloads cannot create pods.
    fn forbidden(&self) -> Vec<String> {
        let world = self.context.shared.read();
        world
            .forbidden
            .iter()
            .map(|(key, reason)| format!("no pods are created for {key}: {reason}"))
            .collect()
    }

    /// Reports why pods are not ready.
    fn unready(&self) {
        let world = self.context.shared.read();
        for (key, entry) in &world.pods {
            if let Some(reasons) = entry.status.unready() {
                self.progress.step(&format!("pod {} is not ready: {reasons}", key.1));
            }
        }
    }

    /// Waits until the node's packet rules and all proxies know the ready pods, so that they can be called.
    async fn until_in_step(&self) {
        let changes = self.context.shared.count();
        let ready: Vec<(String, String)> = {
            let world = self.context.shared.read();
            let pods =
                world.pods.iter().filter(|(_, entry)| entry.status.is_ready() && !entry.status.leaving);
            pods.map(|(key, _)| key.clone()).collect()
        };
        let mut translated = self.context.translated.subscribe();
        let has_plane = !self.plane.pids().is_empty();
        let known = async {
            let _ = translated.wait_for(|known| *known >= changes).await;
            while has_plane && !plane::knows(&ready).await {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        if tokio::time::timeout(TELLING, known).await.is_err() {
            self.progress.step("not all proxies have the current configuration; look at `ostria status`");
        }
    }

    fn record(&self, up: &Up) -> std::io::Result<()> {
        let world = self.context.shared.read();
        let pods = world.pods.values().filter_map(|entry| entry.sandbox.as_ref()).map(|sandbox| sandbox.pid);
        let lock = lock(&self.context, up, pods.chain(self.plane.pids()))?;
        let state = &self.context.state;
        if Lock::read(state).ok().flatten().as_ref() == Some(&lock) {
            return Ok(());
        }
        lock.write(&Folder::make(state.root()).map_err(std::io::Error::other)?)
    }

    async fn end(self) {
        self.progress.step("stopping the mesh");
        controller::end_all(&self.context);
        self.tasks.close();
        // Longer than the grace period of containers. Processes that remain end with this process.
        let _ = tokio::time::timeout(Duration::from_secs(7), self.tasks.wait()).await;
        self.plane.end().await;
    }
}

/// Creates the namespaces that always exist and those that the files name. They must exist before the roots are
/// published into them.
fn namespaces(context: &Context, objects: &[Given]) {
    let given =
        objects.iter().map(|given| &given.object).filter(|object| object["kind"] == "Namespace").cloned();
    let usual = ["default", "istio-system", "kube-system"]
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
    context.shared.change(|world| {
        for object in usual.into_iter().chain(given) {
            world.objects.insert(Key::of(&object), object);
        }
    });
}

/// The host's resolvers that are reachable from the node.
fn resolvers() -> Forward {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let addresses = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<std::net::IpAddr>().ok());
    Forward {
        resolvers: addresses
            .filter(|address| !address.is_loopback())
            .map(|address| (address, 53).into())
            .collect(),
    }
}

/// Detaches from the command that started this process. From here on, output goes to the log.
fn detach(state: &State) {
    let log = beneath::append(&state.log());
    let nothing = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    if let (Ok(log), Ok(nothing)) = (log, nothing) {
        // The starting command waits until this process closes its output.
        let _ = setsid();
        let _ = dup2_stdin(&nothing).and_then(|()| dup2_stderr(&log)).and_then(|()| dup2_stdout(&nothing));
    }
}

/// The signals that end the mesh.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let open = |kind| {
            signal(kind).map_err(|error| {
                Failure::blocked(format!("signal handlers cannot be installed: {error}"), NEXT)
            })
        };
        Ok(Self {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
            hangup: open(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

const NEXT: &str = "correct the problem and run the command again";
/// How long `up` waits for proxies after all pods are ready.
const TELLING: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long a pod with restarts must have been ready.
const STABLE: Duration = Duration::from_secs(5);
/// How long `up` waits for a program that ends at once.
const BLINK: Duration = Duration::from_millis(250);
const TICK: Duration = Duration::from_millis(500);
/// The byte that reports to the starting command of a detached mesh that not all pods are ready.
pub const UNREADY: u8 = 4;
