//! Pure. HTTP routes at gateways that no request reaches: VirtualServices of one host are joined there, and of two routes
//! with the same conditions the first takes every request. Who has the other one is told.

use super::Catalog;
use super::gateway::{ServerProtocol, ServerTls};
use super::gateway_port::{GatewayPorts, Lost, PortServer};
use super::route::{HttpMatch, HttpRoute, RouteSet, SourceMatch};
use api::model::route::PathMatch;
use std::collections::HashMap;

impl GatewayPorts {
    /// What VirtualServices lose to others of the same host.
    pub(super) fn hidden_routes(&self, catalog: &Catalog, namespace: &str) -> Vec<Lost> {
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

fn hidden(server: &PortServer, catalog: &Catalog, namespace: &str) -> Vec<Lost> {
    let sets = catalog.route_sets(namespace, &server.reference());
    let mut taken: HashMap<(String, String), &RouteSet> = HashMap::new();
    let mut lost = vec![];
    for set in &sets {
        for host in server.common_hosts(set) {
            for (i, route) in set.http.iter().enumerate() {
                let wanted = conditions(server, route);
                let first = |condition: &String| {
                    let first = taken.get(&(host.clone(), condition.clone())).copied()?;
                    (first.origin != set.origin).then_some(first)
                };
                let firsts: Option<Vec<&RouteSet>> = wanted.iter().map(first).collect();
                if let Some(first) = firsts.iter().flatten().next() {
                    lost.push(Lost {
                        loser: set.origin.clone(),
                        path: format!("spec.http[{i}]"),
                        winner: first.origin.clone(),
                        closer: false,
                        effect: format!(
                            "routes the same requests to `{host}`; this route has no effect there"
                        ),
                    });
                }
                for condition in wanted {
                    taken.entry((host.clone(), condition)).or_insert(set);
                }
            }
        }
    }
    lost
}

/// The conditions of a route at a server, each so that equal ones are equal texts; what decides where the route is, and
/// not which requests it takes, is no part of them.
fn conditions(server: &PortServer, route: &HttpRoute) -> Vec<String> {
    let every = PathMatch::Prefix("/".to_owned());
    let text = |of: &HttpMatch| {
        let path = of.path.clone().filter(|path| *path != every);
        let name = String::new();
        format!("{:?}", HttpMatch { name, path, source: SourceMatch::default(), ..of.clone() })
    };
    if route.matches.is_empty() {
        return vec![text(&HttpMatch::default())];
    }
    route.matches.iter().filter(|m| server.applies(&m.source)).map(text).collect()
}
