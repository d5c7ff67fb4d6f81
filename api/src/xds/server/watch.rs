//! Pure. One type of resource in a session: what is asked for, what the client has, what is on its way.

use super::ask::{Ask, Change};
use super::{Nack, Status, limit};
use crate::model::Kind;
use crate::xds::offer::{Offer, Offered};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The state of one type.
#[derive(Debug)]
pub(super) struct Watch {
    kind: Kind,
    pub(super) wildcard: bool,
    pub(super) names: BTreeSet<Arc<str>>,
    /// What the client was sent or came with, refused or not; `Absent`: it was told that there is none.
    pub(super) known: BTreeMap<Arc<str>, Known>,
    /// Clusters as they were sent, where the form of the protocol repeats all of them in each response.
    pub(super) bodies: BTreeMap<Arc<str>, Offered>,
    /// The response that is not answered yet.
    pub(super) sending: Option<Sending>,
    /// A response is due also if there is nothing to tell: clients wait for the first.
    pub(super) must_answer: bool,
    /// The client came with resources of an earlier stream.
    pub(super) resumed: bool,
    /// There is something to send, and it waits for another type.
    pub(super) waiting: bool,
    /// The stamp of an offer of which the client lacked nothing, as far as nothing has changed on its side since.
    in_step: Cell<Option<u64>>,
    /// Names have been given, so that none means none.
    explicit: bool,
    asked: bool,
    nonce: String,
    acked: (String, String),
    version: String,
    nack: Option<Nack>,
}

/// What the client knows of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// This version.
    Version(u64),
    /// A version that this server never gave.
    Foreign,
    /// That there is no such resource.
    Absent,
}

/// A response on its way.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) nonce: String,
    pub(super) version: String,
    pub(super) diff: Versions,
}

/// What a response changes at the client.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) upserts: Vec<(Arc<str>, u64)>,
    pub(super) removed: Vec<Arc<str>>,
}

/// A response that has been answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) upserts: Vec<(Arc<str>, u64)>,
    pub(super) refused: bool,
}

/// What the client lacks.
#[derive(Debug, Default)]
pub(super) struct Diff {
    pub(super) upserts: Vec<(Arc<str>, Offered)>,
    pub(super) removed: Vec<Arc<str>>,
}

impl Diff {
    pub(super) fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removed.is_empty()
    }

    pub(super) fn versions(&self) -> Versions {
        let upserts = self.upserts.iter().map(|(name, offered)| (name.clone(), offered.version));
        Versions { upserts: upserts.collect(), removed: self.removed.clone() }
    }
}

