//! Takes a connection through accept and identify, then hands it to the protocol of its filter chain.

use super::downstream::Downstream;
use super::live::{Limits, State};
use super::world::{Thread, now};
use super::{http, tcp};
use crate::accept::{self, Accepted, handover};
use crate::filter::rbac::decide::{Decision, decide};
use crate::flow::certificate::Certificate;
use crate::flow::extra::Certificates;
use crate::flow::record::Reporter;
use crate::identify::sniff::Sniffed;
use crate::identify::{self, InspectError, Refused, chain};
use crate::io::{Prefixed, Stream, uptime};
use crate::snapshot::listener::{Chain, Listener, Protocol};
use crate::telemetry::access_log::Log;
use crate::telemetry::stats::ListenerStats;
use ::http::HeaderValue;
use api::model::listener::{Direction, ForwardClientCertificate, Transport};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Serves an accepted connection to its end.
pub(super) async fn serve(
    thread: Rc<Thread>,
    listener: Arc<Listener>,
    accepted: Accepted,
    stats: Arc<ListenerStats>,
) {
    let Accepted { socket, peer, local } = accepted;
    let began = now();
    let model = &listener.model;
    let redirected =
        model.use_original_destination || model.inspect.original_destination.contains(local.port());
    let original = redirected.then(|| accept::destination(&socket)).flatten();
    if handover::is_loop(listener.model.address, local, original) {
        tracing::debug!(listener = %listener.name, %peer, "closed a connection that leads back to its listener");
        return;
    }
    let captured = original.filter(|_| listener.model.use_original_destination);
    let taking = handed_over(&thread, listener.clone(), captured);
    let destination = original.unwrap_or(local);
    let mut stream = Prefixed::new(socket);
    let seen = match inspect(&taking, &mut stream, destination).await.transpose() {
        Some(seen) => seen,
        None => inspect_slow_client(&thread, &taking, &mut stream, (destination, peer)).await,
    };
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => {
            tracing::debug!(listener = %taking.name, %peer, %error, "closed a connection");
            return;
        }
    };
    // The configuration may have changed while we waited for the client's first bytes.
    let Some(listener) = thread.listener(&listener.name) else {
        return crate::io::reset(stream.socket());
    };
    let taking = handed_over(&thread, listener, captured);
    let Some(chain) = chain::choose(&taking, destination, peer, &seen).cloned() else {
        unmatched(&taking, (destination, peer), &seen, &stats);
        return crate::io::reset(stream.socket());
    };
    let server_name = seen.server_name.map(Into::into);
    let client = Client { peer, own: local, destination, original, server_name, began };
    let Some((stream, connection)) =
        identified(&thread, &taking, chain.clone(), stream, client, &stats).await
    else {
        return;
    };
    let connection = Rc::new(connection);
    let subject = connection.subject(peer.ip(), None);
    if let Some(Decision::Denied(policy)) =
        chain.authorization.iter().map(|rules| decide(rules, &subject)).find(|d| *d != Decision::Allowed)
    {
        tracing::debug!(listener = %taking.name, %peer, policy, "authorization refuses the connection");
        return crate::io::reset(stream.socket());
    }
    match &chain.protocol {
        Protocol::Http(_) => http::serve(stream, connection).await,
        Protocol::Tcp(tcp) => tcp::serve(stream, connection, tcp).await,
    }
}

/// Counts a connection that no filter chain matches. Logs a client that sends plaintext to a port that accepts only
/// TLS (as under STRICT), because the client itself sees nothing but a reset.
fn unmatched(
    listener: &Listener,
    (destination, peer): (SocketAddr, SocketAddr),
    seen: &Sniffed,
    stats: &ListenerStats,
) {
    stats.no_filter_chain_match.add(1);
    let would_match = || chain::choose(listener, destination, peer, &inside_tls()).is_some();
    let is_plaintext = listener.model.direction == Direction::Inbound
        && seen.transport != Some(Transport::Tls)
        && would_match();
    if !is_plaintext {
        tracing::debug!(listener = %listener.name, %peer, %destination, "no filter chain matches the connection");
        return;
    }
    stats.downstream_cx_plaintext_refused.add(1);
    if stats.tells_of_refused(uptime(now())) {
        tracing::warn!(
            listener = %listener.name, %peer, %destination,
            "refused a plaintext client: the port accepts only mutual TLS, as with PeerAuthentication STRICT"
        );
    }
}

