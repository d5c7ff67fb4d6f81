//! Takes one request through the stages: checks and sanitizes its head, finds its route, runs its filters, then
//! responds or forwards it.

use super::body::ResponseBody;
use super::exchange::{Exchange, protocol};
use super::filters::{Ended, RequestFilters};
use super::forward::{self, Outgoing};
use super::headers::{self, Client, REQUEST_ID, Trusted};
use super::levels::{Levels, MatchedRoute};
use super::survey::{HeadField, Survey};
use super::{head_changes, reply, upgrade};
use crate::filter::step::{RequestView, Stat};
use crate::flow::flags::Flags;
use crate::flow::head::Head;
use crate::flow::refusal::Refusal;
use crate::format::context::Context;
use crate::http1::head::is_host;
use crate::pipeline::downstream::Downstream;
use crate::route::{self, Routed, normalize};
use crate::send::Incoming;
use crate::snapshot::table::{Action, Clusters, Route, RouteTable};
use api::model::listener::EscapedSlashes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body::Body;
use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

/// Handles a request and returns its response.
pub(super) async fn handle(connection: Rc<Downstream>, request: Request<Incoming>) -> Response<ResponseBody> {
    let (mut parts, body) = request.into_parts();
    let exchange = Exchange::begin(&connection, &parts);
    if exchange.has_extra() && body.is_end_stream() {
        exchange.meter.end();
    }
    let version = parts.version;
    let mut id = None;
    let result = match prepare(&connection, &exchange, &mut parts) {
        Ok(prepared) => {
            if connection.http().model.extra.request_id_in_response {
                id = parts.headers.get(REQUEST_ID).cloned();
            }
            stages(&connection, &exchange, &mut parts, body, prepared).await
        }
        Err(refusal) => {
            exchange.detail(|detail| detail.target = detail.target.take().map(|_| parts.uri.clone()));
            Err(refusal)
        }
    };
    let mut response = result.unwrap_or_else(|refusal| reply::refuse(refusal, &exchange));
    finish(&connection, response.headers_mut(), id);
    if version < Version::HTTP_2 && connection.live.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    exchange.responded(response.status().as_u16(), response.headers());
    response
}

/// Responds to a malformed request. `head` holds the parts that could be parsed, if any.
pub(super) fn refuse(
    connection: &Rc<Downstream>,
    head: Option<Parts>,
    refusal: Refusal,
) -> Response<ResponseBody> {
    let known = head.is_some();
    let parts = head.unwrap_or_else(|| Request::new(()).into_parts().0);
    let exchange = Exchange::begin(connection, &parts);
    if known {
        exchange.keep_head(&parts);
    } else {
        exchange.keep_malformed_head(&parts);
        exchange.detail(|detail| (detail.method, detail.target) = (None, None));
    }
    let mut response = reply::refuse(refusal, &exchange);
    finish(connection, response.headers_mut(), None);
    exchange.responded(response.status().as_u16(), response.headers());
    response
}

/// Adds the headers that every response of a listener carries.
fn finish(connection: &Downstream, headers: &mut HeaderMap, id: Option<HeaderValue>) {
    let http = connection.http();
    if http.strips_peer_metadata {
        headers::strip_peer_metadata(headers);
    }
    if let Some(server) = &http.server
        && !(http.model.extra.keep_server && headers.contains_key(header::SERVER))
    {
        headers.insert(header::SERVER, server.clone());
    }
    if let Some(via) = &http.via {
        headers::append_via(headers, via);
    }
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id);
    }
}

/// Facts about a request that are known before its route.
struct Prepared {
    /// The headers that its head contained.
    seen: Survey,
    /// The client, as far as it can be trusted.
    client: Trusted,
    /// Whether it requests a protocol upgrade, or why that is refused.
    upgrade: Result<bool, Refusal>,
}

/// Checks and sanitizes a request.
fn prepare(connection: &Downstream, exchange: &Exchange, parts: &mut Parts) -> Result<Prepared, Refusal> {
    let seen = Survey::of(&parts.headers);
    exchange.keep_head(parts);
    check(parts, seen, connection)?;
    let upgrade = upgrade::wanted(parts, &connection.http().model.upgrades);
    let client = sanitize(parts, seen, connection, matches!(upgrade, Ok(true)));
    exchange.keep_head(parts);
    exchange.capture_request(&parts.headers, &parts.uri);
    let changes_host = head_changes::changes_host(&connection.http().model.extra);
    exchange.detail(|detail| {
        detail.downstream_remote = Some(client.address);
        if changes_host {
            detail.authority = parts.headers.get(header::HOST).cloned();
        }
    });
    Ok(Prepared { seen, client, upgrade })
}

