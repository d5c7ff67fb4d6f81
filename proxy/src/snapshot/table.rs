//! Pure. Compiled route tables: hosts in a hash map, parsed names and regular expressions. A request borrows its route
//! and copies nothing.

use crate::filter::merge::{Filters, Overrides, RouteFilters};
use crate::format::mutation::Mutations;
use crate::matcher::InvalidConfig;
use crate::matcher::{HeaderCondition, QueryCondition, Text, anywhere, header_name};
use api::model::filter::FilterOverride;
use api::model::matcher::{Fraction, HeaderMatch};
use api::model::route::{
    self as model, ClusterChoice, HashKey, Mirror, PathMatch, RetryPolicy, RouteConfiguration,
};
use bytes::Bytes;
use foldhash::HashMap;
use http::{HeaderName, HeaderValue};
use regex::bytes::Regex;
use std::sync::Arc;
use std::time::Duration;

/// A compiled route table.
#[derive(Debug)]
pub struct RouteTable {
    /// Virtual hosts in the order of the model.
    pub hosts: Box<[VirtualHost]>,
    /// Whether to compare hosts without their port.
    pub ignore_port: bool,
    /// Changes to all requests.
    pub request_headers: Mutations,
    /// Changes to all responses.
    pub response_headers: Mutations,
    /// Headers to remove from external requests.
    pub internal_only: Box<[HeaderName]>,
    /// Whether the most specific level of header changes is applied last.
    pub most_specific_wins: bool,
    /// Exact host to index of virtual host.
    pub exact: HashMap<Box<str>, usize>,
    /// `*suffix` hosts without the star, longest first.
    pub suffixes: Box<[(Box<str>, usize)]>,
    /// `prefix*` hosts without the star, longest first.
    pub prefixes: Box<[(Box<str>, usize)]>,
    /// The virtual host for `*`.
    pub any: Option<usize>,
    /// The filters of the listeners that use the table, in no order; empty if no route has settings for filters.
    merged: Box<[Arc<Filters>]>,
    /// Whether any route has settings for filters.
    has_settings: bool,
}

/// Routes for a set of hosts.
#[derive(Debug)]
pub struct VirtualHost {
    /// Name in logs.
    pub name: Arc<str>,
    /// Routes; the first match wins.
    pub routes: Box<[Route]>,
    /// Whether to redirect plaintext requests to https.
    pub require_tls: bool,
    /// Whether to add `x-envoy-attempt-count` to requests.
    pub attempt_count: bool,
    /// Whether to add it to responses.
    pub attempt_count_in_response: bool,
    /// Changes to all requests.
    pub request_headers: Mutations,
    /// Changes to all responses.
    pub response_headers: Mutations,
}

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// Name in logs.
    pub name: Arc<str>,
    /// The condition on the path.
    pub path: PathTest,
    /// Conditions on headers.
    pub headers: Box<[HeaderCondition]>,
    /// Conditions on query parameters.
    pub query: Box<[QueryCondition]>,
    /// Whether it matches only gRPC requests.
    pub grpc: bool,
    /// The share of requests that it matches.
    pub fraction: Option<Fraction>,
    /// The action for matching requests.
    pub action: Action,
    /// Changes to the request.
    pub request_headers: Mutations,
    /// Changes to the response.
    pub response_headers: Mutations,
    /// The HTTP filters.
    pub filters: RouteFilters,
}

/// A path condition.
#[derive(Debug)]
pub enum PathTest {
    /// A comparison of the whole path.
    Text(Text),
    /// Any path that starts with a slash.
    Root,
    /// Equals the path, or continues it with a slash.
    Segments {
        /// The path, without a trailing slash.
        path: Box<str>,
        /// Whether to ignore ASCII case.
        ignore_case: bool,
    },
}

/// The action for a request.
#[derive(Debug)]
pub enum Action {
    /// Forward it.
    Forward(Box<Forward>),
    /// Respond with a redirect.
    Redirect(Box<Redirect>),
    /// Respond with this status and body.
    Direct(u16, Bytes),
}

/// A redirect.
#[derive(Debug)]
pub struct Redirect {
    /// The settings of its target.
    pub model: model::Redirect,
    /// The prefix to replace.
    pub prefix: RewritePrefix,
    /// A regular expression to replace, and its substitution.
    pub regex: Option<(Regex, Box<[u8]>)>,
}

/// The prefix (or whole path) that a rewrite replaces.
#[derive(Debug, Clone)]
pub enum RewritePrefix {
    /// A prefix of this many bytes.
    Bytes(usize),
    /// The whole path.
    Whole,
}