/// A connection known only to use TLS.
fn inside_tls() -> Sniffed {
    Sniffed { transport: Some(Transport::Tls), ..Sniffed::default() }
}

/// Inspects the first bytes of a connection; `None`: too few arrived in time. An inbound connection is not inspected
/// where its bytes decide nothing, as on TCP ports without mutual TLS. An outbound connection always is, because
/// access logs show its server name.
async fn inspect(
    listener: &Listener,
    stream: &mut Prefixed,
    destination: SocketAddr,
) -> Result<Option<Sniffed>, InspectError> {
    if listener.model.direction == Direction::Inbound && chain::is_settled(listener, destination) {
        return Ok(Some(Sniffed::default()));
    }
    identify::inspect(stream, &listener.model.inspect, destination.port()).await
}

/// The listener that serves a connection: for a captured connection, the listener of its original destination if there
/// is one, else `listener`, which accepted it.
fn handed_over(thread: &Thread, listener: Arc<Listener>, captured: Option<SocketAddr>) -> Arc<Listener> {
    let found = captured.and_then(|original| thread.config().virtuals.find(original).cloned());
    found.unwrap_or(listener)
}

/// Decides what to assume of a connection whose client sent too little before the inspection timeout.
///
/// That timeout is short because in some protocols the server sends first, so a silent connection may belong to a TCP
/// chain. If the chain is HTTP, in plaintext or inside TLS, the client sends first and is merely slow, as happens
/// under load. Treating its later ClientHello as plaintext would fail the connection, so this waits for the client's
/// bytes.
async fn inspect_slow_client(
    thread: &Thread,
    listener: &Listener,
    stream: &mut Prefixed,
    (destination, peer): (SocketAddr, SocketAddr),
) -> Result<Sniffed, InspectError> {
    let silent = Sniffed::default();
    let inside_tls = inside_tls();
    let choose = |seen| chain::choose(listener, destination, peer, seen);
    let timeout = match choose(&silent).or_else(|| choose(&inside_tls)).map(|chain| &chain.protocol) {
        Some(Protocol::Http(http)) => http::first_bytes_timeout(&http.model),
        Some(Protocol::Tcp(_)) | None => return Ok(silent),
    };
    let inbound = listener.model.direction == Direction::Inbound;
    let limits = Limits { idle: Some(timeout), ..Limits::default() };
    let waiting = thread.live.add((listener.name.clone(), None, inbound), limits, now());
    let looking = identify::inspect_late(stream, &listener.model.inspect, destination.port());
    waiting.before(State::Draining, looking).await.unwrap_or(Err(InspectError::Timeout))
}

struct Client {
    peer: SocketAddr,
    /// The proxy's address.
    own: SocketAddr,
    began: Instant,
    destination: SocketAddr,
    original: Option<SocketAddr>,
    server_name: Option<Arc<str>>,
}

