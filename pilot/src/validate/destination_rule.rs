//! Pure. Checks DestinationRules.

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
use api::resource::destination_rule as written;
use api::resource::name::is_label;
use api::resource::object::Object;
use std::collections::BTreeMap;
use std::time::Duration;
use written::{SimpleBalancer, TlsMode};

pub(super) fn check(
    f: &mut Findings,
    object: &Object,
    spec: &written::DestinationRule,
    mesh: &Mesh,
) -> DestinationRule {
    f.unserved("spec.workloadSelector", &spec.workload_selector);
    value::host(f, "spec.host", &spec.host, true);
    let mut subsets: Vec<Subset> = vec![];
    for (i, subset) in spec.subsets.iter().enumerate() {
        let path = format!("spec.subsets[{i}]");
        if subset.name.is_empty() {
            f.missing(format!("{path}.name"));
        } else if !is_label(&subset.name) {
            let reason = format!("`{}` is no valid name: it takes a-z, 0-9 and '-'", subset.name);
            f.error(format!("{path}.name"), reason, "rename the subset");
        } else if let Some(first) = subsets.iter().position(|s| s.name == subset.name) {
            let reason = format!("`{}` is also the name of spec.subsets[{first}]", subset.name);
            f.error(format!("{path}.name"), reason, "rename one");
        }
        let policy = policy(f, &format!("{path}.trafficPolicy"), subset.traffic_policy.as_ref());
        subsets.push(Subset { name: subset.name.clone(), labels: subset.labels.clone(), policy });
    }
    DestinationRule {
        origin: origin(object),
        host: host::complete(&spec.host, object.namespace(), &mesh.domain),
        policy: policy(f, "spec.trafficPolicy", spec.traffic_policy.as_ref()),
        subsets,
        export_to: value::export_to(f, "spec.exportTo", &spec.export_to, object.namespace()),
    }
}

