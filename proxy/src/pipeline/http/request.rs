//! One request through the stages: its head is checked and cleaned, its route found, its policies asked; then it is
//! answered or sent on.

use super::body::ResponseBody;
use super::exchange::{Exchange, protocol};
use super::forward::{self, Outgoing};
use super::headers::{self, Client};
use super::{reply, upgrade};
use crate::flow::flags::Flags;
use crate::flow::head::Head;
use crate::pipeline::downstream::Downstream;
use crate::pipeline::refusal::Refusal;
use crate::policy::{authorize, fault};
use crate::route::{self, Routed, normalize};
use crate::snapshot::listener::Filter;
use crate::snapshot::mutation::Context;
use crate::snapshot::table::{Action, RouteTable};
use api::model::route::{AbortStatus, Fault};
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Version};
use hyper::body::Incoming;
use std::net::IpAddr;
use std::rc::Rc;

/// Answers a request.
pub(super) async fn answer(connection: Rc<Downstream>, request: Request<Incoming>) -> Response<ResponseBody> {
    let (mut parts, body) = request.into_parts();
    let exchange = Exchange::begin(&connection, &parts);
    let version = parts.version;
    let mut response = match stages(&connection, &exchange, &mut parts, body).await {
        Ok(response) => response,
        Err(refusal) => reply::refuse(refusal, &exchange),
    };
    if let Some(server) = &connection.http().server {
        response.headers_mut().insert(header::SERVER, server.clone());
    }
    if version < Version::HTTP_2 && connection.live.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.responded(response.status().as_u16(), response.headers());
    response
}

async fn stages(
    connection: &Rc<Downstream>,
    exchange: &Rc<Exchange>,
    parts: &mut Parts,
    body: Incoming,
) -> Result<Response<ResponseBody>, Refusal> {
    check(parts, connection)?;
    let upgrade = upgrade::wanted(parts, &connection.http().model.upgrades)?;
    let client = clean(parts, connection, upgrade);
    exchange.capture_request(&parts.headers);
    let table = connection.thread.table(&connection.http().routes).ok_or_else(Refusal::no_route)?;
    let authority = authority(parts);
    let scheme = if connection.tls { "https" } else { "http" };
    let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let target = target.as_str();
    let head = Head {
        method: &parts.method,
        authority: authority.to_str().unwrap_or_default(),
        target,
        scheme,
        headers: &parts.headers,
    };
    // Filters may refuse what has no route, so the route is looked up first and missed last.
    let routed = route::find(&table, &head, connection.thread.random());
    let injected = filters(connection, &head, routed.as_ref().ok(), client)?;
    let Ok(Routed { host, route }) = routed else { return unrouted(connection, &table, &head, exchange) };
    exchange.detail(|d| d.route = Some(route.name.clone()));
    if let Some(delay) = injected.delay {
        exchange.flag(Flags::DI);
        tokio::time::sleep(delay).await;
    }
    if let Some(abort) = injected.abort {
        return aborted(abort, exchange);
    }
    let context = Context {
        request: &parts.headers,
        remote: Some(connection.peer),
        local: Some(connection.local),
        protocol: protocol(parts.version),
    };
    let mut response = match &route.action {
        _ if host.require_tls && !connection.tls => {
            reply::redirect(301, &route::redirect::to_https(&head), exchange)
        }
        Action::Direct(status, text) => {
            exchange.detail(|d| d.code_details = Some("direct_response".into()));
            reply::text(*status, text.clone(), exchange)
        }
        Action::Redirect(redirect, prefix) => {
            let location = route::redirect::location(redirect, prefix, &head);
            reply::redirect(redirect.status, &location, exchange)
        }
        Action::Forward(forward) => {
            let outgoing = Outgoing { host, route, forward, target, scheme, upgrade };
            return forward::forward(exchange, outgoing, parts, body).await;
        }
    };
    route.response_headers.apply(response.headers_mut(), &context);
    host.response_headers.apply(response.headers_mut(), &context);
    Ok(response)
}

