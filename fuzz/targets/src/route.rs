//! Requests and route tables made of few letters, so that matches are likely. The selected host is the most specific
//! one, the route is the first match, and normalizing a path twice changes nothing. The expected results are computed
//! in a simple, slow way.

use crate::exercise;
use crate::words::Choices;
use api::model::matcher::{Fraction, HeaderMatch};
use api::model::matcher::{HeaderMutations, HeaderTest, Pattern, QueryMatch, StringMatch};
use api::model::route as model;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use proxy::flow::head::Head;
use proxy::policy::{deadline, retry};
use proxy::route::{self, normalize};
use proxy::snapshot::table::RouteTable;
use std::sync::Arc;

/// See the module.
pub fn run(data: &[u8]) {
    let case = Case::read(&mut Choices::new(data));
    spelled(&case.path);
    let table = Arc::new(model::RouteConfiguration {
        name: "table".into(),
        virtual_hosts: case.hosts.iter().enumerate().map(|(i, host)| host.model(i)).collect(),
        ignore_port_in_host: case.ignore_port,
        ..model::RouteConfiguration::default()
    });
    let headers = case.headers();
    drop(retry::from_headers(&headers, None));
    if let Some(value) = headers.get("grpc-timeout") {
        let _ = deadline::grpc_timeout(value.as_bytes());
    }
    let Ok(compiled) = RouteTable::compile(&table) else { return };
    exercise::request(&compiled);
    found(&compiled, &table, &case, &headers);
}

fn found(table: &RouteTable, hosts: &model::RouteConfiguration, case: &Case, headers: &HeaderMap) {
    let (authority, target) = (case.authority(), format!("/{}", case.path));
    let head = Head { method: &Method::GET, authority: &authority, target: &target, scheme: "http", headers };
    let expected = case.expected_host(&authority);
    let host = route::host(table, &authority);
    assert_eq!(host.map(|host| host.name.to_string()), expected, "{authority} in {:?}", case.hosts);
    let routed = route::find(table, &head, 0).ok();
    let expected = host.and_then(|host| {
        let model = hosts.virtual_hosts.iter().find(|model| *model.name == *host.name)?;
        model.routes.iter().find(|route| takes(&route.criteria, &head))
    });
    assert_eq!(routed.map(|r| r.route.name.to_string()), expected.map(|r| r.name.clone()), "{target}");
}

/// Whether a path and headers match criteria, straight from the definition.
fn takes(criteria: &model::RouteMatch, head: &Head<'_>) -> bool {
    let fold = |text: &str| if criteria.ignore_case { text.to_ascii_lowercase() } else { text.to_owned() };
    let path = fold(head.path());
    let fits = match &criteria.path {
        model::PathMatch::Prefix(prefix) => path.starts_with(&fold(prefix)),
        model::PathMatch::Exact(exact) => path == fold(exact),
        model::PathMatch::Segments(prefix) => {
            let prefix = fold(prefix.trim_end_matches('/'));
            path == prefix || path.starts_with(&format!("{prefix}/"))
        }
        model::PathMatch::Regex(_) => unreachable!("no case has an expression"),
    };
    let header = |condition: &HeaderMatch| {
        let value = head.headers.get(&condition.name);
        let HeaderTest::Text(StringMatch { pattern: Pattern::Exact(wanted), .. }) = &condition.test else {
            return true;
        };
        value.is_some_and(|value| (value.as_bytes() == wanted.as_bytes()) != condition.invert)
    };
    let query = |condition: &QueryMatch| {
        let name = |pair: &&str| pair.split('=').next() == Some(condition.name.as_str());
        head.query().split('&').any(|pair| name(&pair))
    };
    fits && criteria.headers.iter().all(header) && criteria.query.iter().all(query)
}

/// Normalization is idempotent, and leaves no dot segments, double slashes or backslashes.
fn spelled(text: &str) {
    let path = format!("/{text}");
    for (dots, slashes) in [(true, true), (true, false), (false, true)] {
        let Ok(Some(once)) = normalize::normalized(&path, dots, slashes) else { continue };
        assert!(once.starts_with('/'), "{path:?} became {once:?}");
        assert_eq!(normalize::normalized(&once, dots, slashes), Ok(None), "{path:?} became {once:?}");
        let end = once.find(['?', '#']).unwrap_or(once.len());
        let (path, query) = once.split_at(end);
        assert!(text.ends_with(query), "a query stays as it is");
        assert!(!slashes || !path.contains("//"), "{once:?}");
        assert!(!dots || !path.split('/').any(|s| matches!(s, "." | "..")), "{once:?}");
        assert!(!dots || !path.contains('\\'), "{once:?}");
    }
    let absolute = format!("http://a.example:8080{path}");
    let Ok(uri) = absolute.parse::<Uri>() else { return };
    if let Ok(Some(respelled)) = normalize::uri(&uri, true, true) {
        assert_eq!(respelled.authority(), uri.authority(), "another spelling is no other host");
        assert_eq!(respelled.query(), uri.query());
    }
}

/// A table and a request.
#[derive(Debug)]
struct Case {
    path: String,
    hosts: Vec<Host>,
    asked: String,
    port: bool,
    ignore_port: bool,
    headers: Vec<(Field, String)>,
}

#[derive(Debug)]
struct Host {
    domain: Domain,
    routes: Vec<Route>,
}

#[derive(Debug)]
enum Domain {
    Exact(String),
    Suffix(String),
    Prefix(String),
    Any,
}

#[derive(Debug)]
struct Route {
    path: String,
    kind: u8,
    ignore_case: bool,
    header: Option<(Field, String, bool)>,
    query: Option<String>,
    rewrite: Option<String>,
    redirect: bool,
}

