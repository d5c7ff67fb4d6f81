//! The progress of each connected proxy through configuration generations. Each proxy writes its own counters; a lock
//! is taken only when a proxy connects, disconnects, or rejects a resource.

use api::model::Kind;
use api::resource::verdict::{ProxyProgress, ProxyRefusal};
use api::xds::server::Status;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// The connected proxies.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    table: Arc<Mutex<BTreeMap<u64, Arc<Progress>>>>,
    next: Arc<AtomicU64>,
    /// Notified whenever a proxy connects, disconnects, or acknowledges.
    bell: Arc<Notify>,
}

/// The progress of one proxy.
#[derive(Debug)]
struct Progress {
    proxy: String,
    acknowledged: AtomicU64,
    responded: AtomicU64,
    refusals: Mutex<Vec<Refused>>,
}

/// A rejection (NACK), with the nonce that distinguishes it from the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    kind: Kind,
    nonce: String,
    refusal: ProxyRefusal,
}

impl Proxies {
    /// Adds a proxy, named `pod.namespace`. It counts until the returned place is dropped.
    pub fn add(&self, proxy: String) -> ProxyPlace {
        let progress = Arc::new(Progress {
            proxy,
            acknowledged: AtomicU64::new(0),
            responded: AtomicU64::new(0),
            refusals: Mutex::default(),
        });
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, progress.clone());
        self.bell.notify_waiters();
        ProxyPlace { proxies: self.clone(), id, progress }
    }

    /// The acknowledgements of each proxy so far, by name.
    pub fn list(&self) -> Vec<ProxyProgress> {
        let all: Vec<Arc<Progress>> = self.lock().values().cloned().collect();
        let mut all: Vec<ProxyProgress> = all.iter().map(|progress| progress.read()).collect();
        all.sort_by(|a, b| a.proxy.cmp(&b.proxy));
        all
    }

    /// The acknowledgements of the proxies that refuse something.
    pub fn refusing(&self) -> Vec<ProxyProgress> {
        let all: Vec<Arc<Progress>> =
            self.lock().values().filter(|proxy| !proxy.refusals().is_empty()).cloned().collect();
        let mut all: Vec<ProxyProgress> = all.iter().map(|progress| progress.read()).collect();
        all.sort_by(|a, b| a.proxy.cmp(&b.proxy));
        all
    }

    /// The proxies that have neither acknowledged nor refused this generation yet, at most `limit` of them.
    pub fn behind(&self, generation: u64, limit: usize) -> Vec<String> {
        let table = self.lock();
        let behind = table.values().filter(|proxy| proxy.responded.load(Ordering::Acquire) < generation);
        behind.take(limit).map(|proxy| proxy.proxy.clone()).collect()
    }

    /// Waits until no proxy is behind this generation.
    pub async fn caught_up(&self, generation: u64) {
        loop {
            // Armed before the look, so that a change during the look causes another one.
            let rung = self.rung();
            if self.behind(generation, 1).is_empty() {
                return;
            }
            rung.await;
            // Thousands of proxies acknowledge within moments of each other.
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Waits for the next notification after this call.
    pub fn rung(&self) -> impl Future<Output = ()> + use<> {
        let mut notified = Box::pin(self.bell.clone().notified_owned());
        notified.as_mut().enable();
        notified
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Progress>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A proxy's entry in the list; dropping it removes the proxy.
#[derive(Debug)]
pub struct ProxyPlace {
    proxies: Proxies,
    id: u64,
    progress: Arc<Progress>,
}

impl ProxyPlace {
    /// Records the proxy's acknowledgements, at the newest generation that was computed for it. `deferred`: part of that
    /// generation is not sent yet.
    pub fn note(&self, status: &BTreeMap<Kind, Box<Status>>, generation: u64, deferred: bool) {
        self.progress.note(status, generation, deferred);
        self.proxies.bell.notify_waiters();
    }
}

impl Drop for ProxyPlace {
    fn drop(&mut self) {
        self.proxies.lock().remove(&self.id);
        self.proxies.bell.notify_waiters();
    }
}

impl Progress {
    fn note(&self, status: &BTreeMap<Kind, Box<Status>>, generation: u64, deferred: bool) {
        let refused = |s: &Status| s.nack.as_ref().is_some_and(|nack| nack.nonce == s.nonce_sent);
        if status.values().any(|s| s.nack.is_some()) || !self.refusals().is_empty() {
            self.note_refusals(status, generation);
        }
        if deferred || !status.values().all(|s| s.nonce_sent == s.nonce_acked || refused(s)) {
            return;
        }
        if status.values().all(|s| s.nack.is_none()) {
            self.acknowledged.store(generation, Ordering::Release);
        }
        self.responded.store(generation, Ordering::Release);
    }

    fn note_refusals(&self, status: &BTreeMap<Kind, Box<Status>>, generation: u64) {
        let mut list = self.refusals();
        let next = status.iter().filter_map(|(kind, s)| Some((*kind, s.nack.as_ref()?)));
        let next = next.map(|(kind, nack)| {
            let known = list.iter().find(|known| known.kind == kind && known.nonce == nack.nonce);
            known.cloned().unwrap_or_else(|| Refused {
                kind,
                nonce: nack.nonce.clone(),
                refusal: ProxyRefusal {
                    type_url: kind.type_url().to_owned(),
                    names: nack.names.clone(),
                    detail: nack.detail.clone(),
                    since: generation,
                },
            })
        });
        *list = next.collect();
    }

    fn read(&self) -> ProxyProgress {
        // Rejections are read first: a proxy whose state changes meanwhile is reported as rejecting, never as
        // acknowledging what it rejects.
        let refusals = self.refusals().iter().map(|refused| refused.refusal.clone()).collect();
        ProxyProgress {
            proxy: self.proxy.clone(),
            acknowledged: self.acknowledged.load(Ordering::Acquire),
            responded: self.responded.load(Ordering::Acquire),
            refusals,
        }
    }

    fn refusals(&self) -> MutexGuard<'_, Vec<Refused>> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The interval between two looks at the proxies' acknowledgements.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::verdict::Standing;
    use api::xds::server::Nack;

    fn status(sent: &str, acked: &str, nack: Option<&str>) -> BTreeMap<Kind, Box<Status>> {
        let nack = nack.map(|nonce| Nack {
            nonce: nonce.into(),
            names: vec!["route".into()],
            detail: "a bad route".into(),
        });
        let status = Status { nonce_sent: sent.into(), nonce_acked: acked.into(), nack, ..Status::default() };
        BTreeMap::from([(Kind::Route, Box::new(status))])
    }

    #[test]
    fn a_generation_counts_as_acknowledged_when_no_response_is_pending_or_deferred() {
        let proxies = Proxies::default();
        let place = proxies.add("web.shop".into());
        let acknowledged = || proxies.list()[0].acknowledged;
        place.note(&status("2", "1", None), 5, false);
        assert_eq!(acknowledged(), 0, "a response is under way");
        place.note(&status("2", "2", None), 5, true);
        assert_eq!(acknowledged(), 0, "something is deferred");
        place.note(&status("2", "2", None), 5, false);
        assert_eq!(acknowledged(), 5);
        place.note(&status("2", "2", None), 6, false);
        assert_eq!(acknowledged(), 6, "the next generation changes nothing for it");
        drop(place);
        assert_eq!(proxies.list(), []);
    }

    #[test]
    fn a_rejection_keeps_its_time_and_ends_with_the_next_acknowledgement() {
        let proxies = Proxies::default();
        let place = proxies.add("web.shop".into());
        place.note(&status("1", "1", None), 4, false);
        place.note(&status("2", "1", Some("2")), 5, false);
        place.note(&status("2", "1", Some("2")), 6, false);
        let proxy = proxies.list().remove(0);
        assert_eq!((proxy.acknowledged, proxy.responded, proxy.refusals[0].since), (4, 6, 5));
        assert!(matches!(proxy.standing(5), Standing::Refused(refusal) if refusal.detail == "a bad route"));
        assert_eq!(proxy.standing(6), Standing::Acknowledged, "what came after the refused");
        place.note(&status("3", "1", Some("2")), 7, false);
        assert_eq!(proxies.list()[0].standing(7), Standing::Pending, "the next response is under way");
        place.note(&status("3", "3", None), 7, false);
        assert_eq!(proxies.list()[0].standing(7), Standing::Acknowledged);
        assert_eq!(proxies.list()[0].refusals, []);
    }

    #[tokio::test(start_paused = true)]
    async fn the_removal_of_an_endpoint_is_awaited_until_each_proxy_has_responded() {
        let proxies = Proxies::default();
        proxies.caught_up(9).await;
        let [first, second, refusing] = ["a.shop", "b.shop", "c.shop"].map(|name| proxies.add(name.into()));
        let waiting = tokio::spawn({
            let proxies = proxies.clone();
            async move { proxies.caught_up(4).await }
        });
        first.note(&status("1", "1", None), 5, false);
        refusing.note(&status("2", "1", Some("2")), 4, false);
        second.note(&status("1", "1", None), 3, false);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(!waiting.is_finished(), "one has an older generation");
        assert_eq!(proxies.behind(4, 9), ["b.shop"]);
        second.note(&status("2", "1", None), 4, false);
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert!(!waiting.is_finished(), "its response is under way");
        drop(second);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_notification_reaches_earlier_subscribers() {
        let proxies = Proxies::default();
        let rung = proxies.rung();
        let place = proxies.add("web.shop".into());
        rung.await;
        let rung = proxies.rung();
        place.note(&status("1", "1", None), 1, false);
        rung.await;
        let rung = proxies.rung();
        drop(place);
        rung.await;
    }
}
