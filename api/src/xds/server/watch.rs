//! Pure. One type of resource in a session: subscriptions, the client's resources, and the response in flight.

use super::client_state::{ClientState, ClientVersion};
use super::limit;
use super::parsed::{Change, ParsedRequest};
use super::status::{Nack, Status};
use crate::model::Kind;
use crate::xds::offer::Offer;
use crate::xds::table::{Offered, Table};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The state of one type.
#[derive(Debug)]
pub(super) struct Watch {
    kind: Kind,
    /// The subscriptions, and the resources that the client has.
    pub(super) holding: ClientState,
    /// The response that is not acknowledged yet.
    pub(super) sending: Option<Sending>,
    /// A response is due even without changes: clients wait for the first one.
    pub(super) must_respond: bool,
    /// The client announced resources of an earlier stream.
    pub(super) resumed: bool,
    /// There are changes to send, and they wait for another type.
    pub(super) waiting: bool,
    /// The tables of an offer of which the client had everything, unless the client's state has changed since.
    in_step: RefCell<Option<(Arc<Table>, Arc<Table>)>>,
    /// The client has named resources before, so an empty list means no resources.
    explicit: bool,
    asked: bool,
    nonce: String,
    acked: (String, String),
    version: String,
    nack: Option<Nack>,
}

/// A response in flight.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) nonce: String,
    pub(super) version: String,
    pub(super) upserts: Vec<Arc<str>>,
    pub(super) removed: Vec<Arc<str>>,
}

/// A response that has been acknowledged or refused.
#[derive(Debug)]
pub(super) struct Acknowledged {
    pub(super) upserts: Vec<Arc<str>>,
    pub(super) refused: bool,
}

/// The changes that the client lacks.
#[derive(Debug, Default)]
pub(super) struct Diff {
    pub(super) upserts: Vec<(Arc<str>, Offered)>,
    pub(super) removed: Vec<Arc<str>>,
}

impl Diff {
    pub(super) fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removed.is_empty()
    }
}