/// Removes the headers that only clients inside of the mesh may send.
fn remove_internal(table: &RouteTable, parts: &mut Parts, is_internal: bool) {
    for name in table.internal_only.iter().filter(|_| !is_internal) {
        parts.headers.remove(name);
    }
}

async fn stages(
    connection: &Rc<Downstream>,
    exchange: &Rc<Exchange>,
    parts: &mut Parts,
    body: Incoming,
    prepared: Prepared,
) -> Result<Response<ResponseBody>, Refusal> {
    let table = connection.thread.table(&connection.http().routes).ok_or_else(Refusal::no_route)?;
    remove_internal(&table, parts, prepared.client.internal);
    let authority = authority(parts);
    let named = authority.to_str().unwrap_or_default();
    let scheme = scheme(connection, parts, prepared.seen);
    let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let target = target.as_str();
    let method = parts.method.clone();
    let head = Head { method: &method, authority: named, target, scheme, headers: &parts.headers };
    let random = || connection.thread.random();
    let count = |stat: Stat<'_>| connection.count(stat);
    let client = prepared.client.address;
    let view = || RequestView {
        method: &method,
        authority: named,
        target,
        scheme,
        subject: connection.subject(client.ip(), None),
        cluster: "",
        forwarded: false,
        grpc: exchange.grpc,
        ends: false,
        random: &random,
        count: &count,
    };
    // Filters may refuse a request that has no route, so the missing route is reported only after them. For such a
    // request, and where TLS is required first, the listener's own filter settings apply.
    let found = route::find(&table, &head, random()).ok();
    let Some(Routed { host, route }) = found.filter(|f| !f.host.require_tls || scheme == "https") else {
        let missed = unrouted(&table, &head);
        // Boxed, because it is rare.
        return Ok(Box::pin(refused_by_listener(exchange, missed, view, (&mut parts.headers, body))).await);
    };
    let mut filters = RequestFilters::new(route.filters.for_listener(&connection.http().filters));
    exchange.detail(|detail| {
        detail.route = Some(route.name.clone());
        detail.cluster = only_cluster(connection, route);
    });
    let levels = Levels { table: &table, host, route };
    let (kept, empty) = (levels.response_needs_request().then(|| parts.headers.clone()), HeaderMap::new());
    let (seen, headers) = ((&method, named, target), kept.as_ref().unwrap_or(&empty));
    let context = Context {
        route: &route.name,
        remote: Some(client),
        protocol: protocol(parts.version),
        ..context(connection, exchange, seen, headers)
    };
    let instructed = prepared.client.internal && prepared.seen.has(HeadField::Internal);
    let matched = MatchedRoute { levels, context: &context, scheme, instructed };
    let view = || {
        let forwarded = matches!(route.action, Action::Forward(_));
        RequestView { cluster: cluster(route).map_or("", |name| name), forwarded, ..view() }
    };
    let mut response = match act(exchange, parts, body, (&matched, prepared), (&mut filters, view)).await {
        Ok(response) | Err(Ended::Responded(response)) => response,
        Err(Ended::Refused(refusal)) => refused(exchange, refusal, &matched.levels, &context),
    };
    if filters.awaits_response() {
        // Boxed, because it is rare.
        Box::pin(filters.response(exchange, &mut response)).await;
    }
    Ok(response)
}

/// The values for header operators.
fn context<'a>(
    connection: &'a Downstream,
    exchange: &Exchange,
    (method, authority, target): (&'a Method, &'a str, &'a str),
    headers: &'a HeaderMap,
) -> Context<'a> {
    Context {
        method: method.as_str(),
        authority,
        target,
        direct: Some(connection.peer),
        local: Some(connection.local),
        start: Some(connection.thread.wall(exchange.start)),
        server_name: connection.server_name.as_deref().unwrap_or_default(),
        peer: connection.client.as_deref(),
        tls: connection.session,
        direct_local: Some(connection.own),
        connection: connection.number,
        chain: &connection.chain.model.name,
        ..Context::of(headers)
    }
}

/// The response to a request without a route, unless a filter of the listener responds differently.
async fn refused_by_listener<'r>(
    exchange: &Rc<Exchange>,
    missed: Refusal,
    view: impl FnOnce() -> RequestView<'r>,
    (headers, mut body): (&mut HeaderMap, Incoming),
) -> Response<ResponseBody> {
    let mut filters = RequestFilters::new(Cow::Borrowed(exchange.connection.http().filters.effective()));
    let ended = filters.request(exchange, view, (headers, &mut body)).await.err();
    let mut response = match ended.unwrap_or(Ended::Refused(missed)) {
        Ended::Refused(refusal) => reply::refuse(refusal, exchange),
        Ended::Responded(response) => response,
    };
    filters.response(exchange, &mut response).await;
    response
}