/// A text of the characters that matter in paths.
fn path(choices: &mut Choices<'_>) -> String {
    choices.letters(12, "ab/.%2eEfF5cC\\?#=&A16+ü")
}

/// A text of the characters that matter in hosts.
fn label(choices: &mut Choices<'_>) -> String {
    choices.letters(6, "abA.-")
}

#[derive(Debug, Clone, Copy)]
enum Field {
    User,
    Version,
    GrpcTimeout,
    RetryOn,
    Retries,
}

impl Field {
    fn read(choices: &mut Choices<'_>) -> Self {
        match choices.byte() % 5 {
            0 => Self::User,
            1 => Self::Version,
            2 => Self::GrpcTimeout,
            3 => Self::RetryOn,
            _ => Self::Retries,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::User => "end-user",
            Self::Version => "x-version",
            Self::GrpcTimeout => "grpc-timeout",
            Self::RetryOn => "x-envoy-retry-on",
            Self::Retries => "x-envoy-max-retries",
        }
    }
}

impl Case {
    fn read(choices: &mut Choices<'_>) -> Self {
        Self {
            path: path(choices),
            hosts: choices.some(4, Host::read),
            asked: label(choices),
            port: choices.yes(),
            ignore_port: choices.yes(),
            headers: choices.some(3, |choices| (Field::read(choices), path(choices))),
        }
    }

    fn authority(&self) -> String {
        let port = if self.port { ":80" } else { "" };
        format!("{}{port}", self.asked)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (field, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(field.name()), value);
            }
        }
        headers
    }

    /// Precedence: exact, then the longest suffix, then the longest prefix, then any.
    fn expected_host(&self, authority: &str) -> Option<String> {
        let asked = if self.ignore_port { &self.asked } else { authority };
        let asked = asked.to_ascii_lowercase();
        let rank = |domain: &Domain| match domain {
            Domain::Exact(name) => (name.to_ascii_lowercase() == asked).then_some((3, 0)),
            Domain::Suffix(text) | Domain::Prefix(text) if text.is_empty() => Some((0, 0)),
            Domain::Suffix(end) => {
                let end = end.to_ascii_lowercase();
                (asked.len() > end.len() && asked.ends_with(&end)).then_some((2, end.len()))
            }
            Domain::Prefix(start) => {
                let start = start.to_ascii_lowercase();
                (asked.len() > start.len() && asked.starts_with(&start)).then_some((1, start.len()))
            }
            Domain::Any => Some((0, 0)),
        };
        let ranked = self.hosts.iter().enumerate().filter_map(|(i, host)| Some((rank(&host.domain)?, i)));
        ranked.max().map(|(_, i)| format!("host-{i}"))
    }
}

impl Host {
    fn read(choices: &mut Choices<'_>) -> Self {
        let domain = match choices.byte() % 4 {
            0 => Domain::Any,
            1 => Domain::Exact(label(choices)),
            2 => Domain::Suffix(label(choices)),
            _ => Domain::Prefix(label(choices)),
        };
        Self { domain, routes: choices.some(4, Route::read) }
    }

    fn model(&self, index: usize) -> model::VirtualHost {
        let domain = match &self.domain {
            Domain::Exact(name) => name.clone(),
            Domain::Suffix(end) => format!("*{end}"),
            Domain::Prefix(start) => format!("{start}*"),
            Domain::Any => "*".to_owned(),
        };
        model::VirtualHost {
            name: format!("host-{index}"),
            domains: vec![domain],
            routes: self.routes.iter().enumerate().map(|(i, route)| route.model(i)).collect(),
            ..model::VirtualHost::default()
        }
    }
}

impl Route {
    fn read(choices: &mut Choices<'_>) -> Self {
        Self {
            path: path(choices),
            kind: choices.byte(),
            ignore_case: choices.yes(),
            header: choices.maybe(|choices| (Field::read(choices), path(choices), choices.yes())),
            query: choices.maybe(path),
            rewrite: choices.maybe(path),
            redirect: choices.yes(),
        }
    }

    fn model(&self, index: usize) -> model::Route {
        let path = format!("/{}", self.path);
        let path = match self.kind % 3 {
            0 => model::PathMatch::Prefix(path),
            1 => model::PathMatch::Exact(path),
            _ => model::PathMatch::Segments(path),
        };
        let header = self.header.iter().map(|(field, value, invert)| HeaderMatch {
            name: field.name().to_owned(),
            test: HeaderTest::Text(StringMatch::exact(value.as_str())),
            invert: *invert,
            missing_as_empty: false,
        });
        let query =
            self.query.iter().map(|name| QueryMatch { name: name.clone(), value: None, absent: false });
        let criteria = model::RouteMatch {
            ignore_case: self.ignore_case,
            headers: header.collect(),
            query: query.collect(),
            fraction: Some(Fraction { numerator: 100, denominator: 100 }),
            ..model::RouteMatch::path(path)
        };
        model::Route {
            name: format!("route-{index}"),
            criteria,
            action: self.action(),
            request_headers: HeaderMutations::default(),
            response_headers: HeaderMutations::default(),
            filters: vec![],
            origin: None,
        }
    }

    fn action(&self) -> model::RouteAction {
        let to = self.rewrite.clone();
        if self.redirect {
            let redirect = model::Redirect { status: 301, prefix: to, ..model::Redirect::default() };
            return model::RouteAction::Redirect(redirect);
        }
        model::RouteAction::Forward(Box::new(model::Forward {
            prefix_rewrite: to,
            ..model::Forward::to("c")
        }))
    }
}
