//! Runs a plan: one thread for control, admin and DNS, and the worker threads.

use super::failure::Failure;
use super::plan::{Certificate, DnsPlan, Page, PageKind, Plan};
use super::{capture, drain, workers};
use crate::admin::{self, Admin, Command, Shared};
use crate::control::removal::Departure;
use crate::control::{Seams, certificate, mounted, xds};
use crate::dns::{self, Dns};
use crate::pipeline::bound::Bound;
use crate::pipeline::drain::Drain;
use crate::pipeline::{self, Worker};
use crate::telemetry::Telemetry;
use crate::telemetry::peers::Peers;
use api::process::serve::connections::Limits;
use api::process::{channel, serve};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Runs until the process is asked to end and has drained.
pub(super) fn run(plan: Plan) -> Result<(), Failure> {
    if let Some(mark) = plan.socket_mark {
        channel::mark_sockets(mark);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(2)
        .build()
        .map_err(|error| Failure::Start(format!("no runtime: {error}")))?;
    let result = LocalSet::new().block_on(&runtime, serve_plan(plan));
    // A name lookup that hangs in the C library must not keep the process alive.
    runtime.shutdown_background();
    result
}

async fn serve_plan(mut plan: Plan) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (peers, callers) = Peers::new();
    let telemetry = Telemetry::new(plan.own.clone(), peers);
    name_stats(&telemetry);
    let seams = Seams::new(plan.store.clone(), telemetry.clone());
    seams.snapshot.send_replace(Arc::new(std::mem::take(&mut plan.snapshot)));

    let bound = Bound::default();
    let (drainer, drain) = pipeline::drain::drain();
    let (commands, mut commanded) = mpsc::unbounded_channel();
    let departure = departure(&plan, seams.clone());
    let admin = Admin::new(shared(&mut plan, seams.clone(), bound.clone(), (commands, departure.clone())));
    let closing = CancellationToken::new();
    serve_pages(&plan.pages, &admin, &closing).await?;
    serve_dns(plan.dns.take(), &seams, plan.socket_mark).await?;

    tokio::select! {
        () = capture::confirmed(&plan, &admin) => {}
        () = signals.any() => return Ok(()),
        () = quit(&mut commanded) => return Ok(()),
    }
    let mut ended = start_workers(&plan, &seams, &bound, &drain)?;
    telemetry.named("listener_manager.workers_started").store(1, Ordering::Relaxed);
    tracing::info!(node = plan.node.id, threads = plan.concurrency, "started");
    start_control(&mut plan, &seams, callers);

    let unbound = first_unbound(&bound, plan.must_bind);
    let mut unbound = std::pin::pin!(unbound);
    let mut announced = None;
    loop {
        tokio::select! {
            () = signals.any() => break,
            reason = &mut unbound => return Err(Failure::Start(reason)),
            Some(command) = commanded.recv() => match command {
                Command::Quit => return Ok(()),
                Command::Drain { inbound_only, graceful, departs } => {
                    let how = (inbound_only, graceful);
                    let departure = departs.then(|| departure.clone());
                    let started = drain::later(drainer.clone(), plan.drain.limit, how, departure);
                    announced = Some(AbortOnDropHandle::new(tokio::spawn(started)));
                    plan.drain = drain::announced(plan.drain);
                }
            },
            worker = ended.recv() => {
                return Err(Failure::Start(format!("worker {} ended by itself", worker.unwrap_or_default())));
            }
        }
    }
    drop(announced);
    admin.drain();
    telemetry.named("server.state").store(DRAINING, Ordering::Relaxed);
    tracing::info!("shutting down: draining");
    tokio::select! {
        () = drain::run(plan.drain, &drainer, &telemetry, &mut ended) => tracing::info!("drained"),
        () = signals.any() => tracing::info!("second signal: exiting at once"),
        () = quit(&mut commanded) => {}
    }
    closing.cancel();
    Ok(())
}

/// The signals that request shutdown.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::Start(format!("signals: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn quit(commanded: &mut mpsc::UnboundedReceiver<Command>) {
    while let Some(command) = commanded.recv().await {
        if command == Command::Quit {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// What the hooks of the ending pod wait for. The control plane of a static bootstrap is not asked.
fn departure(plan: &Plan, seams: Seams) -> Departure {
    let server = plan.discovery.as_ref().map(|(server, _)| server.clone());
    let server = server.filter(|server| matches!(server, xds::Server::Mesh { .. }));
    Departure::new(server, plan.node.clone(), seams, plan.drain.removal)
}

fn shared(
    plan: &mut Plan,
    seams: Seams,
    bound: Bound,
    (commands, departure): (mpsc::UnboundedSender<Command>, Departure),
) -> Shared {
    Shared {
        seams,
        bound,
        log: plan.log.clone(),
        node: plan.node.clone(),
        concurrency: plan.concurrency,
        started: plan.started,
        needs: plan.needs,
        probers: std::mem::take(&mut plan.probers),
        scrape: std::mem::take(&mut plan.scrape),
        address: plan.address,
        bootstrap: std::mem::take(&mut plan.bootstrap),
        capture: watch::Sender::new(plan.capture.map(|_| "capture of the pod's traffic".to_owned())),
        draining: AtomicBool::new(false),
        departure,
        commands,
    }
}

/// Creates at startup the counters that health checks read.
fn name_stats(telemetry: &Telemetry) {
    telemetry.named("server.state").store(INITIALIZING, Ordering::Relaxed);
    for name in [
        "listener_manager.workers_started",
        "cluster_manager.cds.update_success",
        "listener_manager.lds.update_success",
    ] {
        telemetry.named(name);
    }
}

async fn serve_pages(pages: &[Page], admin: &Admin, closing: &CancellationToken) -> Result<(), Failure> {
    for page in pages.iter().filter(|page| page.address.port() != 0) {
        let address = page.address;
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::Start(format!(
                "cannot listen on {address}: {error}; choose another port with {}",
                page.setting
            ))
        })?;
        let router = match page.kind {
            PageKind::Admin => admin::envoy(admin.clone()),
            PageKind::Status => admin::agent(admin.clone()),
            PageKind::Health => admin::health(admin.clone()),
            PageKind::Metrics => admin::metrics(admin.clone()),
        };
        tokio::spawn(serve::http_within(Limits::pages(), listener, router, closing.clone()));
    }
    Ok(())
}

