//! Listening sockets: binds and closes them as the configuration changes. One task for each listener accepts
//! connections.

use super::bound::Bound;
use super::connection;
use super::world::{Thread, now};
use crate::accept::{self, Accepted, Listening};
use crate::snapshot::Snapshot;
use crate::snapshot::listener::Listener;
use crate::telemetry::stats::ListenerStats;
use api::model::listener::Direction;
use api::name;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The bound listeners of a thread.
pub(super) struct Listeners {
    thread: Rc<Thread>,
    index: usize,
    bound: Bound,
    open: BTreeMap<String, Open>,
}

struct Open {
    address: SocketAddr,
    inbound: bool,
    task: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listeners {
    pub(super) fn new(thread: Rc<Thread>, index: usize, bound: Bound) -> Self {
        Self { thread, index, bound, open: BTreeMap::new() }
    }

    /// Binds listeners that are in the snapshot and closes those that are not. A listener whose address did not change
    /// keeps its socket.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        let wanted: BTreeMap<&String, &Arc<Listener>> =
            snapshot.compiled_listeners().iter().filter(|(_, l)| l.model.bind_to_port).collect();
        let bound = &self.bound;
        self.open.retain(|name, open| {
            let stays =
                wanted.get(name).is_some_and(|l| l.model.address == open.address) && !open.task.is_finished();
            if !stays && !wanted.contains_key(name) {
                bound.remove(name);
            }
            stays
        });
        for (name, listener) in wanted {
            if !self.open.contains_key(name) {
                let task = tokio::task::spawn_local(run(
                    self.thread.clone(),
                    listener.name.clone(),
                    listener.model.address,
                    (self.index, self.bound.clone()),
                ));
                let open = Open {
                    address: listener.model.address,
                    inbound: listener.model.direction == Direction::Inbound,
                    task,
                };
                self.open.insert(name.clone(), open);
            }
        }
    }

    /// Stops accepting connections.
    pub(super) fn close(&mut self, inbound_only: bool) {
        self.open.retain(|_, open| inbound_only && !open.inbound);
    }
}

/// The IPv6 address that belongs to a listener for captured connections: the kernel redirects both address families to
/// one port.
fn counterpart(name: &str, address: SocketAddr) -> Option<SocketAddr> {
    let captures = [name::VIRTUAL_INBOUND, name::VIRTUAL_OUTBOUND].contains(&name);
    (captures && address.ip() == Ipv4Addr::UNSPECIFIED)
        .then(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())))
}

async fn take(listening: &Listening, other: Option<&Listening>, pressed: impl Fn() + Copy) -> Accepted {
    let Some(other) = other else { return accept::next(listening, pressed).await };
    tokio::select! {
        accepted = accept::next(listening, pressed) => accepted,
        accepted = accept::next(other, pressed) => accepted,
    }
}

async fn run(thread: Rc<Thread>, name: Arc<str>, address: SocketAddr, (index, bound): (usize, Bound)) {
    let (listening, other) = open(&name, address, index, &bound).await;
    let stats = thread.telemetry.listener(&name);
    loop {
        let pressed = || {
            thread.live.make_room(ROOM, now());
        };
        let accepted = take(&listening, other.as_ref(), pressed).await;
        let Some(current) = thread.listener(&name) else { return };
        if thread.live.staying() >= MOST_CONNECTIONS {
            stats.downstream_cx_overflow.add(1);
            if !thread.live.make_room(ROOM, now()) {
                crate::io::reset(&accepted.socket);
                continue;
            }
            // Lets the connections that were just asked to close do so first.
            tokio::task::yield_now().await;
        }
        tokio::task::spawn_local(serve(thread.clone(), current, accepted, stats.clone()));
    }
}

async fn serve(thread: Rc<Thread>, listener: Arc<Listener>, accepted: Accepted, stats: Arc<ListenerStats>) {
    let _active = Active::new(stats.clone());
    connection::serve(thread, listener, accepted, stats).await;
}

/// Counts an open connection.
struct Active(Arc<ListenerStats>);

impl Active {
    fn new(stats: Arc<ListenerStats>) -> Self {
        stats.downstream_cx_active.add(1);
        stats.downstream_cx_total.add(1);
        Self(stats)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.downstream_cx_active.subtract(1);
    }
}

/// Binds the listener's address. While that fails, logs the reason and retries.
async fn open(
    name: &str,
    address: SocketAddr,
    index: usize,
    bound: &Bound,
) -> (Listening, Option<Listening>) {
    let mut reported = false;
    loop {
        // The first worker decides, in particular which port to use for port 0.
        let at = if index == 0 { address } else { bound.wait_for_bound(name, address).await };
        match bind(name, at) {
            Ok((listening, other)) => {
                bound.set(name, Ok(listening.address()));
                return (listening, other);
            }
            Err(error) if !reported => {
                reported = true;
                tracing::error!(listener = name, address = %at, %error, "cannot listen");
                bound.set(name, Err(format!("{at}: {error}")));
            }
            Err(_) => {}
        }
        tokio::time::sleep(BIND_AGAIN).await;
    }
}

fn bind(name: &str, address: SocketAddr) -> io::Result<(Listening, Option<Listening>)> {
    let listening = accept::bind(address)?;
    let other = counterpart(name, listening.address()).map(accept::bind).transpose();
    match other {
        Ok(other) => Ok((listening, other)),
        // On a machine without IPv6 no IPv6 traffic is redirected.
        Err(error) if accept::is_without_family(&error) => Ok((listening, None)),
        Err(error) => Err(error),
    }
}

/// Limit of connections of one thread. Above it, idle connections are closed; if none is idle, the next connection is
/// closed at once, so that existing connections can be served.
const MOST_CONNECTIONS: usize = 100_000;
/// Number of idle connections to close together, because finding them scans all connections.
const ROOM: usize = 1_000;
const BIND_AGAIN: Duration = Duration::from_secs(1);