/// How a request is forwarded.
#[derive(Debug)]
pub struct Forward {
    /// The target clusters.
    pub clusters: Clusters,
    /// Timeout for the whole response.
    pub timeout: Option<Duration>,
    /// Upper limit of the client's `grpc-timeout`; zero: no limit, `None`: the header is ignored.
    pub max_grpc_timeout: Option<Duration>,
    /// Idle timeout of a stream.
    pub idle_timeout: Option<Duration>,
    /// Retry policy.
    pub retry: Option<Retry>,
    /// A replacement for the matched prefix or path.
    pub prefix_rewrite: Option<(RewritePrefix, Box<str>)>,
    /// A regular expression to replace in the path, and its substitution.
    pub regex_rewrite: Option<(Regex, Box<[u8]>)>,
    /// A replacement for the authority.
    pub host_rewrite: Option<HostRewrite>,
    /// Whether to keep the original authority in `x-forwarded-host`.
    pub append_forwarded_host: bool,
    /// Clusters that receive copies of the request.
    pub mirrors: Box<[Mirror]>,
    /// Sources of the key for consistent-hash balancing.
    pub hash: Box<[HashKey]>,
    /// Status if the cluster does not exist.
    pub cluster_not_found: u16,
}

/// The source of a rewritten authority.
#[derive(Debug)]
pub enum HostRewrite {
    /// A fixed value.
    Literal(HeaderValue),
    /// The endpoint's hostname.
    Endpoint,
    /// A header of the request.
    Header(HeaderName),
    /// Made from the path by a regular expression.
    Path(Regex, Box<[u8]>),
}

/// A retry policy.
#[derive(Debug)]
pub struct Retry {
    /// Settings used as received.
    pub policy: RetryPolicy,
    /// Response headers that cause a retry.
    pub headers: Box<[HeaderCondition]>,
    /// A request must match one of these to be retried; empty: every request qualifies.
    pub request_headers: Box<[HeaderCondition]>,
}

impl Retry {
    fn compile(from: &RetryPolicy) -> Result<Self, InvalidConfig> {
        Ok(Self {
            headers: conditions(&from.headers)?,
            request_headers: conditions(&from.request_headers)?,
            policy: from.clone(),
        })
    }
}

/// A choice of cluster.
#[derive(Debug)]
pub enum Clusters {
    /// A single cluster.
    Single(Arc<str>),
    /// By weight; the first field is the sum of all weights.
    Weighted(u32, Box<[Weighted]>),
    /// Named by a request header.
    Header(HeaderName),
}

/// One of several weighted clusters.
#[derive(Debug)]
pub struct Weighted {
    /// Cluster name.
    pub name: Arc<str>,
    /// Its weight.
    pub weight: u32,
    /// Changes to requests that go there.
    pub request_headers: Mutations,
    /// Changes to its responses.
    pub response_headers: Mutations,
    /// A replacement for the authority.
    pub host_rewrite: Option<HeaderValue>,
}

impl RouteTable {
    /// Compiles a route table.
    pub fn compile(model: &RouteConfiguration) -> Result<Self, InvalidConfig> {
        let mut table = Self {
            hosts: Box::default(),
            ignore_port: model.ignore_port_in_host,
            request_headers: Mutations::compile(&model.request_headers)?,
            response_headers: Mutations::compile(&model.response_headers)?,
            internal_only: model
                .internal_only_headers
                .iter()
                .map(|name| header_name(name))
                .collect::<Result<_, _>>()?,
            most_specific_wins: model.most_specific_wins,
            exact: HashMap::default(),
            suffixes: Box::default(),
            prefixes: Box::default(),
            any: None,
            merged: Box::default(),
            has_settings: false,
        };
        let settings = Arc::new(Overrides::compile(&[&model.filters])?);
        let (mut suffixes, mut prefixes, mut hosts) = (vec![], vec![], vec![]);
        for (index, host) in model.virtual_hosts.iter().enumerate() {
            for domain in &host.domains {
                table.index_domain(domain, index, &mut suffixes, &mut prefixes)?;
            }
            let compiled = virtual_host(host, (&model.filters, &settings))
                .map_err(|e| InvalidConfig(format!("virtual_hosts[{index}] ({}): {e}", host.name)))?;
            hosts.push(compiled);
        }
        let longest_first =
            |list: &mut Vec<(Box<str>, usize)>| list.sort_by_key(|(text, _)| usize::MAX - text.len());
        longest_first(&mut suffixes);
        longest_first(&mut prefixes);
        (table.hosts, table.suffixes, table.prefixes) = (hosts.into(), suffixes.into(), prefixes.into());
        table.has_settings =
            table.hosts.iter().flat_map(|host| &host.routes).any(|route| !route.filters.is_plain());
        Ok(table)
    }