/// Completes the TLS handshake where the chain requires TLS, and reads the client's identity from its certificate.
async fn identified(
    thread: &Rc<Thread>,
    listener: &Listener,
    chain: Arc<Chain>,
    stream: Prefixed,
    client: Client,
    stats: &ListenerStats,
) -> Option<(Stream, Downstream)> {
    let inbound = listener.model.direction == Direction::Inbound;
    let live = thread.live.add((listener.name.clone(), Some(chain.clone()), inbound), limits(&chain), now());
    let mut connection = Downstream {
        thread: thread.clone(),
        live,
        reporter: if inbound { Reporter::Destination } else { Reporter::Source },
        peer: client.peer,
        local: client.destination,
        original: client.original,
        tls: chain.tls.is_some(),
        session: None,
        server_name: client.server_name,
        client: None,
        principal: 0,
        peer_number: if inbound { thread.telemetry.peer(client.peer.ip()) } else { 0 },
        certificate: None,
        number: crate::io::number(),
        own: client.own,
        handshake: None,
        certificates: None,
        chain: chain.clone(),
    };
    let Some(tls) = &chain.tls else { return Some((Stream::Plain(stream), connection)) };
    let result = {
        let handshake = pin!(tokio::time::timeout(HANDSHAKE, identify::accept(stream, tls)));
        // A client that sends no more must not keep the proxy from ending.
        connection.live.before(State::Closing, handshake).await.and_then(Result::ok)
    };
    let Some(result) = result else {
        stats.ssl_connection_error.add(1);
        return None;
    };
    let accepted = result.map_err(|error| failed(listener, client.peer, &error, stats)).ok()?;
    let stream = Stream::Tls(accepted.stream);
    if let Some(identity) = accepted.client.as_ref().and_then(|client| client.identity.as_ref()) {
        let principal = identity.strip_prefix("spiffe://").unwrap_or(identity);
        connection.principal = thread.telemetry.principal(principal);
    }
    if let Protocol::Http(http) = &chain.protocol {
        let own = || tls.own.uris(accepted.server_name.as_deref());
        connection.certificate = certificate(own, &stream, http.model.client_certificate);
    }
    // As in Envoy, policies and logs see a server name only if the TLS inspector ran.
    if listener.model.inspect.tls.contains(connection.local.port()) {
        connection.server_name = accepted.server_name.or(connection.server_name);
    }
    (connection.client, connection.session) = (accepted.client, accepted.session);
    connection.handshake = Some(now().saturating_duration_since(client.began));
    if chain.logs().iter().any(Log::needs_certificates) {
        let local = tls.own.leaf(connection.server_name.as_deref());
        connection.certificates = Some(Rc::new(Certificates {
            peer: Certificate::of(stream.peer_certificates()),
            local: local.and_then(|leaf| Certificate::of(&[leaf])),
        }));
    }
    Some((stream, connection))
}

/// Counts a failed handshake. Logs a warning if the client's certificate was refused, because an operator has to fix
/// that.
fn failed(listener: &Listener, peer: SocketAddr, error: &io::Error, stats: &ListenerStats) {
    stats.ssl_connection_error.add(1);
    let refused = identify::refused(error);
    match refused {
        Some(Refused::Anonymous) => stats.ssl_fail_verify_no_cert.add(1),
        Some(Refused::Untrusted) => stats.ssl_fail_verify_error.add(1),
        Some(Refused::WrongName) => stats.ssl_fail_verify_san.add(1),
        None => {}
    }
    if refused.is_some() && stats.tells_of_refused(uptime(now())) {
        tracing::warn!(listener = %listener.name, %peer, %error, "a client is refused for its certificate");
    } else {
        tracing::debug!(listener = %listener.name, %peer, %error, "TLS handshake failed");
    }
}

fn certificate(
    own: impl FnOnce() -> Vec<String>,
    stream: &Stream,
    what: ForwardClientCertificate,
) -> Option<HeaderValue> {
    use api::model::listener::ForwardMode::{AppendForward, SanitizeSet};
    if !matches!(what.mode, AppendForward | SanitizeSet) {
        return None;
    }
    let certificates = stream.peer_certificates();
    if certificates.is_empty() {
        return None;
    }
    let element = identify::forwarded_certificate(certificates, &own(), &what)?;
    HeaderValue::from_str(&element).ok()
}

fn limits(chain: &Chain) -> Limits {
    match &chain.protocol {
        Protocol::Http(http) => Limits {
            idle: http.model.idle_timeout,
            // The request's own timeouts end it first, with a response. This limit cuts what is left a little later.
            stream_idle: http.model.stream_idle_timeout.map(|limit| limit + (limit / 2).min(LATER)),
            duration: http.model.max_connection_duration,
        },
        // A TCP connection counts as busy until it closes, so only the stream idle timeout ends it.
        Protocol::Tcp(tcp) => Limits { idle: None, stream_idle: tcp.model.idle_timeout, duration: None },
    }
}

const LATER: Duration = Duration::from_secs(1);
/// Timeout of a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(15);
