//! Runs one container: start, probes, restarts with back-off, and an orderly end.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, Probe};
use nix::sys::signal::Signal;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::kubelet::backoff;
use crate::kubelet::ending;
use crate::kubelet::probe::{self, Handler, Plan, Tally, Verdict};
use crate::kubelet::status::{self, Phase, Role};
use crate::up::attach::ContainerRef;
use crate::up::clock::now;
use crate::up::context::Context;
use crate::up::groups::{self, GroupError};
use crate::up::launch::{self, LaunchError};
use crate::up::prober::{self, ProbeFailure};
use crate::up::sandbox::{Exit, Sandbox, SandboxError};
use crate::up::world::PodKey;

/// A container of a pod, with everything needed to run it.
#[derive(Debug, Clone)]
pub struct Unit {
    /// The running mesh.
    pub context: Arc<Context>,
    /// The pod's key.
    pub key: PodKey,
    /// The pod.
    pub pod: Arc<Pod>,
    /// The container.
    pub container: Container,
    /// Whether it is an init container, a sidecar or an application container.
    pub role: Role,
    /// The pod's namespaces.
    pub sandbox: Sandbox,
    /// The pod's address.
    pub address: Ipv4Addr,
}

/// Tells a container that its pod ends; see `kubelet::ending`.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Cancelled when the pod starts to end: the `preStop` hook runs, and the container is not restarted.
    pub ending: CancellationToken,
    /// Cancelled when the container may get SIGTERM.
    pub turn: CancellationToken,
}

/// Why a container cannot be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    /// Its process description cannot be made.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Its control group cannot be created.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The folder of its log cannot be made.
    #[error("{path}: {source}")]
    Log { path: PathBuf, source: std::io::Error },
}

/// How a run of a container ended.
enum End {
    Exited(i32),
    /// A probe found the container unhealthy. Holds the grace period of this probe, if it has one.
    Ill(Option<Duration>),
    Stopped,
}

impl Unit {
    /// Runs the container until it needs no restart or is stopped. Returns the last exit code.
    pub async fn keep(self, stop: Stop) -> i32 {
        let mut failures = 0;
        let mut runs = 0;
        loop {
            let begun = Instant::now();
            let (code, stopped) = self.run(runs, &stop).await;
            runs += 1;
            // The pod may have started to end while this container was stopped because of a failed probe.
            if stopped || stop.ending.is_cancelled() || !self.again(code) {
                return code;
            }
            failures = backoff::after(failures, begun.elapsed());
            let wait = backoff::wait(failures);
            failures += 1;
            if !wait.is_zero() {
                let message = format!("back-off {} s after exit code {code}", wait.as_secs());
                self.show(|state| {
                    state.enter(Phase::Waiting { reason: "CrashLoopBackOff".into(), message });
                });
            }
            tokio::select! {
                biased;
                () = stop.ending.cancelled() => return code,
                () = sleep(wait) => {}
            }
            self.show(|state| state.restarts += 1);
        }
    }

    fn again(&self, code: i32) -> bool {
        let policy =
            self.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
        match (self.role, policy) {
            (Role::Sidecar, _) | (Role::App, "Always") => true,
            (_, "Never") => false,
            _ => code != 0,
        }
    }

