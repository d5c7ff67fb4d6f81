//! Pure. The progress of an applied or deleted object towards all proxies: one line while a command waits, and the
//! problems when the wait is over.

use api::resource::document::Problem;
use api::resource::verdict::{ObjectVerdict, ProxyProgress, Standing, Wanted};

use crate::wire::Settling;

/// An object that a command waits for, with the file that defines it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Awaited {
    /// The object.
    pub wanted: Wanted,
    /// The file, with the line if it is known.
    pub file: String,
}

impl Awaited {
    /// Nothing for a pod: its creation and deletion need no acknowledgement from pilot.
    pub fn new(wanted: Wanted, file: String) -> Option<Self> {
        let is_pod = wanted.kind == "Pod" && wanted.group.is_empty();
        (!is_pod).then_some(Self { wanted, file })
    }
}

/// One line that names what the command still waits for.
pub fn progress(awaited: &[Awaited], settling: &Settling) -> String {
    if let Some(trouble) = &settling.trouble {
        return format!("waiting: {trouble}");
    }
    let unread = awaited.iter().filter(|one| !is_read(one, settling)).count();
    if unread > 0 {
        return format!("waiting for pilot to read {unread} of {} objects", awaited.len());
    }
    let late = late(awaited, settling);
    let all = settling.verdicts.proxies.len() + settling.missing.len();
    if late.is_empty() {
        return "waiting for the node's packet rules".into();
    }
    format!("waiting for {} of {all} proxies to acknowledge: {}", late.len(), listed(&late))
}

/// The problems when the wait is over: objects that are rejected, proxies that reject the configuration, and proxies
/// that have not acknowledged it.
pub fn problems(awaited: &[Awaited], settling: &Settling) -> Vec<Problem> {
    let mut problems = vec![];
    for one in awaited {
        let verdict = verdict(one, settling);
        problems.extend(verdict.iter().filter(|v| one.wanted.is_met(v) && !v.accepted).flat_map(|verdict| {
            verdict.errors.iter().map(|found| Problem {
                file: one.file.clone(),
                object: name(&one.wanted),
                path: found.path.clone(),
                reason: found.reason.clone(),
                next: found.next.clone(),
            })
        }));
    }
    problems.extend(refused(awaited, settling));
    if settling.settled {
        return problems;
    }
    if let Some(trouble) = &settling.trouble {
        return vec![Problem {
            reason: format!("the change is not in force: {trouble}"),
            next: "look at `ostria status` and at the logs of the control plane".into(),
            ..Problem::default()
        }];
    }
    let unread = awaited.iter().filter(|one| !is_read(one, settling));
    problems.extend(unread.map(|one| Problem {
        file: one.file.clone(),
        object: name(&one.wanted),
        reason: "timed out waiting for pilot to read it".into(),
        next: "look at the log of pilot".into(),
        ..Problem::default()
    }));
    let late = late(awaited, settling);
    if !late.is_empty() {
        let all = settling.verdicts.proxies.len() + settling.missing.len();
        problems.push(Problem {
            reason: format!(
                "timed out waiting for the acknowledgement of {} of {all} proxies: {}",
                late.len(),
                listed(&late)
            ),
            next: "look at `ostria status` and `ostria logs POD -c istio-proxy`, or use a longer --timeout"
                .into(),
            ..Problem::default()
        });
    }
    if problems.is_empty() {
        problems.push(Problem {
            reason: "timed out waiting for the node's packet rules".into(),
            next: "look at `ostria status`".into(),
            ..Problem::default()
        });
    }
    problems
}

/// The rejections by proxies. Proxies that reject for the same reason share one problem.
fn refused(awaited: &[Awaited], settling: &Settling) -> Vec<Problem> {
    let snapshot = snapshot(awaited, settling);
    let mut by_detail: Vec<(String, Vec<&str>)> = vec![];
    for proxy in &settling.verdicts.proxies {
        let Standing::Refused(refusal) = proxy.standing(snapshot) else { continue };
        let what = format!("{}: {}", refusal.names.join(", "), refusal.detail);
        match by_detail.iter_mut().find(|(known, _)| *known == what) {
            Some((_, proxies)) => proxies.push(&proxy.proxy),
            None => by_detail.push((what, vec![&proxy.proxy])),
        }
    }
    let problem = |(what, proxies): (String, Vec<&str>)| Problem {
        reason: format!("rejected by proxy {}: {what}", listed(&proxies)),
        next: "the proxy keeps its last valid configuration; change the object, or delete it".into(),
        ..Problem::default()
    };
    by_detail.into_iter().map(problem).collect()
}

/// Proxies that have not acknowledged, and proxies that are not connected.
fn late<'a>(awaited: &[Awaited], settling: &'a Settling) -> Vec<&'a str> {
    let snapshot = snapshot(awaited, settling);
    let pending = |proxy: &&ProxyProgress| proxy.standing(snapshot) == Standing::Pending;
    let late = settling.verdicts.proxies.iter().filter(pending).map(|proxy| proxy.proxy.as_str());
    late.chain(settling.missing.iter().map(String::as_str)).collect()
}

/// The first snapshot that contains all of the changes.
fn snapshot(awaited: &[Awaited], settling: &Settling) -> u64 {
    let newest = awaited.iter().map(|one| match verdict(one, settling) {
        Some(verdict) if !one.wanted.gone => verdict.snapshot,
        _ => settling.verdicts.snapshot,
    });
    newest.max().unwrap_or(settling.verdicts.snapshot)
}

