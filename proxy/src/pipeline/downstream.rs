//! A client's connection as all later stages see it: who called, what it wanted to reach, and which chain it takes.

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

/// A client's connection.
pub(super) struct Downstream {
    pub(super) thread: Rc<Thread>,
    pub(super) chain: Arc<Chain>,
    pub(super) live: Rc<Entry>,
    pub(super) reporter: Reporter,
    pub(super) peer: SocketAddr,
    /// What the client wanted to reach: the original destination, or our address.
    pub(super) local: SocketAddr,
    /// The original destination, if the connection was redirected.
    pub(super) original: Option<SocketAddr>,
    pub(super) tls: bool,
    /// How it is encrypted.
    pub(super) session: Option<Session>,
    pub(super) server_name: Option<Arc<str>>,
    /// Who the client is, if it showed a certificate, which was verified.
    pub(super) client: Option<Arc<Peer>>,
    /// The number of its SPIFFE id in metrics.
    pub(super) principal: u32,
    /// The number of its address in metrics.
    pub(super) peer_number: u32,
    /// Our element of `x-forwarded-client-cert`.
    pub(super) certificate: Option<HeaderValue>,
    /// Its number in logs.
    pub(super) number: u64,
    /// Our address.
    pub(super) own: SocketAddr,
    /// How long the TLS handshake took, from the connection's beginning.
    pub(super) handshake: Option<Duration>,
    /// Certificates of both ends, where a log names what only they tell.
    pub(super) certificates: Option<Rc<Certificates>>,
}

impl Downstream {
    /// The client showed a certificate that was verified.
    pub(super) fn mutual(&self) -> bool {
        self.client.is_some()
    }

    /// What few logs name, if one of these does.
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

    /// Counters of the listener that took it.
    pub(super) fn listener_stats(&self) -> Arc<ListenerStats> {
        self.thread.telemetry.listener(&self.live.listener)
    }

    /// Counts what a filter counts.
    pub(super) fn count(&self, stat: Stat<'_>) {
        match stat {
            Stat::Connection(name) => {
                self.thread.telemetry.count(("http", &self.http().model.stat_prefix), name);
            }
            Stat::Cluster(cluster, name) => self.thread.telemetry.count(("cluster", cluster), name),
        }
    }

    /// Settings of an HTTP connection.
    pub(super) fn http(&self) -> &Http {
        match &self.chain.protocol {
            Protocol::Http(http) => http,
            Protocol::Tcp(_) => unreachable!("only connections of HTTP chains are served as HTTP"),
        }
    }

    /// Who asks, for authorization.
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
