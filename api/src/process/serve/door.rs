//! Takes connections from a listening socket, gives each a place in the crowd, and closes those whose time is up. Exists
//! so that every listener, whatever it speaks, treats strangers alike; see `crowd` for the rules.

use super::crowd::{Crowd, Id, Limits, Place, Why};
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

/// What connections are taken from.
pub trait Listener: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and where it comes from.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = self.accept().await?;
        // Small frames both ways: waiting to fill a packet only adds delay.
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    }
}

/// Whoever may open the socket is on this machine, which an address of the loopback says.
impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, (Ipv4Addr::LOCALHOST, 0).into()))
    }
}

/// The way in to a listener.
pub struct Door {
    shared: Arc<Shared>,
    /// No limit of a connection is over earlier.
    look_after: Duration,
}

struct Shared {
    inside: Mutex<Inside>,
    /// Something is due earlier than was known.
    sooner: Notify,
}

struct Inside {
    crowd: Crowd,
    seats: BTreeMap<Id, Open>,
    /// When a limit may be over. Looking takes a look at every connection, so it is not done with each that comes.
    due: Option<std::time::Instant>,
    /// When it was last told that places are scarce.
    told: Option<std::time::Instant>,
}

/// An open connection as the door sees it.
struct Open {
    cut: CancellationToken,
    /// Who is at its other end, where that is known.
    peer: Option<Arc<Peer>>,
}

impl Door {
    /// A door with these limits, and those of the process's open files.
    pub fn new(limits: Limits) -> Self {
        let crowd = Crowd::new(limits.within(open_files::limit()));
        let inside = Mutex::new(Inside { crowd, seats: BTreeMap::new(), due: None, told: None });
        let shared = Arc::new(Shared { inside, sooner: Notify::new() });
        Self { shared, look_after: limits.shortest() }
    }