/// A host that takes TLS only may have no routes at all in plaintext.
fn unrouted(
    connection: &Downstream,
    table: &RouteTable,
    head: &Head<'_>,
    exchange: &Rc<Exchange>,
) -> Result<Response<ResponseBody>, Refusal> {
    if !connection.tls && route::host(table, head.authority).is_some_and(|host| host.require_tls) {
        return Ok(reply::redirect(301, &route::redirect::to_https(head), exchange));
    }
    Err(Refusal::no_route())
}

/// What no route may ever see.
fn check(parts: &mut Parts, connection: &Downstream) -> Result<(), Refusal> {
    let settings = &connection.http().model;
    if parts.version < Version::HTTP_11 && !settings.accept_http_10 {
        return Err(Refusal::new(426, "", Flags::DPE, "low_version"));
    }
    if parts.method == Method::CONNECT {
        return Err(Refusal::new(403, "", Flags::NONE, "upgrade_failed"));
    }
    let too_many = parts.headers.len() > settings.max_headers_count as usize;
    if too_many {
        return Err(Refusal::new(431, "", Flags::DPE, "too_many_headers"));
    }
    if parts.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(Refusal::new(400, "", Flags::DPE, "http1.multiple_host_headers"));
    }
    if parts.uri.authority().is_none() && !parts.headers.contains_key(header::HOST) {
        return Err(Refusal::new(400, "", Flags::DPE, "missing_host_header"));
    }
    let respelled = normalize::uri(&parts.uri, settings.normalize_path, settings.merge_slashes)
        .map_err(|_| Refusal::new(400, "", Flags::DPE, "path_normalization_failed"))?;
    if let Some(uri) = respelled {
        parts.uri = uri;
    }
    Ok(())
}

/// Cleans the headers, and gives back the client's address.
fn clean(parts: &mut Parts, connection: &Downstream, upgrade: bool) -> IpAddr {
    // An absolute target names the host, whatever the header says (RFC 9112, 3.2.2).
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    headers::strip_hop_by_hop(&mut parts.headers, upgrade);
    // We answer 100-continue ourselves, when the body is read.
    parts.headers.remove(header::EXPECT);
    let settings = &connection.http().model;
    let client = Client {
        ip: connection.peer.ip(),
        tls: connection.tls,
        mutual: connection.mutual,
        certificate: connection.certificate.as_deref(),
    };
    let trusted = headers::forwarded(&mut parts.headers, settings, &client);
    headers::request_id(&mut parts.headers, settings, &|| connection.thread.random());
    trusted
}

fn authority(parts: &Parts) -> HeaderValue {
    parts.headers.get(header::HOST).cloned().unwrap_or_else(|| HeaderValue::from_static(""))
}

fn filters(
    connection: &Downstream,
    head: &Head<'_>,
    routed: Option<&Routed<'_>>,
    client: IpAddr,
) -> Result<fault::Injected, Refusal> {
    let mut injected = fault::Injected::default();
    let mut inject = |fault: &Fault| {
        let found = fault::decide(fault, connection.thread.random(), connection.thread.random());
        injected.delay = injected.delay.or(found.delay);
        injected.abort = injected.abort.or(found.abort);
    };
    let of_route = routed.and_then(|routed| routed.route.fault.as_ref());
    if let Some(fault) = of_route {
        inject(fault);
    }
    for filter in &connection.http().filters {
        match filter {
            Filter::Authorization(rules) => {
                let subject = connection.subject(client, Some(head));
                if let authorize::Decision::Denied(policy) = authorize::decide(rules, &subject) {
                    return Err(Refusal::denied(policy));
                }
            }
            Filter::Fault(fault) if of_route.is_none() => inject(fault),
            Filter::Fault(_) => {}
        }
    }
    Ok(injected)
}

fn aborted(abort: AbortStatus, exchange: &Rc<Exchange>) -> Result<Response<ResponseBody>, Refusal> {
    match abort {
        AbortStatus::Http(status) => Err(Refusal::fault(status)),
        AbortStatus::Grpc(status) => {
            let refusal = Refusal::fault(200);
            exchange.flag(refusal.flags);
            exchange.detail(|d| d.code_details = Some(refusal.details.into_owned()));
            Ok(reply::grpc(status, &refusal.body, exchange))
        }
    }
}
