//! Pure. Validates VirtualServices. This file checks the object as a whole; the files below check its routes.

mod http;
mod l4;

mod cors;
mod fault;
mod mirror;

pub(super) mod retry;

mod unreachable;

mod destination;
mod matching;
mod header;

mod gateway;
mod context;

use super::export;
use crate::catalog::host;
use crate::catalog::policy::Mesh;
use crate::catalog::route::{GatewayRef, HttpAction, RouteSet};
use crate::catalog::visibility::Origin;
use crate::check::finding::Findings;
use crate::check::value;
use api::resource::kind::virtual_service as written;
use api::resource::object::Object;
use context::Context;
use gateway::gateways;

pub(super) fn check(
    f: &mut Findings,
    object: &Object,
    spec: &written::VirtualService,
    mesh: &Mesh,
) -> RouteSet {
    let own = object.namespace();
    let context = Context { own, domain: &mesh.domain };
    let gateways = gateways(f, "spec.gateways", &spec.gateways, own);
    let delegate = spec.hosts.is_empty();
    if delegate {
        delegate_rules(f, spec);
    }
    let hosts = hosts(f, spec, &gateways, context);
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        f.error("spec", "has no route", "add http, tls or tcp");
    }
    let http: Vec<_> = spec
        .http
        .iter()
        .enumerate()
        .filter_map(|(i, route)| http::route(f, &format!("spec.http[{i}]"), route, context))
        .collect();
    if delegate && http.iter().any(|r| matches!(r.action, HttpAction::Delegate { .. })) {
        f.error("spec.http", "a delegate cannot delegate again", "route there, or give the object hosts");
    }
    unreachable::warn(f, spec);
    RouteSet {
        origin: Origin::of(object),
        tls: l4::tls(f, spec, context),
        tcp: l4::tcp(f, spec, context),
        hosts,
        gateways: if gateways.is_empty() { vec![GatewayRef::Mesh] } else { gateways },
        http,
        export_to: export::rule_export_to(f, "spec.exportTo", &spec.export_to, own),
        parts: vec![],
        generated: None,
        otherwise: None,
    }
}

fn delegate_rules(f: &mut Findings, spec: &written::VirtualService) {
    let next = "give the object hosts, or remove it: without hosts others delegate to it";
    for (field, used) in [
        ("gateways", !spec.gateways.is_empty()),
        ("tls", !spec.tls.is_empty()),
        ("tcp", !spec.tcp.is_empty()),
    ] {
        if used {
            f.error(format!("spec.{field}"), "is not used without spec.hosts", next);
        }
    }
}

fn hosts(
    f: &mut Findings,
    spec: &written::VirtualService,
    gateways: &[GatewayRef],
    context: Context,
) -> Vec<String> {
    let for_mesh = gateways.is_empty() || gateways.contains(&GatewayRef::Mesh);
    // SNI names that are valid only at gateways that pass TLS through.
    let for_gateways = !for_mesh && !spec.tls.is_empty();
    let mut hosts: Vec<String> = vec![];
    for (i, text) in spec.hosts.iter().enumerate() {
        let path = format!("spec.hosts[{i}]");
        let is_name = for_gateways && l4::is_mesh_name(text);
        if !is_name && !value::host(f, &path, text, true) {
            continue;
        }
        if text == "*" && for_mesh {
            f.error(path, "`*` would take all requests of the mesh", "name hosts, or name gateways only");
            continue;
        }
        let host = host::complete(text, context.own, context.domain);
        let before = spec.hosts[..i].iter();
        if let Some(first) = before.clone().position(|h| host::overlap(h, text)) {
            f.error(path, format!("`{text}` overlaps spec.hosts[{first}]"), "keep one of the two");
        } else if hosts.iter().any(|h| host::overlap(h, &host)) {
            f.warn(path, format!("`{text}` overlaps another host, spelled otherwise"), "keep one of the two");
        }
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}