/// The response to a request that is refused after its route was found.
fn refused(
    exchange: &Rc<Exchange>,
    refusal: Refusal,
    levels: &Levels<'_>,
    context: &Context<'_>,
) -> Response<ResponseBody> {
    let refused_by_limit = refusal.flags.contains(Flags::UO);
    let mut response = reply::refuse(refusal, exchange);
    if refused_by_limit && levels.host.attempt_count_in_response {
        response.headers_mut().insert(headers::ATTEMPT_COUNT, HeaderValue::from_static("1"));
    }
    let context = Context { flags: exchange.flags(), ..*context };
    levels.apply_to_local_response(None, response.headers_mut(), &context);
    response
}

/// Runs the filters, then the route's action.
async fn act<'r>(
    exchange: &Rc<Exchange>,
    parts: &mut Parts,
    mut body: Incoming,
    (matched, prepared): (&MatchedRoute<'_>, Prepared),
    (filters, view): (&mut RequestFilters<'_>, impl FnOnce() -> RequestView<'r>),
) -> Result<Response<ResponseBody>, Ended> {
    let upgrade = prepared.upgrade?;
    let Levels { route, .. } = matched.levels;
    let context = matched.context;
    let filtered = filters.request(exchange, view, (&mut parts.headers, &mut body)).await;
    let (mut matched, mut seen) = (*matched, prepared.seen);
    if filters.changed_headers() {
        exchange.capture_request(&parts.headers, &parts.uri);
        seen = Survey::of(&parts.headers);
        matched.instructed = seen.has(HeadField::Internal);
    }
    filtered?;
    if !matches!(route.action, Action::Forward(_)) {
        filters.receive(exchange, &mut body);
    }
    let body = filters.body(body);
    match &route.action {
        Action::Direct(status, text) => {
            exchange.detail(|d| d.code_details = Some(Refusal::direct(*status).details));
            let mut response = reply::own(*status, text.clone(), exchange);
            matched.levels.apply_to_local_response(None, response.headers_mut(), context);
            Ok(response)
        }
        Action::Redirect(redirect) => {
            let head = Head {
                method: &parts.method,
                authority: context.authority,
                target: context.target,
                scheme: matched.scheme,
                headers: &parts.headers,
            };
            let location = route::redirect::location(redirect, &head);
            Err(Refusal::redirect(redirect.model.status, location).into())
        }
        Action::Forward(forward) => {
            let outgoing = Outgoing { matched: &matched, forward, seen, upgrade };
            Ok(forward::forward(exchange, outgoing, parts, body).await?)
        }
    }
}

/// The scheme of the request, which a trusted proxy in front may report by header.
fn scheme(connection: &Downstream, parts: &Parts, seen: Survey) -> &'static str {
    let reported =
        seen.has(HeadField::ForwardedProto).then(|| parts.headers.get(headers::FORWARDED_PROTO)).flatten();
    match reported.map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        Some(b"http") => "http",
        _ if connection.tls => "https",
        _ => "http",
    }
}

/// The cluster of a route with a single cluster, if it exists; for logs of requests that never reach it.
fn only_cluster(connection: &Downstream, route: &Route) -> Option<Arc<str>> {
    let name = cluster(route)?;
    connection.thread.upstream(name).map(|_| name.clone())
}

fn cluster(route: &Route) -> Option<&Arc<str>> {
    match &route.action {
        Action::Forward(forward) => match &forward.clusters {
            Clusters::Single(name) => Some(name),
            Clusters::Weighted(..) | Clusters::Header(_) => None,
        },
        Action::Redirect(_) | Action::Direct(..) => None,
    }
}

/// The refusal for a request without a route: a redirect if its virtual host requires TLS, which may leave it without
/// routes in plaintext.
fn unrouted(table: &RouteTable, head: &Head<'_>) -> Refusal {
    if head.scheme != "https" && route::host(table, head.authority).is_some_and(|host| host.require_tls) {
        return Refusal::redirect(301, route::redirect::to_https(head));
    }
    Refusal::no_route()
}

/// The host names in a request's target and `host` header.
fn names(parts: &Parts) -> impl Iterator<Item = &[u8]> {
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    authority.into_iter().chain(parts.headers.get(header::HOST).map(HeaderValue::as_bytes))
}

