//! Pure. Compiles listeners. Filter chains that did not change keep their `Arc`, so that the pipeline can tell which
//! connections to drain.

use super::reply::Reply;
use super::table::{Clusters, RouteTable, clusters};
use crate::credentials::{Own, Server, Store, server_config};
use crate::filter::merge::Filters;
use crate::filter::rbac::condition::Authorization;
use crate::matcher::InvalidConfig;
use crate::telemetry::access_log::Log;
use api::model::filter::{Filter, HttpFilter};
use api::model::listener as model;
use http::HeaderValue;
use rustls::ServerConfig;
use std::sync::{Arc, Weak};

/// A compiled listener.
#[derive(Debug)]
pub struct Listener {
    /// The resource that it was compiled from.
    pub model: Arc<model::Listener>,
    /// Its name.
    pub name: Arc<str>,
    /// Chains in the order of the model.
    pub chains: Box<[Arc<Chain>]>,
    /// The chain for connections that no other chain matches.
    pub default_chain: Option<Arc<Chain>>,
}

/// A compiled filter chain.
#[derive(Debug)]
pub struct Chain {
    /// The resource that it was compiled from.
    pub model: Arc<model::FilterChain>,
    /// Settings for terminating TLS; `None`: plaintext.
    pub tls: Option<ServerTls>,
    /// Rules that are checked when a connection is accepted.
    pub authorization: Box<[Authorization]>,
    /// The protocol of its connections.
    pub protocol: Protocol,
}

impl Chain {
    /// The access logs of its connections.
    pub fn logs(&self) -> &[Log] {
        match &self.protocol {
            Protocol::Http(http) => &http.logs,
            Protocol::Tcp(tcp) => &tcp.logs,
        }
    }
}

/// TLS settings of a server.
#[derive(Debug)]
pub struct ServerTls {
    /// The configured settings.
    pub config: Arc<ServerConfig>,
    /// The same without ALPN, for clients that offer only protocols that the server does not support. The TLS library
    /// would refuse these clients; Envoy serves them.
    pub without_alpn: Arc<ServerConfig>,
    /// The server's certificates.
    pub own: Arc<Own>,
}

impl ServerTls {
    fn new(Server { config, own }: Server) -> Self {
        let mut without_alpn = ServerConfig::clone(&config);
        without_alpn.alpn_protocols.clear();
        Self { config, without_alpn: Arc::new(without_alpn), own }
    }

    /// The settings for a client that offers these ALPN protocols.
    pub fn for_client<'a>(&self, offered: Option<impl Iterator<Item = &'a [u8]>>) -> Arc<ServerConfig> {
        let known = |protocol: &[u8]| self.config.alpn_protocols.iter().any(|ours| ours == protocol);
        let overlap = offered.is_none_or(|mut offered| offered.any(known));
        if overlap { self.config.clone() } else { self.without_alpn.clone() }
    }
}

/// The protocol of a connection.
#[derive(Debug)]
pub enum Protocol {
    /// HTTP.
    Http(Http),
    /// Opaque bytes.
    Tcp(Tcp),
}

/// Settings of HTTP connections.
#[derive(Debug)]
pub struct Http {
    /// Settings used as received.
    pub model: Box<model::HttpConnection>,
    /// The routes of its requests.
    pub routes: Routes,
    /// The HTTP filters.
    pub filters: Arc<Filters>,
    /// Whether to choose the upstream's ALPN by the request's protocol.
    pub alpn: bool,
    /// Whether to count gRPC messages.
    pub count_messages: bool,
    /// Whether to remove Istio's headers of peer metadata.
    pub strips_peer_metadata: bool,
    /// The `server` response header.
    pub server: Option<HeaderValue>,
    /// The proxy's element of `via`.
    pub via: Option<HeaderValue>,
    /// Changes to the proxy's own responses.
    pub reply: Option<Reply>,
    /// Access logs.
    pub logs: Box<[Log]>,
}

/// The source of a connection's routes.
#[derive(Debug)]
pub enum Routes {
    /// Part of the listener.
    Inline(Arc<RouteTable>),
    /// By name (RDS), from the snapshot.
    Named(Box<str>),
}

/// Settings of opaque connections.
#[derive(Debug)]
pub struct Tcp {
    /// Settings used as received.
    pub model: model::TcpProxy,
    /// The target clusters.
    pub clusters: Clusters,
    /// Access logs.
    pub logs: Box<[Log]>,
}