impl Watch {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            holding: ClientState::new(),
            sending: None,
            must_respond: false,
            resumed: false,
            waiting: false,
            in_step: RefCell::new(None),
            explicit: false,
            asked: false,
            nonce: String::new(),
            acked: (String::new(), String::new()),
            version: String::new(),
            nack: None,
        }
    }

    /// Whether state-of-the-world responses of this type hold all resources, so that clients remove missing ones.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.kind, Kind::Cluster | Kind::Listener)
    }

    /// Processes a request. Returns the response in flight if the request acknowledges or refuses it.
    pub(super) fn take(&mut self, request: ParsedRequest) -> Option<Acknowledged> {
        let stale = !request.nonce.is_empty() && !self.nonce.is_empty() && request.nonce != self.nonce;
        if stale && matches!(request.change, Change::Whole(_)) {
            return None;
        }
        let acknowledged = if stale { None } else { self.acknowledged(&request) };
        let first = !std::mem::replace(&mut self.asked, true);
        if first {
            self.resume(request.initial);
        }
        match request.change {
            Change::Delta { subscribe, unsubscribe } => self.change(first, &subscribe, &unsubscribe),
            Change::Whole(names) => self.replace(first, names),
        }
        acknowledged
    }

    fn acknowledged(&mut self, request: &ParsedRequest) -> Option<Acknowledged> {
        let sending = self.sending.take_if(|sending| sending.nonce == request.nonce)?;
        let refused = request.error.is_some();
        if let Some(detail) = &request.error {
            let all = sending.upserts.iter().chain(&sending.removed);
            let mut names: Vec<String> =
                all.clone().filter(|name| detail.contains(&***name)).map(ToString::to_string).collect();
            if names.is_empty() {
                names = all.map(ToString::to_string).collect();
            }
            self.nack = Some(Nack { nonce: sending.nonce, names, detail: detail.clone() });
        } else {
            self.nack = None;
            self.acked = (sending.nonce, sending.version);
        }
        Some(Acknowledged { upserts: sending.upserts, refused })
    }

    /// Marks a resource as needed by the client, even if it has it.
    pub(super) fn resend(&mut self, name: &str) {
        self.holding.set_known(name, None);
        self.in_step.take();
    }

    fn resume(&mut self, initial: Vec<(String, Option<u64>)>) {
        self.in_step.take();
        self.resumed = !initial.is_empty();
        for (name, version) in initial {
            self.holding
                .set_known(&name, Some(version.map_or(ClientVersion::Unknown, ClientVersion::Version)));
        }
    }

    fn change(&mut self, first: bool, subscribe: &[String], unsubscribe: &[String]) {
        if first || !subscribe.is_empty() || !unsubscribe.is_empty() {
            self.in_step.take();
        }
        if first && subscribe.is_empty() && self.means_all() {
            self.ask_all();
        }
        for name in subscribe {
            if name == WILDCARD {
                self.ask_all();
                continue;
            }
            // A client subscribes to a name again to get the resource again.
            if !first {
                self.holding.set_known(name, None);
            }
            self.holding.set_named(name, true);
        }
        for name in unsubscribe {
            if name == WILDCARD {
                self.holding.set_wildcard(false);
                self.holding.keep_named();
            } else {
                self.holding.set_named(name, false);
                self.holding.set_known(name, None);
            }
        }
    }

    fn replace(&mut self, first: bool, names: Vec<String>) {
        self.explicit |= !names.is_empty();
        let names: BTreeSet<String> = names.into_iter().collect();
        let wildcard = names.contains(WILDCARD) || (!self.explicit && self.means_all());
        let by_name = || names.iter().filter(|name| *name != WILDCARD);
        let added: Vec<&String> = by_name().filter(|name| !self.holding.is_named(name)).collect();
        let same = added.is_empty() && by_name().count() == self.holding.count();
        if same && !first && wildcard == self.holding.wildcard() {
            return;
        }
        self.in_step.take();
        if self.is_whole() && (first || !added.is_empty()) {
            self.must_respond = true;
        }
        let gone: Vec<Arc<str>> =
            self.holding.names().filter(|name| !names.contains(&***name)).cloned().collect();
        for name in added {
            self.holding.set_named(name, true);
        }
        for name in &gone {
            self.holding.set_named(name, false);
        }
        if wildcard && !self.holding.wildcard() {
            self.ask_all();
        }
        self.holding.set_wildcard(wildcard);
        if !wildcard {
            self.holding.keep_named();
        }
    }

    fn ask_all(&mut self) {
        self.holding.set_wildcard(true);
        self.must_respond = !self.resumed;
    }

    /// Whether an empty list of names means all resources, as it does for types that no other type refers to.
    fn means_all(&self) -> bool {
        matches!(self.kind, Kind::Cluster | Kind::Listener | Kind::Names)
    }

    /// Stores the client's state as exceptions to the offered table if they have most in common.
    pub(super) fn follow(&mut self, offer: &dyn Offer) {
        self.holding.follow(offer.shared(self.kind));
    }

    /// The difference between the offer and what the client has.
    pub(super) fn diff(&self, offer: &dyn Offer) -> Diff {
        let (shared, own) = (offer.shared(self.kind), offer.own(self.kind));
        let same = |(a, b): &(Arc<Table>, Arc<Table>)| Arc::ptr_eq(a, shared) && Arc::ptr_eq(b, own);
        if self.in_step.borrow().as_ref().is_some_and(same) {
            return Diff::default();
        }
        let diff = self.compared(offer);
        let in_step = diff.is_empty() && offer.lists_all(self.kind);
        self.in_step.replace(in_step.then(|| (shared.clone(), own.clone())));
        diff
    }

    fn compared(&self, offer: &dyn Offer) -> Diff {
        let (mut diff, holding) = (Diff::default(), &self.holding);
        let mut names = holding.doubtful(offer.shared(self.kind));
        names.extend(offer.own(self.kind).iter().map(|(name, _)| name));
        for name in names {
            let named = holding.is_named(name);
            let offered = match offer.listed(self.kind, name).filter(|_| named || holding.wildcard()) {
                Some(offered) => Some(offered.clone()),
                None if named => offer.on_demand(self.kind, name),
                None => None,
            };
            let known = holding.known(name);
            match (offered, known) {
                (Some(offered), Some(known)) if known.is_version(offered.version) => {}
                (Some(offered), _) => diff.upserts.push((name.clone(), offered)),
                (None, Some(known)) if !known.is_absent() => diff.removed.push(name.clone()),
                (None, None) if named => diff.removed.push(name.clone()),
                (None, _) => {}
            }
        }
        diff
    }

    /// Records a response that is being sent.
    pub(super) fn sent(&mut self, nonce: String, version: &str, diff: Diff) {
        let mut upserts = Vec::with_capacity(diff.upserts.len());
        for (name, offered) in diff.upserts {
            self.holding.set_known(&name, Some(ClientVersion::Sent(offered)));
            upserts.push(name);
        }
        self.forget(&diff.removed);
        self.must_respond = false;
        self.nonce.clone_from(&nonce);
        version.clone_into(&mut self.version);
        self.sending = Some(Sending { nonce, version: version.to_owned(), upserts, removed: diff.removed });
    }

    /// Records that the client has removed these resources.
    pub(super) fn forget(&mut self, removed: &[Arc<str>]) {
        self.in_step.take();
        for name in removed {
            let known = self.holding.is_named(name).then_some(ClientVersion::Absent);
            self.holding.set_known(name, known);
        }
    }

    /// Memory in bytes that the client's names take: names stored for it alone, and the names in the response in
    /// flight.
    pub(super) fn weight(&self) -> usize {
        let kept: BTreeSet<&Arc<str>> = self.holding.kept().collect();
        let leaving = self.sending.iter().flat_map(|sending| &sending.removed);
        let others = leaving.filter(|name| !kept.contains(*name));
        kept.iter().copied().chain(others).map(|name| limit::weight(name)).sum()
    }

    pub(super) fn status(&self) -> Status {
        Status {
            subscribed: self.holding.count(),
            wildcard: self.holding.wildcard(),
            resources: self.holding.resources(),
            nonce_sent: self.nonce.clone(),
            nonce_acked: self.acked.0.clone(),
            version_sent: self.version.clone(),
            version_acked: self.acked.1.clone(),
            nack: self.nack.clone(),
        }
    }
}

const WILDCARD: &str = "*";