impl Watch {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            wildcard: false,
            names: BTreeSet::new(),
            known: BTreeMap::new(),
            bodies: BTreeMap::new(),
            sending: None,
            must_answer: false,
            resumed: false,
            waiting: false,
            in_step: Cell::new(None),
            explicit: false,
            asked: false,
            nonce: String::new(),
            acked: (String::new(), String::new()),
            version: String::new(),
            nack: None,
        }
    }

    /// Whether state-of-the-world responses of this type hold everything, so that what is missing is gone.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.kind, Kind::Cluster | Kind::Listener)
    }

    /// Takes a request in; gives back the response it answers, if it answers the one on its way.
    pub(super) fn take(&mut self, ask: Ask) -> Option<Answered> {
        let stale = !ask.nonce.is_empty() && !self.nonce.is_empty() && ask.nonce != self.nonce;
        if stale && matches!(ask.change, Change::Whole(_)) {
            return None;
        }
        let answered = if stale { None } else { self.answered(&ask) };
        let first = !std::mem::replace(&mut self.asked, true);
        if first {
            self.resume(ask.initial);
        }
        match ask.change {
            Change::Delta { subscribe, unsubscribe } => self.change(first, subscribe, unsubscribe),
            Change::Whole(names) => self.replace(first, names),
        }
        answered
    }

    fn answered(&mut self, ask: &Ask) -> Option<Answered> {
        let sending = self.sending.take_if(|sending| sending.nonce == ask.nonce)?;
        let refused = ask.error.is_some();
        if let Some(detail) = &ask.error {
            let all = sending.diff.upserts.iter().map(|(name, _)| name).chain(&sending.diff.removed);
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
        Some(Answered { upserts: sending.diff.upserts, refused })
    }

    /// The client needs this resource again, whatever it has.
    pub(super) fn resend(&mut self, name: &str) {
        self.known.remove(name);
        self.in_step.set(None);
    }

    fn resume(&mut self, initial: BTreeMap<Arc<str>, Option<u64>>) {
        self.in_step.set(None);
        self.resumed = !initial.is_empty();
        let known = |version: Option<u64>| version.map_or(Known::Foreign, Known::Version);
        self.known = initial.into_iter().map(|(name, version)| (name, known(version))).collect();
    }

    fn change(&mut self, first: bool, subscribe: Vec<Arc<str>>, unsubscribe: Vec<Arc<str>>) {
        if first || !subscribe.is_empty() || !unsubscribe.is_empty() {
            self.in_step.set(None);
        }
        if first && subscribe.is_empty() && self.means_all() {
            self.ask_all();
        }
        for name in subscribe {
            if &*name == WILDCARD {
                self.ask_all();
                continue;
            }
            // Asking again for a name is how a client says that it needs the resource again.
            if !first {
                self.known.remove(&name);
            }
            self.names.insert(name);
        }
        for name in unsubscribe {
            if &*name == WILDCARD {
                self.wildcard = false;
                self.known.retain(|name, _| self.names.contains(name));
            } else {
                self.names.remove(&name);
                self.known.remove(&name);
            }
        }
    }

    fn replace(&mut self, first: bool, names: Vec<Arc<str>>) {
        self.in_step.set(None);
        self.explicit |= !names.is_empty();
        let names: BTreeSet<Arc<str>> = names.into_iter().collect();
        let wildcard = names.contains(WILDCARD) || (!self.explicit && self.means_all());
        if wildcard && !self.wildcard {
            self.ask_all();
        }
        self.wildcard = wildcard;
        if self.is_whole() && (first || names.iter().any(|name| !self.names.contains(name))) {
            self.must_answer = true;
        }
        self.names = names.into_iter().filter(|name| &**name != WILDCARD).collect();
        if !wildcard {
            self.known.retain(|name, _| self.names.contains(name));
            self.bodies.retain(|name, _| self.names.contains(name));
        }
    }

    fn ask_all(&mut self) {
        self.wildcard = true;
        self.must_answer = !self.resumed;
    }

    /// Whether naming nothing means everything, as it does for the types that nothing else refers to.
    fn means_all(&self) -> bool {
        matches!(self.kind, Kind::Cluster | Kind::Listener | Kind::Names)
    }

    /// What the client lacks of what is offered.
    pub(super) fn diff(&self, offer: &dyn Offer) -> Diff {
        let stamp = offer.stamp(self.kind);
        if stamp.is_some() && self.in_step.get() == stamp {
            return Diff::default();
        }
        let diff = self.compared(offer);
        self.in_step.set(stamp.filter(|_| diff.is_empty()));
        diff
    }

    fn compared(&self, offer: &dyn Offer) -> Diff {
        let mut diff = Diff::default();
        let mut seen = BTreeSet::new();
        if self.wildcard {
            offer.each(self.kind, &mut |name, offered| {
                self.compare(name, Some(offered), &mut diff);
                if self.names.contains(name) {
                    seen.insert(name.clone());
                }
            });
        }
        for name in self.names.iter().filter(|name| !seen.contains(*name)) {
            self.compare(name, offer.find(self.kind, name).as_ref(), &mut diff);
        }
        for (name, known) in &self.known {
            let asked = self.names.contains(name);
            if !asked && *known != Known::Absent && !(self.wildcard && offer.find(self.kind, name).is_some())
            {
                diff.removed.push(name.clone());
            }
        }
        diff
    }

    fn compare(&self, name: &Arc<str>, offered: Option<&Offered>, diff: &mut Diff) {
        let known = self.known.get(name);
        match offered {
            Some(offered) if known != Some(&Known::Version(offered.version)) => {
                diff.upserts.push((name.clone(), offered.clone()));
            }
            None if known != Some(&Known::Absent) => diff.removed.push(name.clone()),
            _ => {}
        }
    }

    /// Notes a response that is being sent.
    pub(super) fn sent(&mut self, sending: Sending) {
        for (name, version) in &sending.diff.upserts {
            self.known.insert(name.clone(), Known::Version(*version));
        }
        self.forget(&sending.diff.removed);
        self.must_answer = false;
        self.nonce.clone_from(&sending.nonce);
        self.version.clone_from(&sending.version);
        self.sending = Some(sending);
    }

    /// Notes what the client has no more.
    pub(super) fn forget(&mut self, removed: &[Arc<str>]) {
        self.in_step.set(None);
        for name in removed {
            self.bodies.remove(name);
            if self.names.contains(name) {
                self.known.insert(name.clone(), Known::Absent);
            } else {
                self.known.remove(name);
            }
        }
    }

    /// Bytes that the client's names take: those it subscribes to, and others that it has or is being told about.
    pub(super) fn weight(&self) -> usize {
        let leaving = self.sending.iter().flat_map(|sending| &sending.diff.removed);
        let others = self.known.keys().chain(leaving).filter(|name| !self.names.contains(*name));
        self.names.iter().chain(others).map(|name| limit::weight(name)).sum()
    }

    pub(super) fn status(&self) -> Status {
        Status {
            subscribed: self.names.len(),
            wildcard: self.wildcard,
            resources: self.known.values().filter(|known| **known != Known::Absent).count(),
            nonce_sent: self.nonce.clone(),
            nonce_acked: self.acked.0.clone(),
            version_sent: self.version.clone(),
            version_acked: self.acked.1.clone(),
            nack: self.nack.clone(),
        }
    }
}

const WILDCARD: &str = "*";