impl Listener {
    /// Compiles a listener. Reuses the unchanged chains of its last version.
    pub fn compile(
        model: Arc<model::Listener>,
        last: Option<&Self>,
        store: &Arc<Store>,
        shared: &mut SharedFilters,
    ) -> Result<Self, InvalidConfig> {
        let last: Vec<&Arc<Chain>> = last.map_or(vec![], |l| l.chains().collect());
        let mut chain =
            |from: &model::FilterChain, path: String| match last.iter().find(|c| *c.model == *from) {
                Some(same) => Ok((*same).clone()),
                None => Chain::compile(from, store, shared)
                    .map(Arc::new)
                    .map_err(|e| InvalidConfig(format!("{path} ({}): {e}", from.name))),
            };
        let chains = model
            .chains
            .iter()
            .enumerate()
            .map(|(i, c)| chain(c, format!("filter_chains[{i}]")))
            .collect::<Result<_, _>>()?;
        let default_chain =
            model.default_chain.as_ref().map(|c| chain(c, "default_filter_chain".into())).transpose()?;
        Ok(Self { name: model.name.as_str().into(), chains, default_chain, model })
    }

    /// All chains, with the default chain last.
    pub fn chains(&self) -> impl Iterator<Item = &Arc<Chain>> {
        self.chains.iter().chain(&self.default_chain)
    }
}

impl Chain {
    fn compile(
        from: &model::FilterChain,
        store: &Arc<Store>,
        shared: &mut SharedFilters,
    ) -> Result<Self, InvalidConfig> {
        let tls = from
            .tls
            .as_ref()
            .map(|tls| server_config(tls, store))
            .transpose()
            .map_err(InvalidConfig::chain)?;
        Ok(Self {
            tls: tls.map(ServerTls::new),
            authorization: from.authorization.iter().map(Authorization::compile).collect::<Result<_, _>>()?,
            protocol: match &from.protocol {
                model::Protocol::Http(http) => Protocol::Http(Http::compile(http, shared)?),
                model::Protocol::Tcp(tcp) => Protocol::Tcp(Tcp {
                    clusters: clusters(&tcp.clusters)?,
                    logs: logs(&tcp.access_log)?,
                    model: tcp.clone(),
                }),
            },
            model: Arc::new(from.clone()),
        })
    }

    /// The name of the route configuration that it needs by RDS.
    pub fn wanted_routes(&self) -> Option<&str> {
        self.named_routes().map(|(name, _)| name)
    }

    /// The same, with the filters of its requests.
    pub fn named_routes(&self) -> Option<(&str, &Arc<Filters>)> {
        match &self.protocol {
            Protocol::Http(Http { routes: Routes::Named(name), filters, .. }) => Some((name, filters)),
            Protocol::Http(Http { routes: Routes::Inline(_), .. }) | Protocol::Tcp(_) => None,
        }
    }
}

/// The filters of all listeners, to share equal ones.
#[derive(Debug, Default, Clone)]
pub struct SharedFilters(Vec<Weak<Filters>>);

impl SharedFilters {
    fn filters(&mut self, from: &[HttpFilter]) -> Result<Arc<Filters>, InvalidConfig> {
        self.0.retain(|filters| filters.strong_count() > 0);
        let known = self.0.iter().filter_map(Weak::upgrade).find(|filters| filters.compiled_from(from));
        known.map_or_else(
            || {
                let filters = Arc::new(Filters::compile(from)?);
                self.0.push(Arc::downgrade(&filters));
                Ok(filters)
            },
            Ok,
        )
    }
}

impl Http {
    fn compile(from: &model::HttpConnection, shared: &mut SharedFilters) -> Result<Self, InvalidConfig> {
        let filters = shared.filters(&from.filters)?;
        let has = |wanted: &Filter| from.filters.iter().any(|filter| filter.kind == *wanted);
        let server = from
            .server_name
            .as_deref()
            .map(HeaderValue::from_str)
            .transpose()
            .map_err(|_| InvalidConfig("server_name is not a header value".into()))?;
        Ok(Self {
            routes: match &from.routes {
                model::RouteSource::Inline(table) => {
                    let mut table = RouteTable::compile(table)?;
                    table.merge(std::slice::from_ref(&filters));
                    Routes::Inline(Arc::new(table))
                }
                model::RouteSource::Rds(name) => Routes::Named(name.as_str().into()),
            },
            filters,
            alpn: has(&Filter::Alpn),
            count_messages: has(&Filter::GrpcStats),
            strips_peer_metadata: has(&Filter::PeerMetadata),
            server,
            via: (!from.extra.via.is_empty())
                .then(|| HeaderValue::from_str(&from.extra.via))
                .transpose()
                .map_err(|_| InvalidConfig("via is not a header value".into()))?,
            reply: Reply::compile(&from.extra.local_reply)
                .map_err(|e| InvalidConfig(format!("local_reply_config: {e}")))?,
            logs: logs(&from.access_log)?,
            model: Box::new(from.clone()),
        })
    }
}

fn logs(from: &[api::model::access_log::AccessLog]) -> Result<Box<[Log]>, InvalidConfig> {
    Log::compile_all(from).map_err(InvalidConfig::chain)
}