    /// The next connection that has a place. Connections are closed in time only while somebody waits here. May be
    /// cancelled.
    pub async fn accept<L: Listener>(&self, listener: &L) -> (L::Stream, SocketAddr, Seat) {
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
                    if let Some(seat) = self.shared.admit(address.ip(), self.look_after) {
                        return (stream, address, seat);
                    }
                    tracing::debug!(%address, "a connection is refused: those that are open are all in use");
                }
                // The other end has gone already.
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors, most likely: some have to be given back.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    self.shared.make_room();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the connections whose peers do not pass a check. Long lists are gone through in parts, between which
    /// others have their turn.
    pub async fn recheck(&self, passes: impl Fn(&Peer) -> bool) {
        let peers: Vec<(Id, Arc<Peer>)> = {
            let inside = self.shared.lock();
            inside.seats.iter().filter_map(|(id, open)| Some((*id, open.peer.clone()?))).collect()
        };
        for (number, (id, peer)) in peers.iter().enumerate() {
            if !passes(peer) {
                self.shared.lock().close(*id, Why::Untrusted);
            }
            if number % PART == PART - 1 {
                tokio::task::yield_now().await;
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Each change is whole before it can panic.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: &Arc<Self>, address: IpAddr, look_after: Duration) -> Option<Seat> {
        let mut inside = self.lock();
        let now = now();
        let id = match inside.crowd.admit(address, now) {
            Place::Free(id) => id,
            Place::Taken(id, other) => {
                inside.tell_of_scarcity(now, address);
                inside.close(other, Why::Room);
                id
            }
            Place::None => {
                inside.tell_of_scarcity(now, address);
                return None;
            }
        };
        let look = now + look_after;
        inside.due = Some(inside.due.map_or(look, |due| due.min(look)));
        let cut = CancellationToken::new();
        inside.seats.insert(id, Open { cut: cut.clone(), peer: None });
        Some(Seat { place: Arc::new(Spot { shared: self.clone(), id }), cut })
    }

    /// Closes what is due; when to look again.
    fn close_due(&self) -> Option<Instant> {
        let mut inside = self.lock();
        let now = now();
        if inside.due.is_some_and(|due| due <= now) {
            let (over, next) = inside.crowd.due(now, wall());
            for (id, why) in over {
                inside.close(id, why);
            }
            // Those that are due at almost the same time are closed together.
            inside.due = next.map(|next| next.max(now + TOGETHER));
        }
        inside.due.map(Instant::from_std)
    }

    fn make_room(&self) {
        let mut inside = self.lock();
        for _ in 0..ROOM {
            let Some(id) = inside.crowd.evict() else { return };
            inside.close(id, Why::Room);
        }
    }
}

impl Inside {
    fn tell_of_scarcity(&mut self, now: std::time::Instant, address: IpAddr) {
        if self.told.is_none_or(|told| now >= told + TELL_AGAIN) {
            self.told = Some(now);
            let open = self.crowd.len();
            tracing::warn!(open, newest = %address, "too many connections; those that do nothing make room");
        }
    }

    fn close(&mut self, id: Id, why: Why) {
        self.crowd.remove(id);
        if let Some(open) = self.seats.remove(&id) {
            let peer = open.peer.as_ref();
            let identity = peer.and_then(|peer| peer.identity.as_ref()).map(tracing::field::display);
            let address = peer.map(|peer| tracing::field::display(peer.address));
            tracing::debug!(address, identity, %why, "a connection is closed");
            open.cut.cancel();
        }
    }
}

/// The place of a connection. It is free again when this is dropped.
pub struct Seat {
    place: Arc<Spot>,
    cut: CancellationToken,
}

/// A number at a door.
struct Spot {
    shared: Arc<Shared>,
    id: Id,
}

impl Seat {
    /// Runs the connection until it ends or is closed to make room or for its time; `None` when it was closed.
    pub async fn run<F: Future>(&self, connection: F) -> Option<F::Output> {
        self.cut.run_until_cancelled(connection).await
    }

    /// A stream that notes its first byte. `greets`: what comes first is a handshake.
    pub fn watch<S>(&self, stream: S, greets: bool) -> Watched<S> {
        Watched { stream, silent: Some(self.place.clone()), greets }
    }

    /// A request has come; it is over when the value is dropped.
    pub fn begin(&self) -> Exchange {
        Exchange::begin(&self.place)
    }

    /// What counts the requests of this connection.
    pub(super) fn counter(&self) -> Counter {
        Counter(self.place.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inside = self.place.shared.lock();
        inside.crowd.remove(self.place.id);
        inside.seats.remove(&self.place.id);
    }
}

/// Tells the door what happens on a connection, without holding its place.
#[derive(Clone)]
pub(super) struct Counter(Arc<Spot>);

impl Counter {
    pub(super) fn begin(&self) -> Exchange {
        Exchange::begin(&self.0)
    }

    /// The handshake is over and this is the peer.
    pub(super) fn greeted(&self, peer: &Arc<Peer>) {
        let Spot { shared, id } = &*self.0;
        let mut inside = shared.lock();
        let known = peer.identity.is_some();
        let expires = peer.not_after();
        if let Some(other) = inside.crowd.greeted(*id, known, expires, now()) {
            inside.close(other, Why::Room);
        }
        if let Some(open) = inside.seats.get_mut(id) {
            open.peer = Some(peer.clone());
        }
        // Its certificate may end before anything else is due.
        let end = expires.map(|end| now() + end.duration_since(wall()).unwrap_or_default());
        if let Some(end) = end.filter(|end| inside.due.is_none_or(|due| *end < due)) {
            inside.due = Some(end);
            shared.sooner.notify_one();
        }
    }

    /// Closes the connection.
    pub(super) fn close(&self, why: Why) {
        self.0.shared.lock().close(self.0.id, why);
    }
}

/// A request that is under way.
pub struct Exchange {
    place: Arc<Spot>,
    number: u64,
}

impl Exchange {
    fn begin(place: &Arc<Spot>) -> Self {
        let number = place.shared.lock().crowd.began(place.id, now());
        Self { place: place.clone(), number }
    }

    /// The response begins, with so many bytes that are there already.
    pub fn answered(&self, bytes: usize) {
        let mut inside = self.place.shared.lock();
        if let Some(other) = inside.crowd.answered(self.place.id, self.number, bytes, now()) {
            inside.close(other, Why::Bodies);
        }
    }

    /// What counts the bytes of the request's body.
    pub(super) fn upload(&self) -> Upload {
        Upload { place: self.place.clone(), number: self.number }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.place.shared.lock().crowd.ended(self.place.id, self.number, now());
    }
}

/// Counts what the body of a request holds while the request is not answered.
pub(super) struct Upload {
    place: Arc<Spot>,
    number: u64,
}

impl Upload {
    pub(super) fn took(&self, bytes: usize) {
        let mut inside = self.place.shared.lock();
        if let Some(other) = inside.crowd.took(self.place.id, self.number, bytes) {
            inside.close(other, Why::Bodies);
        }
    }
}

/// A stream that notes its first byte.
pub struct Watched<S> {
    stream: S,
    silent: Option<Arc<Spot>>,
    greets: bool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > before
            && let Some(place) = this.silent.take()
        {
            place.shared.lock().crowd.spoke(place.id, this.greets);
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
const TELL_AGAIN: Duration = Duration::from_secs(10);
const TOGETHER: Duration = Duration::from_millis(50);
/// Connections that are closed when a process has no descriptor left.
const ROOM: usize = 16;
/// Peers that are checked in one turn.
const PART: usize = 32;