fn is_ascii(uri: &Uri) -> bool {
    uri.path_and_query().is_none_or(|target| target.as_str().is_ascii())
}

/// Refuses requests that no route may process.
fn check(parts: &mut Parts, seen: Survey, connection: &Downstream) -> Result<(), Refusal> {
    let settings = &connection.http().model;
    if parts.version < Version::HTTP_11 && !settings.accept_http_10 {
        return Err(Refusal::new(426, "Upgrade Required", Flags::DPE, "low_version"));
    }
    let too_many = parts.headers.len() > settings.max_headers_count as usize;
    if too_many {
        return Err(Refusal::new(431, "", Flags::DPE, "too_many_headers"));
    }
    if seen.has_repeated() && parts.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(Refusal::new(400, "", Flags::DPE, "http1.multiple_host_headers"));
    }
    // The HTTP/1 parser has already checked its own.
    if parts.version == Version::HTTP_2 && !names(parts).all(is_host) {
        return Err(Refusal::new(400, "", Flags::DPE, "http.invalid_authority"));
    }
    if parts.version == Version::HTTP_2 && !is_ascii(&parts.uri) {
        return Err(Refusal::new(400, "", Flags::DPE, "http.invalid_path"));
    }
    let extra = &settings.extra;
    if parts.uri.authority().is_none() && !parts.headers.contains_key(header::HOST) {
        let default = HeaderValue::from_str(&extra.default_host).ok();
        let default = default.filter(|host| parts.version < Version::HTTP_11 && !host.is_empty());
        let missing = || Refusal::new(400, "", Flags::NONE, "missing_host_header");
        parts.headers.insert(header::HOST, default.ok_or_else(missing)?);
    }
    if parts.uri.path_and_query().is_some_and(|path| !path.as_str().starts_with('/')) {
        return Err(Refusal::new(404, "", Flags::NONE, "absolute_path_rejected"));
    }
    head_changes::underscores(&mut parts.headers, extra.underscores)?;
    let invalid = || Refusal::new(400, "", Flags::NONE, "path_normalization_failed");
    let target = parts.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    let unescaped = head_changes::slashes(target, extra.escaped_slashes)?;
    if let Some(target) = &unescaped {
        parts.uri = with_target(&parts.uri, target).ok_or_else(invalid)?;
    }
    let normalized =
        normalize::uri(&parts.uri, settings.normalize_path, settings.merge_slashes).map_err(|_| invalid())?;
    if let Some(uri) = normalized {
        parts.uri = uri;
    }
    if unescaped.is_some() && extra.escaped_slashes == EscapedSlashes::Redirect {
        let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let details = Refusal::new(307, "", Flags::NONE, "path_normalization_failed");
        return Err(Refusal { location: Some(target), ..details });
    }
    Ok(())
}

/// The same URI with another path and query.
fn with_target(uri: &Uri, target: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(target.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Sanitizes the headers and returns the client's address.
fn sanitize(parts: &mut Parts, seen: Survey, connection: &Downstream, upgrade: bool) -> Trusted {
    // The host in an absolute target overrides the header (RFC 9112, 3.2.2).
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(header::HOST, host);
    }
    headers::strip_hop_by_hop(&mut parts.headers, seen, upgrade);
    // The proxy itself sends 100-continue, when the body is read.
    if seen.has(HeadField::Expect)
        && parts
            .headers
            .get(header::EXPECT)
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        parts.headers.remove(header::EXPECT);
    }
    if parts.version == Version::HTTP_2 && seen.has_repeated() {
        headers::join_cookies(&mut parts.headers);
    }
    if seen.has(HeadField::Internal) && connection.http().strips_peer_metadata {
        headers::strip_peer_metadata(&mut parts.headers);
    }
    let settings = &connection.http().model;
    head_changes::host(&mut parts.headers, &settings.extra, connection.local.port());
    let client = Client {
        peer: connection.peer,
        own: connection.thread.node.address,
        tls: connection.tls,
        mutual: connection.mutual(),
        certificate: connection.certificate.as_ref(),
    };
    let trusted = headers::forwarded(&mut parts.headers, seen, settings, &client);
    headers::request_id(&mut parts.headers, seen, settings, trusted.internal, || connection.thread.random());
    if let Some(via) = &connection.http().via {
        headers::append_via(&mut parts.headers, via);
    }
    trusted
}

fn authority(parts: &Parts) -> HeaderValue {
    parts.headers.get(header::HOST).cloned().unwrap_or_else(|| HeaderValue::from_static(""))
}
