//! Accepts connections from a listening socket within limits, and closes connections whose time limits have passed.
//! Exists so that all listeners apply the same limits whatever their protocol; `connections` decides.

use super::connections::{Admission, CloseReason, Connections, Id, Limits};
use super::peer::Peer;
use crate::process::open_files;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A listening socket.
pub trait Listener: Send {
    /// An accepted connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and its address.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.accept().await?;
        // Frames are small both ways; waiting to fill a packet only adds latency.
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    }
}

/// Clients of a Unix socket are on this machine, so they get the loopback address.
impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, (Ipv4Addr::LOCALHOST, 0).into()))
    }
}

/// Accepts connections within limits.
pub struct Acceptor {
    shared: Arc<Shared>,
    /// No time limit of a connection passes earlier than this.
    look_after: Duration,
}

struct Shared {
    inside: Mutex<Inside>,
    /// Notified when a limit passes earlier than `due`.
    sooner: Notify,
}

struct Inside {
    connections: Connections,
    slots: BTreeMap<Id, Open>,
    /// When a limit may next have passed. A check visits every connection, so it is not made for each new connection.
    due: Option<std::time::Instant>,
    /// When the last warning about too many connections was logged.
    warned: Option<std::time::Instant>,
}

/// An open connection.
struct Open {
    closed: CancellationToken,
    /// The peer, once its handshake is finished.
    peer: Option<Arc<Peer>>,
}

impl Acceptor {
    /// Creates an acceptor with these limits, lowered to what the process's limit on open files allows.
    pub fn new(limits: Limits) -> Self {
        let connections = Connections::new(limits.within(open_files::limit()));
        let inside = Mutex::new(Inside { connections, slots: BTreeMap::new(), due: None, warned: None });
        let shared = Arc::new(Shared { inside, sooner: Notify::new() });
        Self { shared, look_after: limits.shortest() }
    }

