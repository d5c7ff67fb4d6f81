//! Pure. Listeners made ready. Filter chains that did not change keep their `Arc`, so that connections which use
//! them can be told from those that must be drained.

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

/// A listener.
#[derive(Debug)]
pub struct Listener {
    /// What it was made from.
    pub model: Arc<model::Listener>,
    /// Its name.
    pub name: Arc<str>,
    /// Chains in the order of the model.
    pub chains: Box<[Arc<Chain>]>,
    /// When none matches.
    pub default_chain: Option<Arc<Chain>>,
}

/// A filter chain.
#[derive(Debug)]
pub struct Chain {
    /// What it was made from.
    pub model: Arc<model::FilterChain>,
    /// TLS is terminated here.
    pub tls: Option<ServerTls>,
    /// Checked when the connection is made.
    pub authorization: Box<[Authorization]>,
    /// What the bytes mean.
    pub protocol: Protocol,
}

impl Chain {
    /// What is logged of its connections.
    pub fn logs(&self) -> &[Log] {
        match &self.protocol {
            Protocol::Http(http) => &http.logs,
            Protocol::Tcp(tcp) => &tcp.logs,
        }
    }
}

/// TLS as a server.
#[derive(Debug)]
pub struct ServerTls {
    /// As configured.
    pub config: Arc<ServerConfig>,
    /// The same without ALPN, for clients that offer protocols of which none is ours: the TLS library would refuse
    /// them, Envoy serves them.
    pub without_alpn: Arc<ServerConfig>,
    /// The certificates that clients are shown.
    pub own: Arc<Own>,
}

impl ServerTls {
    fn new(Server { config, own }: Server) -> Self {
        let mut without_alpn = ServerConfig::clone(&config);
        without_alpn.alpn_protocols.clear();
        Self { config, without_alpn: Arc::new(without_alpn), own }
    }

    /// The configuration for a client that offers these protocols.
    pub fn for_client<'a>(&self, offered: Option<impl Iterator<Item = &'a [u8]>>) -> Arc<ServerConfig> {
        let known = |protocol: &[u8]| self.config.alpn_protocols.iter().any(|ours| ours == protocol);
        let overlap = offered.is_none_or(|mut offered| offered.any(known));
        if overlap { self.config.clone() } else { self.without_alpn.clone() }
    }
}

/// What the bytes of a connection mean.
#[derive(Debug)]
pub enum Protocol {
    /// HTTP.
    Http(Http),
    /// Opaque bytes.
    Tcp(Tcp),
}

/// HTTP on a connection.
#[derive(Debug)]
pub struct Http {
    /// Settings that need no preparation.
    pub model: Box<model::HttpConnection>,
    /// Where requests go.
    pub routes: Routes,
    /// What happens to requests before they are routed on.
    pub filters: Arc<Filters>,
    /// Choose the upstream's ALPN by the request's protocol.
    pub alpn: bool,
    /// Count gRPC messages.
    pub count_messages: bool,
    /// `server` response header.
    pub server: Option<HeaderValue>,
    /// Item of `via`.
    pub via: Option<HeaderValue>,
    /// Changes to answers of our own.
    pub reply: Option<Reply>,
    /// Logs.
    pub logs: Box<[Log]>,
}

/// Where the routes of a connection come from.
#[derive(Debug)]
pub enum Routes {
    /// Given.
    Inline(Arc<RouteTable>),
    /// By name, from the snapshot.
    Named(Box<str>),
}

/// Opaque bytes to a cluster.
#[derive(Debug)]
pub struct Tcp {
    /// Settings that need no preparation.
    pub model: model::TcpProxy,
    /// Where to.
    pub clusters: Clusters,
    /// Logs.
    pub logs: Box<[Log]>,
}

impl Listener {
    /// Makes a listener ready, with the chains of its last version where they are the same.
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

    /// Every chain, the default one last.
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

    /// The route configuration it needs by name.
    pub fn wanted_routes(&self) -> Option<&str> {
        self.named_routes().map(|(name, _)| name)
    }

    /// The same, with the filters that its requests meet.
    pub fn named_routes(&self) -> Option<(&str, &Arc<Filters>)> {
        match &self.protocol {
            Protocol::Http(Http { routes: Routes::Named(name), filters, .. }) => Some((name, filters)),
            Protocol::Http(Http { routes: Routes::Inline(_), .. }) | Protocol::Tcp(_) => None,
        }
    }
}

/// The filters of all listeners, so that equal ones are there once.
#[derive(Debug, Default, Clone)]
pub struct SharedFilters(Vec<Weak<Filters>>);

impl SharedFilters {
    fn filters(&mut self, from: &[HttpFilter]) -> Result<Arc<Filters>, InvalidConfig> {
        self.0.retain(|filters| filters.strong_count() > 0);
        let known = self.0.iter().filter_map(Weak::upgrade).find(|filters| filters.are(from));
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