    /// Merges the routes' filter settings with the filters of the listeners that use the table.
    pub fn merge(&mut self, listeners: &[Arc<Filters>]) {
        if self.has_settings {
            let routes = self.hosts.iter_mut().flat_map(|host| &mut host.routes);
            routes.for_each(|route| route.filters.merge(listeners));
            self.merged = listeners.into();
        }
    }

    /// Whether any route has settings for filters.
    pub fn has_settings(&self) -> bool {
        self.has_settings
    }

    /// Whether the table is already merged with the filters of these listeners, or has nothing to merge.
    pub fn is_merged_with(&self, listeners: &[Arc<Filters>]) -> bool {
        let known = |of: &Arc<Filters>| self.merged.iter().any(|merged| Arc::ptr_eq(merged, of));
        !self.has_settings || (self.merged.len() == listeners.len() && listeners.iter().all(known))
    }

    fn index_domain(
        &mut self,
        domain: &str,
        index: usize,
        suffixes: &mut Vec<(Box<str>, usize)>,
        prefixes: &mut Vec<(Box<str>, usize)>,
    ) -> Result<(), InvalidConfig> {
        let lower = domain.to_ascii_lowercase();
        let twice = || Err(InvalidConfig(format!("domain `{domain}` belongs to more than one virtual host")));
        if lower == "*" {
            return if self.any.replace(index).is_some() { twice() } else { Ok(()) };
        }
        let list = match (lower.strip_prefix('*'), lower.strip_suffix('*')) {
            (Some(suffix), _) => Some((suffix, &mut *suffixes)),
            (None, Some(prefix)) => Some((prefix, prefixes)),
            (None, None) => None,
        };
        match list {
            Some((text, list)) if list.iter().any(|(known, _)| **known == *text) => twice(),
            Some((text, list)) => {
                list.push((text.into(), index));
                Ok(())
            }
            None if self.exact.insert(lower.as_str().into(), index).is_some() => twice(),
            None => Ok(()),
        }
    }
}

/// Filter settings, as received and compiled.
type Settings<'a> = (&'a [FilterOverride], &'a Arc<Overrides>);

fn virtual_host(
    from: &model::VirtualHost,
    (of_table, ready): Settings<'_>,
) -> Result<VirtualHost, InvalidConfig> {
    let own = match &from.filters[..] {
        [] => ready.clone(),
        given => Arc::new(Overrides::compile(&[given, of_table])?),
    };
    let settings = |route: &model::Route| match &route.filters[..] {
        [] => Ok(own.clone()),
        given => Overrides::compile(&[given, &from.filters, of_table]).map(Arc::new),
    };
    let routes = from
        .routes
        .iter()
        .enumerate()
        .map(|(i, r)| {
            settings(r)
                .and_then(|s| route(r, from.retry.as_ref(), s))
                .map_err(|e| InvalidConfig(format!("routes[{i}] ({}): {e}", r.name)))
        })
        .collect::<Result<_, _>>()?;
    Ok(VirtualHost {
        name: from.name.as_str().into(),
        routes,
        require_tls: from.require_tls,
        attempt_count: from.attempt_count,
        attempt_count_in_response: from.attempt_count_in_response,
        request_headers: Mutations::compile(&from.request_headers)?,
        response_headers: Mutations::compile(&from.response_headers)?,
    })
}

fn route(
    from: &model::Route,
    fallback: Option<&RetryPolicy>,
    settings: Arc<Overrides>,
) -> Result<Route, InvalidConfig> {
    let criteria = &from.criteria;
    let action = match &from.action {
        model::RouteAction::Forward(f) => Action::Forward(Box::new(forward(f, &criteria.path, fallback)?)),
        model::RouteAction::Redirect(redirect) => {
            let regex = redirect.regex.as_ref().map(rewrite).transpose()?;
            let prefix = replaced(&criteria.path);
            Action::Redirect(Box::new(Redirect { model: redirect.clone(), prefix, regex }))
        }
        model::RouteAction::Direct { status, body } => {
            http::StatusCode::from_u16(*status).map_err(|_| {
                InvalidConfig(format!("direct_response.status: {status} is not a status code"))
            })?;
            Action::Direct(*status, Bytes::from(body.clone()))
        }
    };
    Ok(Route {
        name: from.name.as_str().into(),
        path: path_test(&criteria.path, criteria.ignore_case)?,
        headers: conditions(&criteria.headers)?,
        query: criteria.query.iter().map(QueryCondition::compile).collect::<Result<_, _>>()?,
        grpc: criteria.grpc,
        fraction: criteria.fraction,
        action,
        request_headers: Mutations::compile(&from.request_headers)?,
        response_headers: Mutations::compile(&from.response_headers)?,
        filters: RouteFilters::new(settings),
    })
}

