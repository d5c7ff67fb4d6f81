//! Pure. Finds HTTP routes that no request reaches at gateways. VirtualServices with the same host are joined there; an
//! earlier route takes every request of a later one if it has the same conditions, or only a path prefix that covers
//! them. The author of the later route gets a warning.

use super::Catalog;
use super::gateway::{ServerProtocol, ServerTls};
use super::gateway_port::{GatewayPorts, Overridden, PortServer};
use super::route::{HttpMatch, HttpRoute, Part, SourceMatch};
use super::visibility::Origin;
use api::model::route::PathMatch;
use std::collections::HashMap;

impl GatewayPorts {
    /// The routes of VirtualServices that have no effect because of another VirtualService for the same host.
    pub(super) fn hidden_routes(&self, catalog: &Catalog, namespace: &str) -> Vec<Overridden> {
        let ends_http = |server: &&PortServer| {
            let ended = matches!(server.server().tls, Some(ServerTls::Terminate { .. }));
            match server.server().protocol {
                ServerProtocol::Http => true,
                ServerProtocol::Https => ended,
                ServerProtocol::Tls | ServerProtocol::Tcp => false,
            }
        };
        let servers = self.ports.values().flat_map(|port| port.servers.iter().filter(ends_http));
        servers.flat_map(|server| hidden(server, catalog, namespace)).collect()
    }
}

fn hidden(server: &PortServer, catalog: &Catalog, namespace: &str) -> Vec<Overridden> {
    let sets = catalog.route_sets(namespace, &server.reference());
    let mut taken: HashMap<(String, String), Origin> = HashMap::new();
    // By path prefixes of routes without other conditions.
    let mut prefixes: HashMap<(String, String), Origin> = HashMap::new();
    let mut overridden = vec![];
    for set in &sets {
        for host in server.common_hosts(set) {
            for (i, route) in set.http.iter().enumerate() {
                let wanted = conditions(server, route);
                let Part { origin, field } = set.part(i);
                let first = |condition: &Condition| {
                    let same = || taken.get(&(host.clone(), condition.text.clone()));
                    let wider =
                        || condition.wider().find_map(|p| prefixes.get(&(host.clone(), p.to_owned())));
                    let first = same().or_else(wider)?;
                    (*first != origin).then_some(first)
                };
                let firsts: Option<Vec<&Origin>> = wanted.iter().map(first).collect();
                if let Some(first) = firsts.iter().flatten().next() {
                    overridden.push(Overridden {
                        loser: origin.clone(),
                        path: field,
                        winner: Origin::clone(first),
                        closer: false,
                        effect: format!(
                            "routes the same requests to `{host}`; this route has no effect there"
                        ),
                    });
                }
                for condition in wanted {
                    if let Some(prefix) = condition.prefix {
                        prefixes.entry((host.clone(), prefix)).or_insert_with(|| origin.clone());
                    }
                    taken.entry((host.clone(), condition.text)).or_insert_with(|| origin.clone());
                }
            }
        }
    }
    overridden
}

/// The requests that a route takes.
struct Condition {
    /// Equal for equal conditions. Excludes conditions that decide where the route applies rather than which requests
    /// it takes.
    text: String,
    /// The path prefix, if it is the only condition.
    prefix: Option<String>,
    /// The exact path or path prefix, which a wider prefix may cover.
    path: Option<String>,
}

impl Condition {
    fn of(of: &HttpMatch) -> Self {
        let every = PathMatch::Prefix("/".to_owned());
        let path = of.path.clone().filter(|path| *path != every);
        let stripped = HttpMatch { name: String::new(), path, source: SourceMatch::default(), ..of.clone() };
        let alone = HttpMatch { path: stripped.path.clone(), ..HttpMatch::default() } == stripped;
        let prefix = match &stripped.path {
            Some(PathMatch::Prefix(prefix)) if alone => Some(prefix.clone()),
            _ => None,
        };
        let path = match &stripped.path {
            Some(PathMatch::Prefix(path) | PathMatch::Exact(path)) if !of.ignore_case => Some(path.clone()),
            _ => None,
        };
        Self { text: format!("{stripped:?}"), prefix, path }
    }

    /// Path prefixes that cover everything this condition matches.
    fn wider(&self) -> impl Iterator<Item = &str> {
        let path = self.path.as_deref().unwrap_or_default();
        path.char_indices().map(|(at, c)| &path[..at + c.len_utf8()])
    }
}

/// The conditions of a route that apply at a server.
fn conditions(server: &PortServer, route: &HttpRoute) -> Vec<Condition> {
    if route.matches.is_empty() {
        return vec![Condition::of(&HttpMatch::default())];
    }
    route.matches.iter().filter(|m| server.applies(&m.source)).map(Condition::of).collect()
}
