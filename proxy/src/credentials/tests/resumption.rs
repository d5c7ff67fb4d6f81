//! When sessions are resumed: never if a full verification would fail.

use super::super::session::{Sessions, Tickets};
use super::*;
use rustls::HandshakeKind;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::time::Duration;

const BOTH: [TlsVersion; 2] = [TlsVersion::V1_2, TlsVersion::V1_3];

/// Two workloads that connect repeatedly with the same configurations.
struct Pair {
    server: (Arc<rustls::ServerConfig>, Arc<Store>),
    client: (Arc<rustls::ClientConfig>, Arc<Store>),
    name: rustls::pki_types::ServerName<'static>,
    runtime: tokio::runtime::Runtime,
}

impl Pair {
    fn new(version: TlsVersion, server: Arc<Store>, client: Arc<Store>) -> Self {
        let only = |mut common: TlsParameters| {
            (common.min, common.max) = (Some(version), Some(version));
            common
        };
        let mut downstream = strict();
        downstream.common = only(downstream.common);
        let mut tls = expecting("reviews");
        tls.common = only(tls.common);
        Self {
            name: server_name(&tls, None, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            server: (server_config(&downstream, &server).unwrap().config, server),
            client: (client_config(&tls, &client).unwrap(), client),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn meet(&self) -> std::io::Result<HandshakeKind> {
        let meeting = handshake(self.server.0.clone(), self.client.0.clone(), self.name.clone());
        let (server, client) = self.runtime.block_on(meeting);
        server.and(client)
    }

    /// Checks that sessions are resumed; the next handshake after this one is a resumed one.
    fn acquainted(&self) {
        self.meet().unwrap();
        assert_eq!(self.meet().unwrap(), HandshakeKind::Resumed);
    }
}

/// A change to a pair, with its description.
type Change = (&'static str, fn(&Pair, &Authority));

#[test]
fn a_secret_that_either_side_replaces_ends_the_sessions_that_stand_on_it() {
    for version in BOTH {
        let authority = Authority::new();
        let pair = Pair::new(version, store(&authority, "reviews"), store(&authority, "productpage"));
        let changes: [Change; 4] = [
            ("the server's roots", |pair, authority| {
                pair.server.1.set("ROOTCA", &authority.roots()).unwrap();
            }),
            ("the client's roots", |pair, authority| {
                pair.client.1.set("ROOTCA", &authority.roots()).unwrap();
            }),
            ("the server's certificate", |pair, authority| {
                pair.server.1.set("default", &authority.workload("reviews")).unwrap();
            }),
            ("the client's certificate", |pair, authority| {
                pair.client.1.set("default", &authority.workload("productpage")).unwrap();
            }),
        ];
        for (what, change) in changes {
            pair.acquainted();
            change(&pair, &authority);
            assert_eq!(pair.meet().unwrap(), HandshakeKind::Full, "{what}, {version:?}");
        }
        pair.acquainted();
    }
}

#[test]
fn a_session_is_not_resumed_after_its_root_lost_trust() {
    for version in BOTH {
        let (old, later) = (Authority::new(), Authority::new());
        let pair = Pair::new(version, store(&old, "reviews"), store(&old, "productpage"));
        pair.acquainted();
        pair.server.1.set("ROOTCA", &later.roots()).unwrap();
        assert!(pair.meet().is_err(), "the client is of the old root, {version:?}");
        pair.server.1.set("ROOTCA", &old.roots()).unwrap();
        pair.acquainted();
        pair.client.1.set("ROOTCA", &later.roots()).unwrap();
        assert!(pair.meet().is_err(), "the server is of the old root, {version:?}");
    }
}

#[test]
fn a_session_is_not_resumed_after_its_certificate_expired() {
    for (version, expiring) in BOTH.into_iter().flat_map(|version| [(version, "client"), (version, "server")])
    {
        let authority = Authority::new();
        let (reviews, page) = (store(&authority, "reviews"), store(&authority, "productpage"));
        let (store, account) =
            if expiring == "client" { (&page, "productpage") } else { (&reviews, "reviews") };
        let soon = SystemTime::now() + Duration::from_secs(2);
        store.set("default", &authority.until(account, soon)).unwrap();
        let pair = Pair::new(version, reviews, page);
        let mut kinds = vec![];
        let refused = loop {
            match pair.meet() {
                Ok(kind) => kinds.push(kind),
                Err(error) => break error.to_string(),
            }
            assert!(soon.elapsed().unwrap_or_default() < Duration::from_secs(2), "{expiring} {version:?}");
        };
        assert!(refused.contains("xpired"), "{expiring} {version:?}: {refused}");
        assert!(kinds.contains(&HandshakeKind::Resumed), "{expiring} {version:?}: {kinds:?}");
    }
}

#[test]
fn a_term_ends_with_the_first_certificate_verified_in_it_and_after_an_hour() {
    let authority = Authority::new();
    let store = store(&authority, "reviews");
    let tickets = Tickets::of(vec!["default".into(), "ROOTCA".into()], &store);
    let day = UnixTime::now().as_secs() + 86_400;
    let at = |seconds: u64| UnixTime::since_unix_epoch(Duration::from_secs(day + seconds));
    let leaf = |seconds: u64| {
        let end = std::time::UNIX_EPOCH + Duration::from_secs(day + seconds);
        let SecretContent::Certificate { chain, .. } = authority.until("a", end) else { unreachable!() };
        api::process::tls::certificates_from_pem(chain.as_bytes()).unwrap().remove(0)
    };
    let first = tickets.at(at(0));
    assert!(Arc::ptr_eq(&first, &tickets.at(at(3_599))));
    let second = tickets.at(at(3_600));
    assert!(!Arc::ptr_eq(&first, &second), "an hour is over");

    tickets.verified(&leaf(100_000), &[], at(3_601)).unwrap();
    assert!(Arc::ptr_eq(&second, &tickets.at(at(7_199))), "a certificate that lives long changes nothing");
    tickets.verified(&leaf(100_000), &[leaf(5_000)], at(3_602)).unwrap();
    assert!(Arc::ptr_eq(&second, &tickets.at(at(4_999))));
    // Secrets change while a handshake is in progress: the next term must not outlive its peer's certificates either.
    store.set("ROOTCA", &authority.roots()).unwrap();
    let third = tickets.at(at(4_000));
    assert!(!Arc::ptr_eq(&second, &third));
    assert!(Arc::ptr_eq(&third, &tickets.at(at(4_999))));
    assert!(Arc::ptr_eq(&third, &tickets.at(at(5_000))), "a certificate is good in its last second");
    let pause = tickets.at(at(5_001));
    assert!(!Arc::ptr_eq(&third, &pause));
    assert!(pause.means.is_none(), "a handshake of before may end now, and must not leave a ticket");
    assert!(Arc::ptr_eq(&pause, &tickets.at(at(5_060))));
    assert!(tickets.at(at(5_061)).means.is_some());
    let garbage = CertificateDer::from(vec![0; 10]);
    assert!(tickets.verified(&garbage, &[], at(5_062)).is_err());
}

#[test]
fn an_unused_configuration_has_no_session_cache() {
    let authority = Authority::new();
    let sessions = Sessions::of(vec!["ROOTCA".into()], &store(&authority, "reviews"));
    assert!(sessions.is_unused());
}