fn policy(f: &mut Findings, path: &str, policy: Option<&written::TrafficPolicy>) -> TrafficPolicy {
    let Some(policy) = policy else { return TrafficPolicy::default() };
    if *policy == written::TrafficPolicy::default() {
        f.error(path, "says nothing", "remove it, or add a setting");
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
        let number = value::port(f, &format!("{path}.port.number"), selector.number.into());
        let blocks = PolicyBlocks {
            load_balancer: load_balancer(f, &path, port.load_balancer.as_ref()),
            connection_pool: connection_pool(f, &path, port.connection_pool.as_ref()),
            outlier: outlier(f, &path, port.outlier_detection.as_ref()),
            tls: tls(f, &path, port.tls.as_ref()),
        };
        if ports.insert(number, blocks).is_some() {
            f.error(format!("{path}.port.number"), format!("{number} has settings already"), "remove one");
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
            f.error(format!("{path}.consistentHash"), "excludes simple", "keep one of the two");
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
        let ttl = value::any_period(f, &format!("{path}.httpCookie.ttl"), cookie.ttl.as_deref());
        keys.push(HashKey::Cookie { name: cookie.name.clone(), path: cookie.path.clone(), ttl });
    }
    if hash.use_source_ip == Some(true) {
        keys.push(HashKey::SourceIp);
    }
    if let Some(name) = hash.http_query_parameter_name.as_ref().filter(|name| !name.is_empty()) {
        keys.push(HashKey::Query(name.clone()));
    }
    if keys.len() != 1 {
        let next = "give one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName";
        f.error(path, format!("has {} keys", keys.len()), next);
    }
    let balancer = match (&hash.ring_hash, &hash.maglev) {
        (Some(_), Some(_)) => {
            f.error(format!("{path}.maglev"), "excludes ringHash", "keep one of the two");
            return None;
        }
        (_, Some(table)) => {
            let size = table.table_size.unwrap_or(65537);
            if size > MAX_MAGLEV || !is_prime(size) {
                f.error(
                    format!("{path}.maglev.tableSize"),
                    format!("{size} is no prime up to {MAX_MAGLEV}"),
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
    };
    Some(LoadBalancer { balancer, hash: keys.into_iter().next() })
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
        f.error(&path, "says nothing", "remove it, or add tcp or http");
    }
    let mut parsed = ConnectionPool::default();
    if let Some(tcp) = &pool.tcp {
        let path = format!("{path}.tcp");
        f.unserved(format!("{path}.maxConnectionDuration"), &tcp.max_connection_duration);
        f.unserved(format!("{path}.idleTimeout"), &tcp.idle_timeout);
        parsed.limits.max_connections = limit(tcp.max_connections);
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
            "excludes h2UpgradePolicy UPGRADE",
            "keep one of the two",
        );
    }
    parsed.limits = Limits {
        max_pending: limit(http.http1_max_pending_requests),
        max_requests: limit(http.http2_max_requests),
        max_retries: limit(http.max_retries),
        ..parsed.limits
    };
    parsed.max_requests_per_connection = http.max_requests_per_connection;
    parsed.idle_timeout = value::period(f, &format!("{path}.idleTimeout"), http.idle_timeout.as_deref());
    parsed.upgrade_to_http2 = upgrade;
    parsed.use_client_protocol = http.use_client_protocol;
}

/// An explicit 0 is the same as no limit.
fn limit(written: u32) -> u32 {
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
        value::host(f, &format!("{path}.sni"), sni, false);
    }
    let names = tls.subject_alt_names.clone();
    let mode = tls.mode.unwrap_or(TlsMode::Disable);
    if mode != TlsMode::Mutual {
        refuse_certificates(f, &path, tls, mode);
    }
    match mode {
        TlsMode::Disable => Some(ClientTls::Disable),
        TlsMode::IstioMutual => Some(ClientTls::Istio { subject_alt_names: names, sni }),
        TlsMode::Simple | TlsMode::Mutual => Some(ClientTls::Own {
            certificate: (mode == TlsMode::Mutual).then(|| certificate(f, &path, tls)),
            roots: roots(f, &path, tls),
            subject_alt_names: names,
            sni,
        }),
    }
}

fn refuse_certificates(f: &mut Findings, path: &str, tls: &written::ClientTls, mode: TlsMode) {
    let mut fields = vec![("clientCertificate", &tls.client_certificate), ("privateKey", &tls.private_key)];
    if mode != TlsMode::Simple {
        fields.extend([("caCertificates", &tls.ca_certificates), ("credentialName", &tls.credential_name)]);
        if tls.insecure_skip_verify == Some(true) {
            f.error(format!("{path}.insecureSkipVerify"), "needs mode SIMPLE or MUTUAL", "remove it");
        }
    }
    for (name, value) in fields {
        if !value.is_empty() {
            f.error(
                format!("{path}.{name}"),
                "is not used with this mode",
                "remove it, or write mode MUTUAL",
            );
        }
    }
}

fn certificate(f: &mut Findings, path: &str, tls: &written::ClientTls) -> CertificatePlace {
    if !tls.credential_name.is_empty() {
        if !tls.client_certificate.is_empty() || !tls.private_key.is_empty() {
            f.error(format!("{path}.credentialName"), "excludes files", "keep the Secret or the files");
        }
        return CertificatePlace::Secret(tls.credential_name.clone());
    }
    for (name, value) in [("clientCertificate", &tls.client_certificate), ("privateKey", &tls.private_key)] {
        if value.is_empty() {
            f.missing(format!("{path}.{name}"));
        }
    }
    CertificatePlace::Files { chain: tls.client_certificate.clone(), key: tls.private_key.clone() }
}

fn roots(f: &mut Findings, path: &str, tls: &written::ClientTls) -> RootsPlace {
    let file = !tls.ca_certificates.is_empty();
    match (tls.insecure_skip_verify == Some(true), file) {
        (true, true) => {
            f.error(format!("{path}.insecureSkipVerify"), "excludes caCertificates", "keep one of the two");
            RootsPlace::Unverified
        }
        (true, false) if !tls.subject_alt_names.is_empty() => {
            f.error(format!("{path}.insecureSkipVerify"), "excludes subjectAltNames", "keep one of the two");
            RootsPlace::Unverified
        }
        (true, false) => RootsPlace::Unverified,
        (false, true) => RootsPlace::File(tls.ca_certificates.clone()),
        (false, false) if !tls.credential_name.is_empty() => RootsPlace::Secret(tls.credential_name.clone()),
        (false, false) => RootsPlace::System,
    }
}

const MAX_RING: u64 = 8_388_608;
const MAX_MAGLEV: u64 = 5_000_011;
