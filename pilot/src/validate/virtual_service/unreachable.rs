//! Pure. Warns of routes and conditions that no request or connection reaches, because earlier ones match everything
//! that they would match.

use crate::catalog::host;
use crate::check::finding::Findings;
use api::resource::kind::virtual_service as written;
use std::collections::BTreeMap;

pub(super) fn warn(f: &mut Findings, spec: &written::VirtualService) {
    let http = spec.http.iter().map(|route| route.matches.as_slice()).collect::<Vec<_>>();
    routes(f, "spec.http", &http, http_covers);
    let tls = spec.tls.iter().map(|route| route.matches.as_slice()).collect::<Vec<_>>();
    routes(f, "spec.tls", &tls, tls_covers);
    let tcp = spec.tcp.iter().map(|route| route.matches.as_slice()).collect::<Vec<_>>();
    routes(f, "spec.tcp", &tcp, tcp_covers);
}

/// Warns of unreachable routes of one protocol. `covers` tells whether its first argument matches everything that its
/// second matches.
fn routes<M>(f: &mut Findings, path: &str, routes: &[&[M]], covers: fn(&M, &M) -> bool) {
    let mut earlier: Vec<(usize, usize, &M)> = vec![];
    for (r, matches) in routes.iter().enumerate() {
        let mut covered = vec![];
        for (m, condition) in matches.iter().enumerate() {
            let first = earlier.iter().find(|(.., before)| covers(before, condition));
            covered.extend(first.map(|(route, at, _)| (m, *route, *at)));
            if earlier.len() < MAX_COMPARED {
                earlier.push((r, m, condition));
            }
        }
        let whole = covered.len() == matches.len() && covered.iter().all(|(_, route, _)| *route < r);
        if let (true, Some((_, route, at))) = (whole, covered.first()) {
            let reason =
                format!("is never reached: {path}[{route}].match[{at}] matches everything that it matches");
            f.warn(format!("{path}[{r}]"), reason, "put it before that route, or remove it");
            continue;
        }
        for (m, route, at) in covered {
            let reason =
                format!("has no effect: {path}[{route}].match[{at}] matches everything that it matches");
            f.warn(format!("{path}[{r}].match[{m}]"), reason, "put it before that condition, or remove it");
        }
        if matches.is_empty() {
            for later in r + 1..routes.len() {
                let reason = format!("is never reached: {path}[{r}] matches everything");
                f.warn(format!("{path}[{later}]"), reason, "put it before that route");
            }
            return;
        }
    }
}

fn http_covers(one: &written::HttpMatch, other: &written::HttpMatch) -> bool {
    let text = |one: &Option<written::StringMatch>, other: &Option<written::StringMatch>| match (one, other) {
        (None, _) => true,
        (Some(one), Some(other)) => text_covers(one, other),
        (Some(_), None) => false,
    };
    let all = |one: &BTreeMap<String, written::StringMatch>, other: &BTreeMap<_, _>| {
        one.iter()
            .all(|(name, condition)| other.get(name).is_some_and(|narrower| text_covers(condition, narrower)))
    };
    let same = |one: &BTreeMap<String, written::StringMatch>,
                other: &BTreeMap<String, written::StringMatch>| {
        one.iter().all(|(name, condition)| other.get(name) == Some(condition))
    };
    let case = one.uri.is_none() || one.ignore_uri_case || !other.ignore_uri_case;
    case && text(&one.uri, &other.uri)
        && text(&one.scheme, &other.scheme)
        && text(&one.method, &other.method)
        && text(&one.authority, &other.authority)
        && all(&one.headers, &other.headers)
        && all(&one.query_params, &other.query_params)
        && same(&one.without_headers, &other.without_headers)
        && source_covers(&Source::of_http(one), &Source::of_http(other))
}

/// Whether `one` matches every text that `other` matches. No comparison means that the value is present.
fn text_covers(one: &written::StringMatch, other: &written::StringMatch) -> bool {
    let any = one.exact.is_none() && one.prefix.is_none() && one.regex.is_none();
    let begins = |prefix: &String| {
        let text = other.exact.as_ref().or(other.prefix.as_ref());
        text.is_some_and(|text| text.starts_with(prefix.as_str()))
    };
    any || one == other || one.prefix.as_ref().is_some_and(begins)
}

fn tls_covers(one: &written::TlsMatch, other: &written::TlsMatch) -> bool {
    let named = |sni: &String| one.sni_hosts.iter().any(|known| host::covers(known, sni));
    other.sni_hosts.iter().all(named)
        && subnets_cover(&one.destination_subnets, &other.destination_subnets)
        && source_covers(&Source::of_tls(one), &Source::of_tls(other))
}

fn tcp_covers(one: &written::L4Match, other: &written::L4Match) -> bool {
    subnets_cover(&one.destination_subnets, &other.destination_subnets)
        && source_covers(&Source::of_tcp(one), &Source::of_tcp(other))
}

fn subnets_cover(one: &[String], other: &[String]) -> bool {
    one.is_empty() || (!other.is_empty() && other.iter().all(|subnet| one.contains(subnet)))
}

/// The source conditions that HTTP, TLS and TCP matches share.
struct Source<'a> {
    port: u32,
    labels: &'a BTreeMap<String, String>,
    namespace: &'a str,
    gateways: &'a [String],
}

impl<'a> Source<'a> {
    fn of_http(written: &'a written::HttpMatch) -> Self {
        Self {
            port: written.port.unwrap_or_default(),
            labels: &written.source_labels,
            namespace: &written.source_namespace,
            gateways: &written.gateways,
        }
    }

    fn of_tls(written: &'a written::TlsMatch) -> Self {
        Self {
            port: written.port.unwrap_or_default(),
            labels: &written.source_labels,
            namespace: &written.source_namespace,
            gateways: &written.gateways,
        }
    }

    fn of_tcp(written: &'a written::L4Match) -> Self {
        Self {
            port: written.port.unwrap_or_default(),
            labels: &written.source_labels,
            namespace: &written.source_namespace,
            gateways: &written.gateways,
        }
    }
}

fn source_covers(one: &Source, other: &Source) -> bool {
    (one.port == 0 || one.port == other.port)
        && one.labels.iter().all(|(name, value)| other.labels.get(name) == Some(value))
        && (one.namespace.is_empty() || one.namespace == other.namespace)
        && (one.gateways.is_empty()
            || (!other.gateways.is_empty()
                && other.gateways.iter().all(|gateway| one.gateways.contains(gateway))))
}

/// The number of conditions that later ones are compared with; bounds the cost.
const MAX_COMPARED: usize = 200;
