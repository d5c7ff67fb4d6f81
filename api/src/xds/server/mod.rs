//! Pure. One client's session at a server: its subscriptions, what it has been sent, and the next responses.
//!
//! Both forms of the protocol share the same state; they differ in how a request is parsed (`parsed`) and in how a
//! response is encoded (`response`).

mod response;
mod watch;
mod parsed;
mod limit;
mod client_state;
mod request;
mod status;

pub use limit::Excess;
pub use request::{Mode, Request};
pub use response::{Parts, Response};
pub use status::{Nack, Status};

use super::offer::Offer;
use crate::model::Kind;
use parsed::ParsedRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use watch::Watch;

/// One client's session. See the module `xds` for how to use it.
#[derive(Debug)]
pub struct Session {
    mode: Mode,
    watches: BTreeMap<Kind, Box<Watch>>,
    nonce: u64,
    /// Clusters that were sent, but whose endpoints the client has not acknowledged yet.
    warming: BTreeSet<Arc<str>>,
}

impl Session {
    /// The session of a stream that was just opened.
    pub fn new(mode: Mode) -> Self {
        Self { mode, watches: BTreeMap::new(), nonce: 0, warming: BTreeSet::new() }
    }

    /// Refuses a request that would make the session store more names than a client can need.
    pub fn check(&self, request: &Request) -> Result<(), Excess> {
        let kind = match request {
            Request::Delta(request) => &request.type_url,
            Request::Sotw(request) => &request.type_url,
        };
        let own = Kind::from_type_url(kind).and_then(|kind| self.watches.get(&kind));
        let all: usize = self.watches.values().map(|watch| watch.holding.count()).sum();
        limit::check(request, own.map(|watch| &watch.holding), all)
    }

    /// The approximate memory in bytes that the client's names take.
    pub fn weight(&self) -> usize {
        self.watches.values().map(|watch| watch.weight()).sum()
    }

    /// Processes a request. Returns the responses to send, in order. A request for an unknown type gets no response,
    /// as the protocol requires.
    pub fn request(&mut self, request: Request, offer: &dyn Offer) -> Vec<Response> {
        let Some(parsed) = ParsedRequest::read(request) else { return vec![] };
        self.take(parsed);
        self.plan(offer)
    }

    /// Returns the responses to send after the offer has changed.
    pub fn push(&mut self, offer: &dyn Offer) -> Vec<Response> {
        self.plan(offer)
    }

    /// Whether changes are held back until the client acknowledges a response.
    pub fn is_holding_back(&self) -> bool {
        !self.warming.is_empty() || self.watches.values().any(|watch| watch.waiting)
    }

    /// Returns the responses that were held back, in the right order, without waiting for endpoints that the client
    /// does not request, or for listeners and routes that it does not subscribe to.
    pub fn release(&mut self, offer: &dyn Offer) -> Vec<Response> {
        self.warming.clear();
        for watch in self.watches.values_mut() {
            watch.resumed = false;
        }
        self.plan(offer)
    }

    /// The client's status by type; types that it never requested are omitted. Boxed, because callers keep one for each
    /// client, and a node of a map has room for eleven.
    pub fn status(&self) -> BTreeMap<Kind, Box<Status>> {
        self.watches.iter().map(|(kind, watch)| (*kind, Box::new(watch.status()))).collect()
    }

    /// The names of a kind that the client subscribes to; a wildcard is `*`.
    pub fn subscriptions(&self, kind: Kind) -> Vec<Arc<str>> {
        let Some(watch) = self.watches.get(&kind) else { return vec![] };
        let wildcard = watch.holding.wildcard().then(|| Arc::from("*"));
        wildcard.into_iter().chain(watch.holding.names().cloned()).collect()
    }

    fn take(&mut self, parsed: ParsedRequest) {
        let kind = parsed.kind;
        let watch = self.watches.entry(kind).or_insert_with(|| Box::new(Watch::new(kind)));
        let Some(acknowledged) = watch.take(parsed) else { return };
        // A client never requests the endpoints of a cluster that it refuses. Acknowledged endpoints end the wait for
        // them.
        if kind == Kind::Endpoints || (kind == Kind::Cluster && acknowledged.refused) {
            for name in &acknowledged.upserts {
                self.warming.remove(name);
            }
        }
    }

    /// All responses that may be sent now.
    fn plan(&mut self, offer: &dyn Offer) -> Vec<Response> {
        self.follow(offer);
        let responses = self.planned(offer);
        self.follow(offer);
        responses
    }