async fn serve_dns(plan: Option<DnsPlan>, seams: &Seams, socket_mark: Option<u32>) -> Result<(), Failure> {
    let Some(plan) = plan else { return Ok(()) };
    let bound = dns::bind(plan.address).await;
    let (udp, tcp) = bound
        .map_err(|error| Failure::Start(format!("cannot listen on {} for DNS: {error}", plan.address)))?;
    let names = seams.names.subscribe();
    let dns = Dns { names, namespace: plan.namespace, resolv: plan.resolv, socket_mark };
    let other = other_loopback(plan.address);
    // Capture rules redirect queries for a name server of the other family to the loopback address of that family.
    match dns::bind(other).await {
        Ok((udp, tcp)) => start_dns(udp, tcp, dns.clone()),
        Err(error) => tracing::debug!(%error, "cannot serve DNS on {other}"),
    }
    start_dns(udp, tcp, dns);
    Ok(())
}

fn start_dns(udp: UdpSocket, tcp: TcpListener, dns: Dns) {
    tokio::spawn(async move {
        if let Err(error) = dns::serve(udp, tcp, dns).await {
            tracing::error!(%error, "the DNS server has failed");
        }
    });
}

fn other_loopback(address: SocketAddr) -> SocketAddr {
    let other: IpAddr =
        if address.is_ipv4() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    SocketAddr::new(other, address.port())
}

fn start_workers(
    plan: &Plan,
    seams: &Seams,
    bound: &Bound,
    drain: &Drain,
) -> Result<mpsc::Receiver<usize>, Failure> {
    let worker = |index| Worker {
        index,
        snapshot: seams.snapshot.subscribe(),
        telemetry: seams.telemetry.sink(index),
        credentials: seams.credentials.clone(),
        node: plan.own.clone(),
        drain: drain.clone(),
        socket_mark: plan.socket_mark,
        bound: bound.clone(),
    };
    workers::start((0..plan.concurrency).map(worker).collect())
        .map_err(|error| Failure::Start(format!("cannot start worker threads: {error}")))
}

fn start_control(plan: &mut Plan, seams: &Seams, callers: mpsc::UnboundedReceiver<IpAddr>) {
    let store = plan.store.clone();
    let folder = match std::mem::replace(&mut plan.certificate, Certificate::None) {
        Certificate::Authority(authority) => {
            tokio::task::spawn_local(certificate::run(*authority, seams.clone()));
            None
        }
        Certificate::Mounted(folder) => Some(folder),
        Certificate::None => None,
    };
    tokio::task::spawn_local(mounted::run(folder, store));
    if let Some((server, subscriptions)) = plan.discovery.take() {
        let seams = seams.clone();
        tokio::task::spawn_local(async move {
            if matches!(&server, xds::Server::Mesh { discovery, .. } if discovery.tls) {
                identity(&seams).await;
            }
            xds::run(server, subscriptions, seams, callers).await;
        });
    }
}

/// Waits briefly for the certificate, which the control plane may require. Without one, the token must suffice.
async fn identity(seams: &Seams) {
    let arrival = async {
        while !seams.credentials.contains(api::name::WORKLOAD_CERTIFICATE) {
            tokio::time::sleep(POLL).await;
        }
    };
    let _ = tokio::time::timeout(IDENTITY_LIMIT, arrival).await;
}

/// Returns the first listener that could not be bound, as a message. Never returns if `matters` is false: then a
/// failure only affects readiness.
async fn first_unbound(bound: &Bound, matters: bool) -> String {
    let mut all = bound.subscribe();
    loop {
        let failed = all.borrow_and_update().iter().find_map(|(name, result)| {
            let reason = result.as_ref().err()?;
            Some(format!("cannot bind listener {name}: {reason}"))
        });
        match failed {
            Some(reason) if matters => return reason,
            Some(reason) => tracing::error!(reason, "not ready"),
            None => {}
        }
        if all.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

const POLL: Duration = Duration::from_millis(5);
const IDENTITY_LIMIT: Duration = Duration::from_secs(5);
/// Envoy's values of `server.state`.
const DRAINING: u64 = 1;
const INITIALIZING: u64 = 2;
