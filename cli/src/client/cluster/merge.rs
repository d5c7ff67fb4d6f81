//! Pure. Merges the verdicts of several replicas of pilot. Each replica counts its snapshots for itself and knows only the
//! proxies that are connected to it, so their numbers are compared before they are merged.

use api::resource::verdict::{ObjectVerdict, ProxyProgress, ProxyRefusal, Standing, Verdicts, Wanted};

/// The verdicts of all replicas on these objects. In the result the snapshot with the objects is number 1, and earlier ones
/// are 0. An object counts as read when every replica has read it.
pub fn merged(replicas: Vec<Verdicts>, wanted: &[Wanted]) -> Verdicts {
    let settled = replicas.iter().all(|one| one.settles(wanted));
    let mut objects = Vec::new();
    for one in wanted {
        let found: Vec<&ObjectVerdict> =
            replicas.iter().filter_map(|all| all.objects.iter().find(|verdict| one.names(verdict))).collect();
        // Of a deleted object, one replica that still has it suffices.
        if one.gone || found.len() == replicas.len() {
            let last = found.into_iter().min_by_key(|verdict| verdict.version.generation);
            objects.extend(last.map(numbered));
        }
    }
    let proxies = replicas.into_iter().flat_map(|all| {
        let newest = newest(&all, wanted);
        all.proxies.into_iter().map(move |proxy| responded(proxy, newest))
    });
    Verdicts { revision: 0, snapshot: 1, settled, objects, proxies: proxies.collect() }
}

/// A replica's first snapshot with all of the objects.
fn newest(all: &Verdicts, wanted: &[Wanted]) -> u64 {
    let of = |one: &Wanted| match all.objects.iter().find(|verdict| one.names(verdict)) {
        Some(verdict) if !one.gone && one.is_met(verdict) => verdict.snapshot,
        _ => all.snapshot,
    };
    wanted.iter().map(of).max().unwrap_or(all.snapshot)
}

fn numbered(verdict: &ObjectVerdict) -> ObjectVerdict {
    ObjectVerdict { snapshot: verdict.snapshot.min(1), ..verdict.clone() }
}

fn responded(proxy: ProxyProgress, snapshot: u64) -> ProxyProgress {
    let (acknowledged, responded, refusals) = match proxy.standing(snapshot) {
        Standing::Acknowledged => (1, 1, vec![]),
        Standing::Refused(refusal) => (0, 1, vec![ProxyRefusal { since: 1, ..refusal.clone() }]),
        Standing::Pending => (0, 0, vec![]),
    };
    ProxyProgress { proxy: proxy.proxy, acknowledged, responded, refusals }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::verdict::Version;

    fn wanted(gone: bool) -> Vec<Wanted> {
        vec![Wanted { kind: "Gateway".into(), name: "a".into(), generation: 2, gone, ..Wanted::default() }]
    }

    fn replica(object: Option<(i64, u64)>, newest: u64, proxies: &[(&str, u64)]) -> Verdicts {
        let verdict = |(generation, snapshot)| ObjectVerdict {
            kind: "Gateway".into(),
            name: "a".into(),
            version: Version { generation, ..Version::default() },
            accepted: true,
            snapshot,
            ..ObjectVerdict::default()
        };
        let proxy = |(name, responded): &(&str, u64)| ProxyProgress {
            proxy: (*name).into(),
            acknowledged: *responded,
            responded: *responded,
            refusals: vec![],
        };
        let proxies = proxies.iter().map(proxy).collect();
        Verdicts {
            snapshot: newest,
            objects: object.map(verdict).into_iter().collect(),
            proxies,
            ..Verdicts::default()
        }
    }

    fn pending(verdicts: &Verdicts) -> Vec<&str> {
        let late = verdicts.proxies.iter().filter(|proxy| proxy.standing(1) == Standing::Pending);
        late.map(|proxy| proxy.proxy.as_str()).collect()
    }

    #[test]
    fn each_proxy_is_compared_with_the_snapshot_of_its_own_replica() {
        let one = || replica(Some((2, 7)), 9, &[("a", 7), ("b", 6)]);
        let other = replica(Some((2, 100)), 100, &[("c", 100)]);
        let all = merged(vec![one(), other], &wanted(false));
        assert_eq!((all.proxies.len(), pending(&all), all.settled), (3, vec!["b"], false));
        let late = replica(Some((2, 7)), 7, &[("c", 6)]);
        assert_eq!(pending(&merged(vec![one(), late], &wanted(false))), ["b", "c"]);
        let done = replica(Some((2, 7)), 7, &[("a", 7)]);
        assert!(merged(vec![done.clone(), done], &wanted(false)).settled);
    }

    #[test]
    fn an_object_is_read_when_the_last_replica_has_read_it() {
        let seen = |objects: Vec<Option<(i64, u64)>>, gone| {
            let replicas = objects.into_iter().map(|object| replica(object, 9, &[])).collect();
            let all = merged(replicas, &wanted(gone));
            (all.objects.first().map(|verdict| verdict.version.generation), all.settled)
        };
        assert_eq!(seen(vec![Some((2, 3)), Some((2, 3))], false), (Some(2), true));
        assert_eq!(seen(vec![Some((2, 3)), Some((1, 3))], false), (Some(1), false));
        assert_eq!(seen(vec![Some((2, 3)), None], false), (None, false));
        assert_eq!(seen(vec![None, Some((2, 3))], true), (Some(2), false));
        assert_eq!(seen(vec![None, None], true), (None, true));
    }

    #[test]
    fn a_refusal_counts_if_it_is_about_the_change() {
        let mut one = replica(Some((2, 7)), 7, &[("a", 6)]);
        one.proxies[0].responded = 7;
        one.proxies[0].refusals =
            vec![ProxyRefusal { since: 7, detail: "no".into(), ..ProxyRefusal::default() }];
        let all = merged(vec![one.clone()], &wanted(false));
        assert!(matches!(all.proxies[0].standing(1), Standing::Refused(refusal) if refusal.detail == "no"));
        one.proxies[0].refusals[0].since = 3;
        assert_eq!(merged(vec![one], &wanted(false)).proxies[0].standing(1), Standing::Acknowledged);
    }
}
