//! Pure. Validates DestinationRules.

use super::finding::Findings;
use super::{origin, value};
use crate::catalog::destination_rule::{
    CertificatePlace, ClientTls, ConnectionPool, DestinationRule, LoadBalancer, OutlierPolicy, PolicyBlocks,
    RootsPlace, Subset, TrafficPolicy,
};
use crate::catalog::host;
use crate::catalog::policy::Mesh;
use api::model::cluster::{Balancer, Keepalive, Limits, Outlier};
use api::model::route::HashKey;
use api::resource::kind::destination_rule as written;
use api::resource::object::Object;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;
use written::{SimpleBalancer, TlsMode};

pub(super) fn check(
    f: &mut Findings,
    object: &Object,
    spec: &written::DestinationRule,
    mesh: &Mesh,
) -> DestinationRule {
    f.unserved("spec.workloadSelector", &spec.workload_selector);
    value::domain(f, "spec.host", &spec.host, true);
    let mut subsets: Vec<Subset> = vec![];
    for (i, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{i}]");
        if subset.name.is_empty() {
            f.missing(format!("{path}.name"));
        } else if !value::is_label(&subset.name) {
            let reason = format!("`{}` is not a valid name: use letters, digits and '-'", subset.name);
            f.error(format!("{path}.name"), reason, "rename the subset");
        } else if let Some(first) = subsets.iter().position(|s| s.name == subset.name) {
            let reason = format!("`{}` is already used by spec.subsets[{first}]", subset.name);
            f.error(format!("{path}.name"), reason, "rename one");
        }
        value::labels(f, &format!("{path}.labels"), &subset.labels);
        let policy = policy(f, &format!("{path}.trafficPolicy"), subset.traffic_policy.as_ref());
        subsets.push(Subset { name: subset.name.clone(), labels: subset.labels.clone(), policy });
    }
    DestinationRule {
        origin: origin::of(object),
        host: host::complete(&spec.host, object.namespace(), &mesh.domain),
        policy: policy(f, "spec.trafficPolicy", spec.traffic_policy.as_ref()),
        subsets,
        export_to: value::rule_export_to(f, "spec.exportTo", &spec.export_to, object.namespace()),
    }
}

fn policy(f: &mut Findings, path: &str, policy: Option<&written::TrafficPolicy>) -> TrafficPolicy {
    let Some(policy) = policy else { return TrafficPolicy::default() };
    if *policy == written::TrafficPolicy::default() {
        f.error(path, "is empty", "remove it, or add a setting");
    }
    f.unserved(format!("{path}.tunnel"), &policy.tunnel);
    f.unserved(format!("{path}.proxyProtocol"), &policy.proxy_protocol);
    f.unserved(format!("{path}.retryBudget"), &policy.retry_budget);
    let mut ports = BTreeMap::new();
    for (i, port) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{i}]");
        let Some(selector) = port.port else {
            f.missing(format!("{path}.port"));
            continue;
        };
        let Some(number) = u16::try_from(selector.number).ok().filter(|number| *number != 0) else {
            let reason =
                format!("{} is not a valid port number, so the settings apply to no port", selector.number);
            f.warn(format!("{path}.port.number"), reason, "write a number from 1 to 65535");
            continue;
        };
        if (written::PortPolicy { port: None, ..port.clone() }) == written::PortPolicy::default() {
            f.error(&path, "is empty", "remove it, or add a setting");
        }
        let blocks = PolicyBlocks {
            load_balancer: load_balancer(f, &path, port.load_balancer.as_ref()),
            connection_pool: connection_pool(f, &path, port.connection_pool.as_ref()),
            outlier: outlier(f, &path, port.outlier_detection.as_ref()),
            tls: tls(f, &path, port.tls.as_ref()),
        };
        // The first entry for a port counts, as in Istio.
        match ports.entry(number) {
            Entry::Vacant(free) => _ = free.insert(blocks),
            Entry::Occupied(_) => {
                let reason = format!("{number} already has settings: these are ignored");
                f.warn(format!("{path}.port.number"), reason, "remove one");
            }
        }
    }
    let blocks = PolicyBlocks {
        load_balancer: load_balancer(f, path, policy.load_balancer.as_ref()),
        connection_pool: connection_pool(f, path, policy.connection_pool.as_ref()),
        outlier: outlier(f, path, policy.outlier_detection.as_ref()),
        tls: tls(f, path, policy.tls.as_ref()),
    };
    TrafficPolicy { blocks, ports }
}