    /// Runs the container once. Returns the exit code and whether the container was asked to stop.
    async fn run(&self, number: u32, stop: &Stop) -> (i32, bool) {
        let (exit, group) = match self.launch(number) {
            Ok(launched) => launched,
            Err(reason) => return (self.failed(&reason), false),
        };
        let id = self.id(number);
        let mut exit = Box::pin(outcome(exit));
        self.show(|state| {
            state.enter(Phase::Running { since: now() });
            state.started = self.container.startup_probe.is_none();
            state.ready = self.container.startup_probe.is_none() && self.container.readiness_probe.is_none();
        });
        if let Some(hook) =
            self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref())
        {
            self.hook(hook, prober::HOOK).await;
        }
        let end = tokio::select! {
            result = &mut exit => match result {
                Ok(code) => End::Exited(code),
                Err(reason) => End::Exited(self.failed(&reason)),
            },
            grace = self.health() => End::Ill(grace),
            () = stop.ending.cancelled() => End::Stopped,
        };
        let code = match end {
            End::Exited(code) => code,
            End::Ill(grace) => self.end(&id, exit, self.grace(grace), None).await,
            End::Stopped => self.end(&id, exit, self.grace(None), Some(&stop.turn)).await,
        };
        let out_of_memory = group.as_ref().is_some_and(groups::Run::ran_out_of_memory);
        self.show(|state| {
            state.enter(Phase::Ended { code, at: now(), out_of_memory });
            state.ready = false;
            state.probe_failure = None;
            state.started = self.role == Role::Init && code == 0;
        });
        if let Some(group) = group {
            group.end().await;
        }
        (code, matches!(end, End::Stopped))
    }

    fn launch(&self, number: u32) -> Result<(Exit, Option<groups::Run>), StartError> {
        let uid = self.pod.metadata.uid.as_deref().unwrap_or_default();
        let group = self.pod.spec.as_ref().map(|spec| self.context.groups.start(uid, spec, &self.container));
        let group = group.transpose()?.flatten();
        let description =
            launch::describe(&self.context, &self.pod, &self.container, &self.address.to_string(), None)?;
        let shared = self.pod.spec.as_ref().and_then(|spec| spec.share_process_namespace) == Some(true);
        Ok((self.sandbox.launch(&self.id(number), description, self.log(number)?, shared), group))
    }

    /// The log file of a run. The file of the previous run is kept; older files are removed.
    fn log(&self, number: u32) -> Result<PathBuf, StartError> {
        let folder = self.context.state.pod_logs(&self.key.0, &self.key.1);
        let file = |number: u32| folder.join(format!("{}-{number}.log", self.container.name));
        std::fs::create_dir_all(&folder)
            .map_err(|source| StartError::Log { path: folder.clone(), source })?;
        if number >= 2 {
            // A user may already have removed the file.
            let _ = std::fs::remove_file(file(number - 2));
        }
        Ok(file(number))
    }

    /// Ends the process: `preStop` hook, then for a sidecar its turn, SIGTERM, and SIGKILL when the grace period is
    /// over.
    async fn end(
        &self,
        id: &str,
        exit: impl Future<Output = Result<i32, SandboxError>>,
        grace: Duration,
        turn: Option<&CancellationToken>,
    ) -> i32 {
        let begun = Instant::now();
        self.show(|state| state.ready = false);
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        if let Some(hook) = hook.filter(|_| !grace.is_zero()) {
            self.hook(hook, grace).await;
        }
        tokio::pin!(exit);
        if let Some(turn) = turn {
            let waiting = timeout(grace.saturating_sub(begun.elapsed()), turn.cancelled());
            tokio::select! {
                code = &mut exit => return code.unwrap_or(KILLED),
                _ = waiting => {}
            }
        }
        self.sandbox.signal(id, Signal::SIGTERM);
        if let Ok(code) = timeout(ending::left(grace, begun.elapsed()), &mut exit).await {
            return code.unwrap_or(KILLED);
        }
        self.sandbox.signal(id, Signal::SIGKILL);
        exit.await.unwrap_or(KILLED)
    }

    /// The grace period of the container. A probe's own grace period overrides the pod's.
    fn grace(&self, own: Option<Duration>) -> Duration {
        let pods =
            || self.pod.spec.as_ref().and_then(|spec| probe::grace(spec.termination_grace_period_seconds));
        let grace = own.or_else(pods).unwrap_or(USUAL_GRACE);
        if self.context.ending.is_cancelled() { grace.min(LAST_GRACE) } else { grace }
    }

    async fn hook(&self, hook: &LifecycleHandler, limit: Duration) {
        if let Some(pause) = &hook.sleep {
            sleep(Duration::from_secs(u64::try_from(pause.seconds).unwrap_or(0)).min(limit)).await;
            return;
        }
        let probe = Probe { exec: hook.exec.clone(), http_get: hook.http_get.clone(), ..Probe::default() };
        if let Ok(mut plan) = probe::plan(&self.pod, &probe) {
            plan.timeout = limit;
            // As on Kubernetes, the pod also ends if the hook fails.
            let _ = prober::run(&self.context, self.container_ref(), &plan).await;
        }
    }

    /// Runs the probes. Returns when the container must be restarted, with the grace period of the failed probe.
    async fn health(&self) -> Option<Duration> {
        if let Some(plan) = self.plan(self.container.startup_probe.as_ref()) {
            if self.until(&plan).await == Verdict::Ill {
                return plan.grace;
            }
            self.show(|state| {
                state.started = true;
                state.ready = self.container.readiness_probe.is_none();
            });
        }
        let liveness = async {
            match self.plan(self.container.liveness_probe.as_ref()) {
                Some(plan) => {
                    self.follow(&plan, |_| {}).await;
                    plan.grace
                }
                None => std::future::pending().await,
            }
        };
        let readiness = async {
            if let Some(plan) = self.plan(self.container.readiness_probe.as_ref()) {
                loop {
                    self.follow(&plan, |well| self.show(|state| state.ready = well)).await;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            grace = liveness => grace,
            () = readiness => None,
        }
    }

    /// Repeats a probe until it has succeeded or failed for good.
    async fn until(&self, plan: &Plan) -> Verdict {
        sleep(plan.delay).await;
        let begun = Instant::now();
        let patience = plan.period * plan.failure;
        let mut reported = None;
        for attempt in 0.. {
            let result = prober::run(&self.context, self.container_ref(), plan).await;
            self.report_probe("startup", &result, begun, &mut reported);
            if result.is_ok() {
                return Verdict::Well;
            }
            // The first probes are more frequent than the period. They must not use up the time that `failureThreshold`
            // periods allow.
            if begun.elapsed() >= patience {
                return Verdict::Ill;
            }
            sleep(probe::pause(plan, false, attempt)).await;
        }
        Verdict::Open
    }

    /// Repeats a probe until it fails for good. Reports each verdict to `report`.
    async fn follow(&self, plan: &Plan, report: impl Fn(bool)) {
        let mut tally = Tally::default();
        let mut well = false;
        let exec = matches!(plan.handler, Handler::Exec { .. });
        let begun = Instant::now();
        let mut reported = None;
        sleep(plan.delay).await;
        for attempt in 0.. {
            let result = prober::run(&self.context, self.container_ref(), plan).await;
            let good = result.is_ok();
            self.report_probe("readiness or liveness", &result, begun, &mut reported);
            let early = !well && !good && begun.elapsed() < plan.delay + plan.period * plan.failure;
            match if early { Verdict::Open } else { tally.count(plan, good) } {
                Verdict::Well if !well => {
                    well = true;
                    report(true);
                }
                Verdict::Ill => {
                    report(false);
                    return;
                }
                _ => {}
            }
            let pause = probe::pause(plan, well, attempt);
            sleep(if exec { pause.max(Duration::from_millis(200)) } else { pause }).await;
        }
    }

    /// Records why a probe fails, except in the first moments after the start, when every probe fails.
    fn report_probe(
        &self,
        probe: &str,
        result: &Result<(), ProbeFailure>,
        since: Instant,
        reported: &mut Option<String>,
    ) {
        let failure = match result {
            Ok(()) => None,
            Err(reason) if since.elapsed() > FIRST_MOMENTS => {
                Some(format!("its {probe} probe fails: {reason}"))
            }
            Err(_) => return,
        };
        if *reported != failure {
            reported.clone_from(&failure);
            self.show(|state| state.probe_failure = failure);
        }
    }

    fn plan(&self, probe: Option<&Probe>) -> Option<Plan> {
        probe::plan(&self.pod, probe?).ok()
    }

    fn container_ref(&self) -> ContainerRef<'_> {
        ContainerRef {
            pod: &self.pod,
            container: &self.container,
            sandbox: &self.sandbox,
            address: self.address,
        }
    }

    fn failed(&self, reason: &dyn std::error::Error) -> i32 {
        let message = reason.to_string();
        self.show(|state| state.enter(Phase::Waiting { reason: "CreateContainerError".into(), message }));
        STARTING
    }

    fn show(&self, change: impl FnOnce(&mut status::Container)) {
        self.context.shared.pod(&self.key, &now(), |pod| {
            if let Some(state) = pod.containers.iter_mut().find(|state| state.name == self.container.name) {
                change(state);
            }
        });
    }

    fn id(&self, number: u32) -> String {
        format!("{}-{number}", self.container.name)
    }
}

async fn outcome(exit: Exit) -> Result<i32, SandboxError> {
    exit.await.unwrap_or(Ok(KILLED))
}

const FIRST_MOMENTS: Duration = Duration::from_secs(2);
/// Exit code of a killed process.
const KILLED: i32 = 137;
/// Exit code of a container that could not be started.
const STARTING: i32 = 128;
/// Grace period of pods that do not set one.
const USUAL_GRACE: Duration = Duration::from_secs(30);
/// Maximum grace period of containers when the whole mesh ends.
const LAST_GRACE: Duration = Duration::from_secs(3);
