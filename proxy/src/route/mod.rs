//! Pure. Maps a request's head to its route. The functions that route requests also explain routes, so nothing here
//! knows of connections, and random numbers are arguments.

pub mod normalize;
pub mod redirect;
pub mod rewrite;

use crate::flow::head::Head;
use crate::snapshot::table::{Clusters, PathTest, Route, RouteTable, VirtualHost, Weighted};
use std::borrow::Cow;
use std::sync::Arc;

/// The virtual host and route that a request takes.
#[derive(Debug, Clone, Copy)]
pub struct Routed<'a> {
    /// The virtual host.
    pub host: &'a VirtualHost,
    /// The route.
    pub route: &'a Route,
}

/// Why a request has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No virtual host matches the authority.
    #[error("no virtual host for this authority")]
    Host,
    /// The virtual host has no matching route.
    #[error("no route matches")]
    Route,
}

/// Finds the route of a request.
pub fn find<'a>(table: &'a RouteTable, head: &Head<'_>, random: u32) -> Result<Routed<'a>, NoRoute> {
    let host = host(table, head.authority).ok_or(NoRoute::Host)?;
    let route = host.routes.iter().find(|route| matches(route, head, random)).ok_or(NoRoute::Route)?;
    Ok(Routed { host, route })
}

/// Finds the virtual host for an authority, in order: exact, longest `*suffix`, longest `prefix*`, `*`.
pub fn host<'a>(table: &'a RouteTable, authority: &str) -> Option<&'a VirtualHost> {
    let authority = if table.ignore_port { without_port(authority) } else { authority };
    let authority = if authority.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(authority.to_ascii_lowercase())
    } else {
        Cow::Borrowed(authority)
    };
    let authority = authority.as_ref();
    let longer = |text: &str| authority.len() > text.len();
    let index = table
        .exact
        .get(authority)
        .or_else(|| {
            table.suffixes.iter().find(|(s, _)| longer(s) && authority.ends_with(&**s)).map(|(_, i)| i)
        })
        .or_else(|| {
            table.prefixes.iter().find(|(p, _)| longer(p) && authority.starts_with(&**p)).map(|(_, i)| i)
        })
        .or(table.any.as_ref())?;
    table.hosts.get(*index)
}

/// An authority without its port.
pub fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => {
            if host.contains(':') && !host.ends_with(']') { authority } else { host }
        }
        _ => authority,
    }
}

/// Whether a route matches a request.
pub fn matches(route: &Route, head: &Head<'_>, random: u32) -> bool {
    path(&route.path, head)
        && (!route.grpc || head.is_grpc())
        && route.headers.iter().all(|condition| condition.matches(head))
        && (route.query.is_empty() || route.query.iter().all(|condition| condition.matches(head.query())))
        && route.fraction.is_none_or(|fraction| fraction.selects(random))
}

fn path(test: &PathTest, head: &Head<'_>) -> bool {
    // A CONNECT request has no path, so no path condition matches it.
    if *head.method == http::Method::CONNECT {
        return false;
    }
    match test {
        PathTest::Root => head.target.starts_with('/'),
        PathTest::Text(text) => text.matches(head.path().as_bytes()),
        PathTest::Segments { path, ignore_case } => {
            let asked = head.path();
            let Some((start, rest)) = asked.split_at_checked(path.len()) else { return false };
            let same = if *ignore_case { start.eq_ignore_ascii_case(path) } else { start == &**path };
            same && (rest.is_empty() || rest.starts_with('/'))
        }
    }
}

/// The cluster chosen for a request, with any per-cluster settings.
#[derive(Debug, Clone)]
pub enum Chosen<'a> {
    /// A single cluster.
    Plain(&'a Arc<str>),
    /// One of several weighted clusters, with its own header changes.
    Weighted(&'a Weighted),
    /// Named by a request header.
    Named(Arc<str>),
}

impl Chosen<'_> {
    /// The cluster's name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Plain(name) => name,
            Self::Weighted(weighted) => &weighted.name,
            Self::Named(name) => name,
        }
    }
}

/// Chooses a cluster; `None`: the request lacks the header that names one.
pub fn cluster<'a>(clusters: &'a Clusters, headers: &http::HeaderMap, random: u32) -> Option<Chosen<'a>> {
    match clusters {
        Clusters::Single(name) => Some(Chosen::Plain(name)),
        Clusters::Header(name) => {
            let value = headers.get(name)?.to_str().ok()?;
            Some(Chosen::Named(value.into()))
        }
        Clusters::Weighted(sum, list) => {
            let mut point = random % sum;
            for weighted in list {
                match point.checked_sub(weighted.weight) {
                    Some(rest) => point = rest,
                    None => return Some(Chosen::Weighted(weighted)),
                }
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