fn load_balancer(f: &mut Findings, path: &str, lb: Option<&written::LoadBalancer>) -> Option<LoadBalancer> {
    let (path, lb) = (format!("{path}.loadBalancer"), lb?);
    f.unserved(format!("{path}.localityLbSetting"), &lb.locality_lb_setting);
    f.unserved(format!("{path}.zoneAwareLbSetting"), &lb.zone_aware_lb_setting);
    f.unserved(format!("{path}.warmup"), &lb.warmup);
    f.unserved(format!("{path}.warmupDurationSecs"), &lb.warmup_duration_secs);
    let balancer = match (lb.simple, &lb.consistent_hash) {
        (Some(_), Some(_)) => {
            f.error(
                format!("{path}.consistentHash"),
                "cannot be combined with simple",
                "keep one of the two",
            );
            return None;
        }
        (None, Some(hash)) => return consistent_hash(f, &format!("{path}.consistentHash"), hash),
        (None, None) => return None,
        (Some(simple), None) => match simple {
            SimpleBalancer::Unspecified | SimpleBalancer::LeastRequest | SimpleBalancer::LeastConn => {
                Balancer::LeastRequest { choices: 2 }
            }
            SimpleBalancer::RoundRobin => Balancer::RoundRobin,
            SimpleBalancer::Random => Balancer::Random,
            SimpleBalancer::Passthrough => Balancer::Provided,
        },
    };
    Some(LoadBalancer { balancer, hash: None })
}

fn consistent_hash(f: &mut Findings, path: &str, hash: &written::ConsistentHash) -> Option<LoadBalancer> {
    let mut keys = vec![];
    if let Some(name) = hash.http_header_name.as_ref().filter(|name| !name.is_empty()) {
        keys.push(HashKey::Header(name.to_ascii_lowercase()));
    }
    if let Some(cookie) = &hash.http_cookie {
        f.unserved(format!("{path}.httpCookie.attributes"), &cookie.attributes);
        if cookie.name.is_empty() {
            f.missing(format!("{path}.httpCookie.name"));
        }
        let ttl = cookie_ttl(f, &format!("{path}.httpCookie.ttl"), cookie.ttl.as_deref());
        keys.push(HashKey::Cookie { name: cookie.name.clone(), path: cookie.path.clone(), ttl });
    }
    if hash.use_source_ip == Some(true) {
        keys.push(HashKey::SourceIp);
    }
    if let Some(name) = hash.http_query_parameter_name.as_ref().filter(|name| !name.is_empty()) {
        keys.push(HashKey::Query(name.clone()));
    }
    let next = "set one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName";
    match keys.len() {
        0 => f.warn(path, "has no key: endpoints are chosen at random", next),
        1 => {}
        several => f.error(path, format!("has {several} keys"), next),
    }
    let balancer = ring_or_table(f, path, hash)?;
    Some(LoadBalancer { balancer, hash: keys.into_iter().next() })
}

/// The lifetime of the hash cookie; `None`: no cookie is set.
fn cookie_ttl(f: &mut Findings, path: &str, text: Option<&str>) -> Option<Duration> {
    let Some(positive) = text?.strip_prefix('-') else { return value::any_period(f, path, text) };
    let ttl = value::any_period(f, path, Some(positive))?;
    if !ttl.is_zero() {
        // The client would discard it at once.
        f.warn(path, "is negative: no cookie is set", "write 0s for the life of the client's session");
        return None;
    }
    Some(ttl)
}

