//! A client's connection as later stages see it: the client, its destination, and its filter chain.

use super::live::Entry;
use super::world::Thread;
use crate::filter::step::Stat;
use crate::flow::extra::{Certificates, Extra};
use crate::flow::peer::Peer;
use crate::flow::record::{Reporter, Traffic};
use crate::flow::subject::Subject;
use crate::flow::tls::Session;
use crate::flow::unique;
use crate::snapshot::listener::{Chain, Http, Protocol};
use crate::telemetry::access_log::Log;
use crate::telemetry::stats::ListenerStats;
use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client's connection and the facts that accept and identify found.
pub(super) struct Downstream {
    pub(super) thread: Rc<Thread>,
    pub(super) chain: Arc<Chain>,
    pub(super) live: Rc<Entry>,
    pub(super) reporter: Reporter,
    pub(super) peer: SocketAddr,
    /// The client's destination: the original destination, or the proxy's address.
    pub(super) local: SocketAddr,
    /// The original destination, if the connection was redirected.
    pub(super) original: Option<SocketAddr>,
    pub(super) tls: bool,
    /// TLS version and cipher.
    pub(super) session: Option<Session>,
    pub(super) server_name: Option<Arc<str>>,
    /// The client's identity, from its verified certificate, if it sent one.
    pub(super) client: Option<Arc<Peer>>,
    /// Number of the client's SPIFFE id in metrics.
    pub(super) principal: u32,
    /// Number of the client's address in metrics.
    pub(super) peer_number: u32,
    /// The element that the proxy adds to `x-forwarded-client-cert`.
    pub(super) certificate: Option<HeaderValue>,
    /// Connection number in logs.
    pub(super) number: u64,
    /// The proxy's address.
    pub(super) own: SocketAddr,
    /// Time from the start of the connection to the end of the TLS handshake.
    pub(super) handshake: Option<Duration>,
    /// Certificates of both ends, where an access log uses a field that only they provide.
    pub(super) certificates: Option<Rc<Certificates>>,
}

impl Downstream {
    /// Whether the client sent a certificate that was verified.
    pub(super) fn mutual(&self) -> bool {
        self.client.is_some()
    }

    /// The data for rarely used log operators, if one of `logs` uses any.
    pub(super) fn extra(&self, logs: &[Log], traffic: Traffic, start: Instant) -> Option<Box<Extra>> {
        if !logs.iter().any(|log| log.needs_extra(traffic)) {
            return None;
        }
        let mut extra = Extra::new(start, self.number, self.own, self.chain.model.clone());
        extra.unique = unique::number(|| self.thread.random());
        extra.handshake = self.handshake;
        extra.certificates.clone_from(&self.certificates);
        Some(Box::new(extra))
    }

    /// Counters of the listener that accepted the connection.
    pub(super) fn listener_stats(&self) -> Arc<ListenerStats> {
        self.thread.telemetry.listener(&self.live.listener)
    }

    /// Increments a counter for a filter.
    pub(super) fn count(&self, stat: Stat<'_>) {
        match stat {
            Stat::Connection(name) => {
                self.thread.telemetry.count(("http", &self.http().model.stat_prefix), name);
            }
            Stat::Cluster(cluster, name) => self.thread.telemetry.count(("cluster", cluster), name),
        }
    }

    /// Settings of an HTTP connection. Panics on a TCP chain.
    pub(super) fn http(&self) -> &Http {
        match &self.chain.protocol {
            Protocol::Http(http) => http,
            Protocol::Tcp(_) => unreachable!("only connections of HTTP chains are served as HTTP"),
        }
    }

    /// The subject of an authorization check.
    pub(super) fn subject<'a>(
        &'a self,
        client: IpAddr,
        head: Option<&'a crate::flow::head::Head<'a>>,
    ) -> Subject<'a> {
        Subject {
            destination: self.local,
            source: self.peer,
            client,
            server_name: self.server_name.as_deref(),
            tls: self.tls,
            peer: self.client.as_deref(),
            head,
        }
    }
}
