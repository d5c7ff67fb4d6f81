//! Pure. Validates TLS and TCP routes.

use super::context::Context;
use super::destination::{destination, weights};
use super::matching::{Conditions, source};
use crate::catalog::host;
use crate::catalog::route::{TcpDestination, TcpMatch, TcpRoute, TlsMatch, TlsRoute};
use crate::check::finding::Findings;
use crate::check::value;
use api::resource::kind::virtual_service as written;
use std::net::IpAddr;

pub(super) fn tls(f: &mut Findings, spec: &written::VirtualService, context: Context) -> Vec<TlsRoute> {
    let routes = spec.tls.iter().enumerate();
    routes
        .map(|(i, route)| {
            let path = format!("spec.tls[{i}]");
            if route.matches.is_empty() {
                f.error(format!("{path}.match"), "is missing", "add a match with sniHosts");
            }
            let matches = route.matches.iter().enumerate();
            TlsRoute {
                matches: matches
                    .map(|(m, written)| {
                        tls_match(f, &format!("{path}.match[{m}]"), written, &spec.hosts, context)
                    })
                    .collect(),
                destinations: destinations(f, &format!("{path}.route"), &route.route, context),
            }
        })
        .collect()
}

fn tls_match(
    f: &mut Findings,
    path: &str,
    written: &written::TlsMatch,
    hosts: &[String],
    context: Context,
) -> TlsMatch {
    if written.sni_hosts.is_empty() {
        f.missing(format!("{path}.sniHosts"));
    }
    let mut sni_hosts = vec![];
    for (i, sni) in written.sni_hosts.iter().enumerate() {
        let path = format!("{path}.sniHosts[{i}]");
        if sni.parse::<IpAddr>().is_ok() {
            let reason = format!("`{sni}` is an address, which clients do not send as a server name");
            f.warn(path, reason, "name a host");
            sni_hosts.push(sni.clone());
            continue;
        }
        if !is_mesh_name(sni) && !value::domain(f, &path, sni, true) {
            continue;
        }
        if sni.starts_with('*') && sni.len() > 1 && !sni.starts_with("*.") {
            f.warn(
                &path,
                format!("`{sni}` has a wildcard within a label: it never matches a server name"),
                "write `*.domain`, or name hosts",
            );
        }
        // Compared as written: short names in SNI are not completed.
        if !hosts.iter().any(|h| host::covers(h, sni)) {
            f.error(path, format!("`{sni}` is not covered by spec.hosts"), "add it there");
        }
        sni_hosts.push(sni.to_ascii_lowercase());
    }
    let conditions = Conditions {
        port: written.port,
        labels: &written.source_labels,
        namespace: &written.source_namespace,
        namespace_is_checked: false,
        gateways: &written.gateways,
    };
    TlsMatch {
        sni_hosts,
        destination_subnets: value::subnets(
            f,
            &format!("{path}.destinationSubnets"),
            &written.destination_subnets,
        ),
        source: source(f, path, &conditions, context),
    }
}

/// Whether this is the SNI by which a sidecar calls a service through a gateway that passes TLS through:
/// `outbound_.80_._.a.example.com`.
pub(super) fn is_mesh_name(sni: &str) -> bool {
    let parts = sni.strip_prefix("outbound_.").map(|rest| rest.splitn(3, "_.").collect::<Vec<_>>());
    let Some([port, subset, host]) = parts.as_deref() else { return false };
    let subset_is_valid = subset.is_empty() || value::is_label(subset);
    port.parse::<u16>().is_ok() && subset_is_valid && value::is_domain(host)
}

pub(super) fn tcp(f: &mut Findings, spec: &written::VirtualService, context: Context) -> Vec<TcpRoute> {
    let routes = spec.tcp.iter().enumerate();
    routes
        .map(|(i, route)| {
            let path = format!("spec.tcp[{i}]");
            let matches = route.matches.iter().enumerate();
            TcpRoute {
                matches: matches
                    .map(|(m, written)| tcp_match(f, &format!("{path}.match[{m}]"), written, context))
                    .collect(),
                destinations: destinations(f, &format!("{path}.route"), &route.route, context),
            }
        })
        .collect()
}

fn tcp_match(f: &mut Findings, path: &str, written: &written::L4Match, context: Context) -> TcpMatch {
    f.unserved(format!("{path}.sourceSubnet"), &written.source_subnet);
    let conditions = Conditions {
        port: written.port,
        labels: &written.source_labels,
        namespace: &written.source_namespace,
        namespace_is_checked: false,
        gateways: &written.gateways,
    };
    TcpMatch {
        destination_subnets: value::subnets(
            f,
            &format!("{path}.destinationSubnets"),
            &written.destination_subnets,
        ),
        source: source(f, path, &conditions, context),
    }
}

fn destinations(
    f: &mut Findings,
    path: &str,
    written: &[written::RouteDestination],
    context: Context,
) -> Vec<TcpDestination> {
    if written.is_empty() {
        f.missing(path);
    }
    let weights = weights(f, path, &written.iter().map(|d| d.weight).collect::<Vec<_>>());
    let all = written.iter().zip(weights).enumerate();
    all.filter_map(|(i, (written, weight))| {
        let to = written.destination.as_ref();
        let destination = destination(f, &format!("{path}[{i}].destination"), to, context)?;
        (weight > 0).then_some(TcpDestination { destination, weight })
    })
    .collect()
}