/// The consistent-hash algorithm: ring hash or Maglev.
fn ring_or_table(f: &mut Findings, path: &str, hash: &written::ConsistentHash) -> Option<Balancer> {
    if hash.minimum_ring_size.is_some_and(|size| size != 0) {
        if hash.ring_hash.is_some() || hash.maglev.is_some() {
            let reason = "cannot be combined with ringHash and maglev";
            f.error(format!("{path}.minimumRingSize"), reason, "keep one of them");
        } else {
            f.warn(format!("{path}.minimumRingSize"), "is deprecated", "write ringHash.minimumRingSize");
        }
    }
    Some(match (&hash.ring_hash, &hash.maglev) {
        (Some(_), Some(_)) => {
            f.error(format!("{path}.maglev"), "cannot be combined with ringHash", "keep one of the two");
            return None;
        }
        (_, Some(table)) => {
            let size = table.table_size.unwrap_or_default();
            if size == 1 {
                let reason = "has a single entry: every request goes to the same endpoint";
                f.warn(format!("{path}.maglev.tableSize"), reason, "write 65537");
            } else if size >= MAX_MAGLEV || !is_prime(size) {
                f.error(
                    format!("{path}.maglev.tableSize"),
                    format!("{size} is not a prime number below {MAX_MAGLEV}"),
                    "write 65537",
                );
            }
            Balancer::Maglev { table_size: size }
        }
        (ring, None) => {
            let size =
                ring.as_ref().and_then(|r| r.minimum_ring_size).or(hash.minimum_ring_size).unwrap_or(1024);
            if size > MAX_RING {
                let at = if ring.is_some() { "ringHash.minimumRingSize" } else { "minimumRingSize" };
                f.error(
                    format!("{path}.{at}"),
                    format!("{size} is more than {MAX_RING}"),
                    "write a smaller number",
                );
            }
            Balancer::RingHash { min_size: size.max(1) }
        }
    })
}

fn is_prime(n: u64) -> bool {
    n >= 2 && (2..=n.isqrt()).all(|d| !n.is_multiple_of(d))
}

fn connection_pool(
    f: &mut Findings,
    path: &str,
    pool: Option<&written::ConnectionPool>,
) -> Option<ConnectionPool> {
    let (path, pool) = (format!("{path}.connectionPool"), pool?);
    if pool.tcp.is_none() && pool.http.is_none() {
        f.error(&path, "is empty", "remove it, or add tcp or http");
    }
    let mut parsed = ConnectionPool::default();
    if let Some(tcp) = &pool.tcp {
        let path = format!("{path}.tcp");
        f.unserved(format!("{path}.maxConnectionDuration"), &tcp.max_connection_duration);
        f.unserved(format!("{path}.idleTimeout"), &tcp.idle_timeout);
        parsed.limits.max_connections = limit(f, &format!("{path}.maxConnections"), tcp.max_connections);
        parsed.connect_timeout =
            value::period(f, &format!("{path}.connectTimeout"), tcp.connect_timeout.as_deref());
        parsed.keepalive = tcp.tcp_keepalive.as_ref().map(|k| Keepalive {
            probes: Some(k.probes).filter(|n| *n > 0),
            time: value::period(f, &format!("{path}.tcpKeepalive.time"), k.time.as_deref()),
            interval: value::period(f, &format!("{path}.tcpKeepalive.interval"), k.interval.as_deref()),
        });
    }
    if let Some(http) = &pool.http {
        http_pool(f, &format!("{path}.http"), http, &mut parsed);
    }
    Some(parsed)
}