    fn follow(&mut self, offer: &dyn Offer) {
        for watch in self.watches.values_mut() {
            watch.follow(offer);
        }
    }

    fn planned(&mut self, offer: &dyn Offer) -> Vec<Response> {
        let mut responses = vec![];
        self.waiting_over(offer);
        for kind in [Kind::Cluster, Kind::Endpoints] {
            let removals = self.may_remove_upstreams(offer);
            responses.extend(self.send(kind, removals, offer));
        }
        let settled = self.upstreams_settled(offer);
        for kind in [Kind::Listener, Kind::Route] {
            let unused = kind == Kind::Listener || self.is_synced(Kind::Listener, offer);
            if settled {
                responses.extend(self.send(kind, unused, offer));
            }
            self.note_waiting(kind, offer);
        }
        // If listeners and routes are in sync already, clusters and endpoints can be removed in this call.
        for kind in [Kind::Cluster, Kind::Endpoints] {
            let removals = self.may_remove_upstreams(offer);
            responses.extend(self.send(kind, removals, offer));
            self.note_waiting(kind, offer);
        }
        for kind in [Kind::Secret, Kind::Workload, Kind::Names] {
            responses.extend(self.send(kind, true, offer));
        }
        responses
    }

    /// Ends the wait for clusters that are removed or have no endpoints to wait for.
    fn waiting_over(&mut self, offer: &dyn Offer) {
        self.warming.retain(|name| {
            offer.find(Kind::Cluster, name).is_some() && offer.find(Kind::Endpoints, name).is_some()
        });
    }

    /// Whether no response with clusters or endpoints is in flight to this client.
    fn upstreams_settled(&self, offer: &dyn Offer) -> bool {
        self.warming.is_empty()
            && [Kind::Cluster, Kind::Endpoints].iter().all(|kind| {
                self.watches.get(kind).is_none_or(|w| w.sending.is_none() && w.diff(offer).upserts.is_empty())
            })
    }

    /// Whether listeners and routes are in sync, so that clusters and endpoints without references may be removed.
    fn may_remove_upstreams(&self, offer: &dyn Offer) -> bool {
        let resumed = self.watches.get(&Kind::Cluster).is_some_and(|watch| watch.resumed);
        // A client that reconnects may have listeners and routes that it has not announced yet.
        let subscribed = [Kind::Listener, Kind::Route].iter().all(|kind| self.watches.contains_key(kind));
        (subscribed || !resumed)
            && self.warming.is_empty()
            && self.is_synced(Kind::Listener, offer)
            && self.is_synced(Kind::Route, offer)
    }

    fn is_synced(&self, kind: Kind, offer: &dyn Offer) -> bool {
        self.watches.get(&kind).is_none_or(|watch| watch.sending.is_none() && watch.diff(offer).is_empty())
    }

    fn note_waiting(&mut self, kind: Kind, offer: &dyn Offer) {
        if let Some(watch) = self.watches.get_mut(&kind) {
            watch.waiting = watch.sending.is_none() && !watch.diff(offer).is_empty();
        }
    }

    fn send(&mut self, kind: Kind, removals: bool, offer: &dyn Offer) -> Option<Response> {
        let watch = self.watches.get_mut(&kind)?;
        if watch.sending.is_some() {
            return None;
        }
        let mut diff = watch.diff(offer);
        if self.mode == Mode::Sotw && !watch.is_whole() {
            // No message can report their removal: it follows from the listeners and clusters.
            watch.forget(&std::mem::take(&mut diff.removed));
        }
        if !removals {
            diff.removed.clear();
        }
        if diff.is_empty() && !watch.must_respond {
            return None;
        }
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        let response = match self.mode {
            Mode::Delta => response::delta(kind, &diff, &nonce, offer),
            Mode::Sotw => response::sotw(watch, kind, &diff, &nonce, offer),
        };
        let clusters: Vec<Arc<str>> = if kind == Kind::Cluster {
            diff.upserts.iter().map(|(name, _)| name.clone()).collect()
        } else {
            vec![]
        };
        watch.sent(nonce, offer.version(), diff);
        self.resend_endpoints(&clusters, offer);
        Some(response)
    }

    /// Sends endpoints again for these clusters: a client starts a resent cluster without endpoints, even if they did
    /// not change.
    fn resend_endpoints(&mut self, clusters: &[Arc<str>], offer: &dyn Offer) {
        let Some(endpoints) = self.watches.get_mut(&Kind::Endpoints) else { return };
        for name in clusters {
            endpoints.resend(name);
            if offer.find(Kind::Endpoints, name).is_some() {
                self.warming.insert(name.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
