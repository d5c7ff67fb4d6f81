//! Limits which TLS sessions may be resumed. A resumed handshake verifies no certificate, so a session must not
//! outlive the verification that it relies on. All sessions of a configuration end together: when a secret of that
//! configuration is replaced, when the first certificate that was verified in one of them expires, and at the
//! latest after an hour. A peer that tries to resume an ended session gets a full handshake instead.

use super::loaded::Loaded;
use super::store::Store;
use arc_swap::ArcSwapOption;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore};
use rustls::client::{Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ProducesTickets;
use rustls::{CertificateError, NamedGroup};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The terms of a configuration, one after the other. Each term has its own means to resume the sessions that began
/// in it.
pub(super) struct Terms<T> {
    /// The secrets used for verification and for the own certificate.
    secrets: Vec<String>,
    store: Arc<Store>,
    /// Creates the means of a term; `None`: no session can be resumed.
    begin: fn() -> Option<T>,
    current: ArcSwapOption<Term<T>>,
    turn: Mutex<()>,
}

/// A period in which sessions can be resumed.
pub(super) struct Term<T> {
    secrets: Vec<Option<Arc<Loaded>>>,
    /// The latest end. In seconds since the epoch, like all times here.
    until: u64,
    /// When the first of the certificates verified in this term expires; it is still valid in that second.
    expiry: AtomicU64,
    /// The ticket key or session cache; `None`: no session is resumed.
    pub(super) means: Option<T>,
}

impl<T> Term<T> {
    fn left(&self, now: u64) -> u64 {
        let expired = self.expiry.load(Ordering::Acquire).saturating_add(1);
        self.until.min(if self.means.is_some() { expired } else { u64::MAX }).saturating_sub(now)
    }
}

impl<T> Terms<T> {
    fn new(secrets: Vec<String>, store: &Arc<Store>, begin: fn() -> Option<T>) -> Arc<Self> {
        Arc::new(Self {
            secrets,
            store: store.clone(),
            begin,
            current: ArcSwapOption::empty(),
            turn: Mutex::default(),
        })
    }

    /// Notes that a peer was verified at `now`: no session may outlive the peer's certificates.
    pub(super) fn verified(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        // Beside its chain a peer may send entries that are not certificates at all.
        let others = intermediates.iter().filter_map(|certificate| expiry(certificate).ok());
        let first = others.fold(expiry(leaf)?, u64::min);
        self.at(now).expiry.fetch_min(first, Ordering::AcqRel);
        Ok(())
    }

    /// The term at this time. Begins another term if the last one has ended.
    pub(super) fn at(&self, now: UnixTime) -> Arc<Term<T>> {
        if let Some(term) = self.current.load_full().filter(|term| self.lasts(term, now)) {
            return term;
        }
        // The lock protects no data, so poisoning has no effect.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.current.load_full();
        if let Some(term) = last.as_ref().filter(|term| self.lasts(term, now)) {
            return term.clone();
        }
        // A handshake that began in the last term may finish in this one, so this term is bound by the certificates
        // verified there. If one of them has expired, nothing is resumed for a while: no ticket may rely on it.
        let now = now.as_secs();
        let carried = last.map_or(u64::MAX, |term| term.expiry.load(Ordering::Acquire));
        let expired = carried < now;
        let term = Arc::new(Term {
            secrets: self.loaded(),
            until: now.saturating_add(if expired { PAUSE } else { LONGEST }),
            expiry: AtomicU64::new(if expired { u64::MAX } else { carried }),
            means: if expired { None } else { (self.begin)() },
        });
        self.current.store(Some(term.clone()));
        term
    }

    fn lasts(&self, term: &Term<T>, now: UnixTime) -> bool {
        let same = |(name, then): (&String, &Option<Arc<Loaded>>)| match (self.store.find(name), then) {
            (Some(now), Some(then)) => Arc::ptr_eq(&now, then),
            (None, None) => true,
            _ => false,
        };
        term.left(now.as_secs()) > 0 && self.secrets.iter().zip(&term.secrets).all(same)
    }

    fn loaded(&self) -> Vec<Option<Arc<Loaded>>> {
        self.secrets.iter().map(|name| self.store.find(name)).collect()
    }
}

impl<T> fmt::Debug for Terms<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

/// When a certificate expires, in seconds since the epoch.
fn expiry(der: &CertificateDer<'_>) -> Result<u64, rustls::Error> {
    let (_, certificate) =
        X509Certificate::from_der(der).map_err(|_| rustls::Error::from(CertificateError::BadEncoding))?;
    Ok(certificate.validity().not_after.timestamp().max(0).unsigned_abs())
}

/// A server's tickets: each term has its own key, which is dropped with the term.
pub(super) type Tickets = Terms<Arc<dyn ProducesTickets>>;

impl Tickets {
    pub(super) fn of(secrets: Vec<String>, store: &Arc<Store>) -> Arc<Self> {
        Terms::new(secrets, store, || rustls::crypto::ring::Ticketer::new().ok())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        let now = UnixTime::now();
        u32::try_from(self.at(now).left(now.as_secs())).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.at(UnixTime::now()).means.as_ref()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.at(UnixTime::now()).means.as_ref()?.decrypt(cipher)
    }
}

/// A client's session cache, which is dropped at the end of each term.
pub(super) type Sessions = Terms<ClientSessionMemoryCache>;

impl Sessions {
    pub(super) fn of(secrets: Vec<String>, store: &Arc<Store>) -> Arc<Self> {
        Terms::new(secrets, store, || Some(ClientSessionMemoryCache::new(SESSIONS)))
    }

    /// Whether no handshake was made yet.
    #[cfg(test)]
    pub(super) fn is_unused(&self) -> bool {
        self.current.load().is_none()
    }

    fn with<R>(&self, use_it: impl FnOnce(&ClientSessionMemoryCache) -> R) -> Option<R> {
        self.at(UnixTime::now()).means.as_ref().map(use_it)
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, server: ServerName<'static>, group: NamedGroup) {
        self.with(|cache| cache.set_kx_hint(server, group));
    }

    fn kx_hint(&self, server: &ServerName<'_>) -> Option<NamedGroup> {
        self.with(|cache| cache.kx_hint(server)).flatten()
    }

    fn set_tls12_session(&self, server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.with(|cache| cache.set_tls12_session(server, value));
    }

    fn tls12_session(&self, server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.with(|cache| cache.tls12_session(server)).flatten()
    }

    fn remove_tls12_session(&self, server: &ServerName<'static>) {
        self.with(|cache| cache.remove_tls12_session(server));
    }

    fn insert_tls13_ticket(&self, server: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.with(|cache| cache.insert_tls13_ticket(server, value));
    }

    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(|cache| cache.take_tls13_ticket(server)).flatten()
    }
}

/// The longest term in seconds.
const LONGEST: u64 = 3600;
/// A term without resumption, in seconds; longer than a handshake may take.
const PAUSE: u64 = 60;
const SESSIONS: usize = 64;