fn http_pool(f: &mut Findings, path: &str, http: &written::HttpPool, parsed: &mut ConnectionPool) {
    f.unserved(format!("{path}.maxConcurrentStreams"), &http.max_concurrent_streams);
    f.unserved(format!("{path}.http2KeepAlive"), &http.http2_keep_alive);
    let upgrade = http.h2_upgrade_policy == Some(written::H2Upgrade::Upgrade);
    if upgrade && http.use_client_protocol {
        f.error(
            format!("{path}.useClientProtocol"),
            "cannot be combined with h2UpgradePolicy UPGRADE",
            "keep one of the two",
        );
    }
    parsed.limits = Limits {
        max_pending: limit(f, &format!("{path}.http1MaxPendingRequests"), http.http1_max_pending_requests),
        max_requests: limit(f, &format!("{path}.http2MaxRequests"), http.http2_max_requests),
        max_retries: limit(f, &format!("{path}.maxRetries"), http.max_retries),
        ..parsed.limits
    };
    limit(f, &format!("{path}.maxRequestsPerConnection"), http.max_requests_per_connection);
    parsed.max_requests_per_connection = http.max_requests_per_connection;
    parsed.idle_timeout = value::period(f, &format!("{path}.idleTimeout"), http.idle_timeout.as_deref());
    parsed.upgrade_to_http2 = upgrade;
    parsed.use_client_protocol = http.use_client_protocol;
}

/// Parses a limit; an explicit 0 means no limit.
fn limit(f: &mut Findings, path: &str, written: u32) -> u32 {
    if i32::try_from(written).is_err() {
        f.error(path, format!("{written} is too great"), "write at most 2147483647, or 0 for no limit");
    }
    if written == 0 { u32::MAX } else { written }
}

fn outlier(
    f: &mut Findings,
    path: &str,
    written: Option<&written::OutlierDetection>,
) -> Option<OutlierPolicy> {
    let (path, written) = (format!("{path}.outlierDetection"), written?);
    f.unserved(format!("{path}.consecutiveErrors"), &written.consecutive_errors);
    f.unserved(format!("{path}.splitExternalLocalOriginErrors"), &written.split_external_local_origin_errors);
    f.unserved(format!("{path}.consecutiveLocalOriginFailures"), &written.consecutive_local_origin_failures);
    let base = value::period(f, &format!("{path}.baseEjectionTime"), written.base_ejection_time.as_deref());
    let base_ejection = base.unwrap_or(Duration::from_secs(30));
    let interval = value::period(f, &format!("{path}.interval"), written.interval.as_deref());
    let max_percent =
        percent(f, &format!("{path}.maxEjectionPercent"), written.max_ejection_percent.unwrap_or(10));
    let min_health = percent(f, &format!("{path}.minHealthPercent"), written.min_health_percent.unwrap_or(0));
    Some(OutlierPolicy {
        outlier: Outlier {
            consecutive_5xx: Some(written.consecutive_5xx_errors.unwrap_or(5)).filter(|n| *n > 0),
            consecutive_gateway: written.consecutive_gateway_errors.filter(|n| *n > 0),
            interval: interval.unwrap_or(Duration::from_secs(10)),
            base_ejection,
            max_ejection: base_ejection.max(Duration::from_mins(5)),
            max_percent,
        },
        min_health_percent: min_health,
    })
}

fn percent(f: &mut Findings, path: &str, number: i64) -> u32 {
    value::share(f, path, number as f64);
    number.clamp(0, 100) as u32
}

fn tls(f: &mut Findings, path: &str, tls: Option<&written::ClientTls>) -> Option<ClientTls> {
    let (path, tls) = (format!("{path}.tls"), tls?);
    f.unserved(format!("{path}.caCrl"), &tls.ca_crl);
    let sni = Some(tls.sni.clone()).filter(|sni| !sni.is_empty());
    if let Some(sni) = &sni {
        value::server_name(f, &format!("{path}.sni"), sni);
    }
    let names = tls.subject_alt_names.clone();
    let mode = tls.mode.unwrap_or(TlsMode::Disable);
    unused(f, &path, tls, mode);
    if matches!(mode, TlsMode::Simple | TlsMode::Mutual) {
        exclusive(f, &path, tls, mode);
    }
    match mode {
        TlsMode::Disable => Some(ClientTls::Disable),
        TlsMode::IstioMutual => Some(ClientTls::Istio { subject_alt_names: names, sni }),
        TlsMode::Simple | TlsMode::Mutual => Some(ClientTls::Own {
            certificate: (mode == TlsMode::Mutual).then(|| certificate(f, &path, tls)),
            roots: roots(tls),
            subject_alt_names: names,
            sni,
        }),
    }
}