    /// Accepts the next connection within the limits. Connections whose time limits have passed are closed only while
    /// this runs. Cancel-safe.
    pub async fn accept<L: Listener>(&self, listener: &L) -> (L::Stream, SocketAddr, Slot) {
        loop {
            let next = self.shared.close_due();
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            let accepted = tokio::select! {
                accepted = listener.next() => accepted,
                () = due => continue,
                () = self.shared.sooner.notified() => continue,
            };
            match accepted {
                Ok((stream, address)) => {
                    if let Some(slot) = self.shared.admit(address.ip(), self.look_after) {
                        return (stream, address, slot);
                    }
                    tracing::debug!(%address, "refused a connection: all open connections are in use");
                }
                // The client has closed the connection already.
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    // Most likely the process has no descriptor left, so some connections are closed.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.shared.make_room();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the connections whose peers do not pass a check. Yields to other tasks after every batch of connections.
    pub async fn recheck(&self, passes: impl Fn(&Peer) -> bool) {
        let peers: Vec<(Id, Arc<Peer>)> = {
            let inside = self.shared.lock();
            inside.slots.iter().filter_map(|(id, open)| Some((*id, open.peer.clone()?))).collect()
        };
        for (number, (id, peer)) in peers.iter().enumerate() {
            if !passes(peer) {
                self.shared.lock().close(*id, CloseReason::Untrusted);
            }
            if number % BATCH == BATCH - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // No change can panic halfway, so a poisoned state is consistent.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: &Arc<Self>, address: IpAddr, look_after: Duration) -> Option<Slot> {
        let mut inside = self.lock();
        let now = now();
        let id = match inside.connections.admit(address, now) {
            Admission::Free(id) => id,
            Admission::Taken(id, other) => {
                inside.warn_of_scarcity(now, address);
                inside.close(other, CloseReason::Room);
                id
            }
            Admission::None => {
                inside.warn_of_scarcity(now, address);
                return None;
            }
        };
        let look = now + look_after;
        inside.due = Some(inside.due.map_or(look, |due| due.min(look)));
        let closed = CancellationToken::new();
        inside.slots.insert(id, Open { closed: closed.clone(), peer: None });
        Some(Slot { handle: Arc::new(Handle { shared: self.clone(), id }), closed })
    }

    /// Closes the connections whose limits have passed. Returns when to check again.
    fn close_due(&self) -> Option<Instant> {
        let mut inside = self.lock();
        let now = now();
        if inside.due.is_some_and(|due| due <= now) {
            let (expired, next) = inside.connections.due(now, wall());
            for (id, reason) in expired {
                inside.close(id, reason);
            }
            // Limits that pass at almost the same time are handled together.
            inside.due = next.map(|next| next.max(now + COALESCE));
        }
        inside.due.map(Instant::from_std)
    }

    fn make_room(&self) {
        let mut inside = self.lock();
        for _ in 0..EVICTED {
            let Some(id) = inside.connections.evict() else { return };
            inside.close(id, CloseReason::Room);
        }
    }
}

impl Inside {
    fn warn_of_scarcity(&mut self, now: std::time::Instant, address: IpAddr) {
        if self.warned.is_none_or(|warned| now >= warned + WARN_INTERVAL) {
            self.warned = Some(now);
            let open = self.connections.len();
            tracing::warn!(open, newest = %address, "too many connections: closing those that are idle or slow");
        }
    }

    fn close(&mut self, id: Id, reason: CloseReason) {
        self.connections.remove(id);
        if let Some(open) = self.slots.remove(&id) {
            let peer = open.peer.as_ref();
            let identity = peer.and_then(|peer| peer.identity.as_ref()).map(tracing::field::display);
            let address = peer.map(|peer| tracing::field::display(peer.address));
            tracing::debug!(address, identity, %reason, "closed a connection");
            open.closed.cancel();
        }
    }
}

/// The slot of an admitted connection. Dropping it frees the slot.
pub struct Slot {
    handle: Arc<Handle>,
    closed: CancellationToken,
}

/// Identifies a connection of an acceptor.
struct Handle {
    shared: Arc<Shared>,
    id: Id,
}

impl Slot {
    /// Runs the connection until it ends. Returns `None` if a limit closed it earlier.
    pub async fn run<F: Future>(&self, connection: F) -> Option<F::Output> {
        self.closed.run_until_cancelled(connection).await
    }

    /// Wraps the stream to note its first byte. `handshake_first`: the connection begins with a TLS handshake.
    pub fn watch<S>(&self, stream: S, handshake_first: bool) -> Watched<S> {
        Watched { stream, silent: Some(self.handle.clone()), handshake_first }
    }

    /// Notes a request, which ends when the returned value is dropped.
    pub fn begin(&self) -> Exchange {
        Exchange::begin(&self.handle)
    }

    /// Counts the requests of this connection.
    pub(super) fn counter(&self) -> Counter {
        Counter(self.handle.clone())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inside = self.handle.shared.lock();
        inside.connections.remove(self.handle.id);
        inside.slots.remove(&self.handle.id);
    }
}

/// Reports the events of a connection to the acceptor, without keeping its slot.
#[derive(Clone)]
pub(super) struct Counter(Arc<Handle>);

impl Counter {
    pub(super) fn begin(&self) -> Exchange {
        Exchange::begin(&self.0)
    }

    /// Notes the end of the handshake and the peer.
    pub(super) fn handshake_done(&self, peer: &Arc<Peer>) {
        let Handle { shared, id } = &*self.0;
        let mut inside = shared.lock();
        let authenticated = peer.identity.is_some();
        let expires = peer.not_after();
        if let Some(other) = inside.connections.handshake_done(*id, authenticated, expires, now()) {
            inside.close(other, CloseReason::Room);
        }
        if let Some(open) = inside.slots.get_mut(id) {
            open.peer = Some(peer.clone());
        }
        // Its certificate may expire before any other limit passes.
        let end = expires.map(|end| now() + end.duration_since(wall()).unwrap_or_default());
        if let Some(end) = end.filter(|end| inside.due.is_none_or(|due| *end < due)) {
            inside.due = Some(end);
            shared.sooner.notify_one();
        }
    }

    /// Closes the connection.
    pub(super) fn close(&self, reason: CloseReason) {
        self.0.shared.lock().close(self.0.id, reason);
    }
}

/// An active request.
pub struct Exchange {
    handle: Arc<Handle>,
    number: u64,
}

impl Exchange {
    fn begin(handle: &Arc<Handle>) -> Self {
        let number = handle.shared.lock().connections.began(handle.id, now());
        Self { handle: handle.clone(), number }
    }

    /// Notes that the response begins, with this many bytes of its body already in memory.
    pub fn responded(&self, bytes: usize) {
        let mut inside = self.handle.shared.lock();
        if let Some(other) = inside.connections.responded(self.handle.id, self.number, bytes, now()) {
            inside.close(other, CloseReason::Bodies);
        }
    }

    /// Counts the bytes of the request's body.
    pub(super) fn upload(&self) -> Upload {
        Upload { handle: self.handle.clone(), number: self.number }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.handle.shared.lock().connections.ended(self.handle.id, self.number, now());
    }
}

/// Counts the bytes of a request's body until its response begins.
pub(super) struct Upload {
    handle: Arc<Handle>,
    number: u64,
}

impl Upload {
    pub(super) fn received(&self, bytes: usize) {
        let mut inside = self.handle.shared.lock();
        if let Some(other) = inside.connections.received(self.handle.id, self.number, bytes) {
            inside.close(other, CloseReason::Bodies);
        }
    }
}

/// A stream that reports its first byte.
pub struct Watched<S> {
    stream: S,
    silent: Option<Arc<Handle>>,
    handshake_first: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > before
            && let Some(handle) = this.silent.take()
        {
            handle.shared.lock().connections.first_byte(handle.id, this.handshake_first);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

#[expect(clippy::disallowed_methods, reason = "the shell compares certificates with the time")]
fn wall() -> SystemTime {
    SystemTime::now()
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const WARN_INTERVAL: Duration = Duration::from_secs(10);
const COALESCE: Duration = Duration::from_millis(50);
/// The number of connections to close when the process has no descriptor left.
const EVICTED: usize = 16;
/// Peers that are checked before other tasks get a turn.
const BATCH: usize = 32;