fn path_test(path: &PathMatch, ignore_case: bool) -> Result<PathTest, InvalidConfig> {
    Ok(match path {
        PathMatch::Prefix(prefix) if prefix == "/" => PathTest::Root,
        PathMatch::Segments(path) if path == "/" => PathTest::Root,
        PathMatch::Segments(path) => {
            PathTest::Segments { path: path.trim_end_matches('/').into(), ignore_case }
        }
        other => PathTest::Text(Text::compile(&api::model::matcher::StringMatch {
            pattern: other.into(),
            ignore_case: ignore_case && !matches!(other, PathMatch::Regex(_)),
        })?),
    })
}

fn replaced(path: &PathMatch) -> RewritePrefix {
    match path {
        PathMatch::Prefix(prefix) => RewritePrefix::Bytes(prefix.len()),
        PathMatch::Segments(path) => RewritePrefix::Bytes(path.trim_end_matches('/').len()),
        PathMatch::Exact(_) | PathMatch::Regex(_) => RewritePrefix::Whole,
    }
}

fn forward(
    from: &model::Forward,
    path: &PathMatch,
    fallback: Option<&RetryPolicy>,
) -> Result<Forward, InvalidConfig> {
    let regex_rewrite = from.regex_rewrite.as_ref().map(rewrite).transpose()?;
    let retry = from.retry.as_ref().or(fallback).map(Retry::compile).transpose()?;
    Ok(Forward {
        clusters: clusters(&from.clusters)?,
        timeout: from.timeout,
        max_grpc_timeout: from.max_grpc_timeout,
        idle_timeout: from.idle_timeout,
        retry,
        prefix_rewrite: from.prefix_rewrite.as_ref().map(|to| (replaced(path), to.as_str().into())),
        regex_rewrite,
        host_rewrite: from.host_rewrite.as_ref().map(host_rewrite).transpose()?,
        append_forwarded_host: from.append_forwarded_host,
        mirrors: from.mirrors.clone().into(),
        hash: from.hash.clone().into(),
        cluster_not_found: from.cluster_not_found,
    })
}

/// Compiles a choice of clusters.
pub fn clusters(from: &ClusterChoice) -> Result<Clusters, InvalidConfig> {
    Ok(match from {
        ClusterChoice::Single(name) => Clusters::Single(name.as_str().into()),
        ClusterChoice::Header(name) => Clusters::Header(header_name(name)?),
        ClusterChoice::Weighted(list) => {
            let sum = list.iter().try_fold(0u32, |sum, c| sum.checked_add(c.weight)).filter(|sum| *sum > 0);
            let sum =
                sum.ok_or_else(|| InvalidConfig("weighted_clusters: weights must sum to 1 or more".into()))?;
            let list = list.iter().map(weighted).collect::<Result<_, _>>()?;
            Clusters::Weighted(sum, list)
        }
    })
}

fn weighted(from: &model::WeightedCluster) -> Result<Weighted, InvalidConfig> {
    Ok(Weighted {
        name: from.name.as_str().into(),
        weight: from.weight,
        request_headers: Mutations::compile(&from.request_headers)?,
        response_headers: Mutations::compile(&from.response_headers)?,
        host_rewrite: from.host_rewrite.as_deref().map(header_value).transpose()?,
    })
}

fn host_rewrite(from: &model::HostRewrite) -> Result<HostRewrite, InvalidConfig> {
    Ok(match from {
        model::HostRewrite::Literal(host) => HostRewrite::Literal(header_value(host)?),
        model::HostRewrite::Endpoint => HostRewrite::Endpoint,
        model::HostRewrite::Header(name) => HostRewrite::Header(header_name(name)?),
        model::HostRewrite::Path(pattern, with) => HostRewrite::Path(anywhere(pattern)?, substitution(with)),
    })
}

fn rewrite((pattern, with): &(String, String)) -> Result<(Regex, Box<[u8]>), InvalidConfig> {
    Ok((anywhere(pattern)?, substitution(with)))
}

fn conditions(from: &[HeaderMatch]) -> Result<Box<[HeaderCondition]>, InvalidConfig> {
    from.iter().map(HeaderCondition::compile).collect()
}

fn header_value(text: &str) -> Result<HeaderValue, InvalidConfig> {
    HeaderValue::from_str(text).map_err(|_| InvalidConfig(format!("`{text}` is not a header value")))
}

/// Converts a substitution: RE2 writes groups as `\1`, the regex crate as `${1}`.
fn substitution(text: &str) -> Box<[u8]> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '$' => out.push_str("$$"),
            '\\' => match chars.next() {
                Some(digit) if digit.is_ascii_digit() => {
                    out.push_str("${");
                    out.push(digit);
                    out.push('}');
                }
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out.into_bytes().into()
}