/// Warns of fields that the TLS mode does not use. Istio accepts them, and ignoring them does not weaken security.
fn unused(f: &mut Findings, path: &str, tls: &written::ClientTls, mode: TlsMode) {
    let given = |text: &String| !text.is_empty();
    let own = matches!(mode, TlsMode::Simple | TlsMode::Mutual);
    // With a `credentialName` they are refused.
    let files = mode != TlsMode::Mutual && !(own && given(&tls.credential_name));
    let fields = [
        ("clientCertificate", files && given(&tls.client_certificate)),
        ("privateKey", files && given(&tls.private_key)),
        ("caCertificates", !own && given(&tls.ca_certificates)),
        ("credentialName", !own && given(&tls.credential_name)),
        ("insecureSkipVerify", !own && tls.insecure_skip_verify == Some(true)),
    ];
    for (name, _) in fields.into_iter().filter(|(_, unused)| *unused) {
        f.warn(format!("{path}.{name}"), "is not used with this mode", "remove it, or change the mode");
    }
}

/// Refuses fields that contradict each other, for which the trusted roots or the presented certificate would be
/// ambiguous.
fn exclusive(f: &mut Findings, path: &str, tls: &written::ClientTls, mode: TlsMode) {
    let secret = !tls.credential_name.is_empty();
    value::secret(f, &format!("{path}.credentialName"), &tls.credential_name);
    if tls.insecure_skip_verify == Some(true) {
        let fields = [
            ("caCertificates", !tls.ca_certificates.is_empty()),
            ("credentialName", secret && mode == TlsMode::Simple),
            ("subjectAltNames", !tls.subject_alt_names.is_empty()),
        ];
        for (name, _) in fields.into_iter().filter(|(_, given)| *given) {
            let reason = format!("cannot be combined with {name}");
            f.error(format!("{path}.insecureSkipVerify"), reason, "keep one of the two");
        }
    }
    let files = [&tls.client_certificate, &tls.private_key, &tls.ca_certificates];
    if secret && files.iter().any(|file| !file.is_empty()) {
        f.error(
            format!("{path}.credentialName"),
            "cannot be combined with files",
            "keep only the Secret or only the files",
        );
    }
}

fn certificate(f: &mut Findings, path: &str, tls: &written::ClientTls) -> CertificatePlace {
    if !tls.credential_name.is_empty() {
        return CertificatePlace::Secret(value::secret_name(&tls.credential_name).to_owned());
    }
    for (name, value) in [("clientCertificate", &tls.client_certificate), ("privateKey", &tls.private_key)] {
        if value.is_empty() {
            f.missing(format!("{path}.{name}"));
        }
    }
    CertificatePlace::Files { chain: tls.client_certificate.clone(), key: tls.private_key.clone() }
}

fn roots(tls: &written::ClientTls) -> RootsPlace {
    match (tls.insecure_skip_verify == Some(true), tls.ca_certificates.as_str(), tls.credential_name.as_str())
    {
        (true, ..) => RootsPlace::Unverified,
        (false, "", "") => RootsPlace::System,
        (false, "", secret) => RootsPlace::Secret(value::secret_name(secret).to_owned()),
        (false, file, _) => RootsPlace::File(file.to_owned()),
    }
}

const MAX_RING: u64 = 8_388_608;
const MAX_MAGLEV: u64 = 5_000_011;