fn verdict<'a>(one: &Awaited, settling: &'a Settling) -> Option<&'a ObjectVerdict> {
    settling.verdicts.objects.iter().find(|verdict| one.wanted.names(verdict))
}

fn is_read(one: &Awaited, settling: &Settling) -> bool {
    match verdict(one, settling) {
        Some(verdict) => !one.wanted.gone && one.wanted.is_met(verdict),
        None => one.wanted.gone,
    }
}

fn name(wanted: &Wanted) -> String {
    if wanted.namespace.is_empty() {
        format!("{} {}", wanted.kind, wanted.name)
    } else {
        format!("{} {}/{}", wanted.kind, wanted.namespace, wanted.name)
    }
}

/// The first names of a list, and the number of the others.
fn listed(names: &[&str]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let first = names[..names.len() - more].join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

const SHOWN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use api::resource::verdict::{ProxyRefusal, Verdicts, Version};

    fn awaited(gone: bool) -> Vec<Awaited> {
        let wanted = Wanted {
            group: "networking.istio.io".into(),
            kind: "VirtualService".into(),
            namespace: "shop".into(),
            name: "a".into(),
            generation: 2,
            gone,
            ..Wanted::default()
        };
        vec![Awaited { wanted, file: "a.yaml:3".into() }]
    }

    fn verdict(generation: i64, errors: usize) -> ObjectVerdict {
        let wrong = Problem { path: "spec.http".into(), reason: "is wrong".into(), ..Default::default() };
        ObjectVerdict {
            group: "networking.istio.io".into(),
            kind: "VirtualService".into(),
            namespace: "shop".into(),
            name: "a".into(),
            version: Version { generation, ..Version::default() },
            accepted: errors == 0,
            snapshot: 7,
            errors: vec![wrong; errors],
            ..ObjectVerdict::default()
        }
    }

    fn proxy(name: &str, responded: u64, detail: Option<&str>) -> ProxyProgress {
        let refusal = |detail: &str| ProxyRefusal {
            names: vec!["80".into()],
            detail: detail.into(),
            since: 7,
            ..ProxyRefusal::default()
        };
        ProxyProgress {
            proxy: name.into(),
            acknowledged: if detail.is_some() { 6 } else { responded },
            responded,
            refusals: detail.map(refusal).into_iter().collect(),
        }
    }

    fn settling(objects: Vec<ObjectVerdict>, proxies: Vec<ProxyProgress>) -> Settling {
        let verdicts = Verdicts { snapshot: 7, objects, proxies, ..Verdicts::default() };
        let wanted: Vec<Wanted> = awaited(false).into_iter().map(|one| one.wanted).collect();
        Settling { settled: verdicts.settles(&wanted), verdicts, ..Settling::default() }
    }

    fn reasons(settling: &Settling) -> Vec<String> {
        problems(&awaited(false), settling).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nothing_is_wrong_once_every_proxy_has_acknowledged() {
        let settling = settling(vec![verdict(2, 0)], vec![proxy("web.shop", 7, None)]);
        assert!(settling.settled);
        assert_eq!(reasons(&settling), Vec::<String>::new());
    }

    #[test]
    fn an_object_that_pilot_rejects_is_named_with_file_and_field() {
        let settling = settling(vec![verdict(2, 1)], vec![proxy("web.shop", 7, None)]);
        assert_eq!(reasons(&settling), ["a.yaml:3: VirtualService shop/a: spec.http: is wrong"]);
    }

    #[test]
    fn proxies_with_the_same_rejection_are_one_problem() {
        let proxies = vec![proxy("a.shop", 7, Some("bad")), proxy("b.shop", 7, Some("bad"))];
        let found = reasons(&settling(vec![verdict(2, 0)], proxies));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("rejected by proxy a.shop, b.shop: 80: bad"), "{found:?}");
    }

    #[test]
    fn proxies_without_acknowledgement_are_named_during_and_after_the_wait() {
        let mut settling =
            settling(vec![verdict(2, 0)], vec![proxy("a.shop", 7, None), proxy("b.shop", 6, None)]);
        settling.missing = vec!["c.shop".into()];
        let line = "waiting for 2 of 3 proxies to acknowledge: b.shop, c.shop";
        assert_eq!(progress(&awaited(false), &settling), line);
        let found = reasons(&settling);
        assert!(found[0].contains("of 2 of 3 proxies: b.shop, c.shop"), "{found:?}");
    }

    #[test]
    fn objects_that_pilot_has_not_read_are_named() {
        let settling = settling(vec![verdict(1, 0)], vec![]);
        assert_eq!(progress(&awaited(false), &settling), "waiting for pilot to read 1 of 1 objects");
        assert!(reasons(&settling)[0].starts_with("a.yaml:3: VirtualService shop/a: timed out"));
        assert!(problems(&awaited(true), &settling)[0].reason.contains("timed out"), "it is still there");
    }

    #[test]
    fn a_full_disk_is_reported_instead_of_its_consequences() {
        let settling = Settling { trouble: Some("no space left on device".into()), ..Settling::default() };
        let found = reasons(&settling);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("no space left on device"), "{found:?}");
    }

    #[test]
    fn only_the_first_of_many_proxies_are_named() {
        let names: Vec<String> = (0..12).map(|number| format!("p{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(listed(&names).ends_with("p9 and 2 more"));
    }
}
