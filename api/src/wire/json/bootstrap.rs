//! Pure. Envoy's bootstrap: the file that configures a proxy without a control plane, or names its control plane.

use super::schema::Schema;
use crate::model::cluster::{Cluster, ClusterTls};
use crate::model::listener::Listener;
use crate::model::secret::Secret;
use crate::model::tls::{CertificateSource, RootSource};
use crate::wire::refusal::{At, Refusal, each, nothing_left, optional, refuse, required};
use crate::wire::scalar::{enumeration, socket, wire_socket};
use crate::wire::secret::Fixed;
use crate::wire::xds::{Node, NodeInfo};
use crate::wire::{Target, cluster, dns, listener, secret, source};
use envoy_types::pb::envoy::config::bootstrap::v3 as wire;
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{ApiConfigSource, ApiVersion, ConfigSource, GrpcService};
use serde_json::Value;
use std::collections::BTreeMap;
use std::mem::take;
use std::net::SocketAddr;
use wire::bootstrap::{DynamicResources, StaticResources};

/// The configuration that a proxy starts with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bootstrap {
    /// The node that the proxy announces.
    pub node: NodeInfo,
    /// Static listeners.
    pub listeners: Vec<Listener>,
    /// Static clusters.
    pub clusters: Vec<Cluster>,
    /// Static secrets.
    pub secrets: Vec<Secret>,
    /// The control plane, if there is one.
    pub ads: Option<AdsSource>,
    /// Where the admin port listens.
    pub admin: Option<SocketAddr>,
}

/// A control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdsSource {
    /// The static cluster that leads to it.
    pub cluster: String,
    /// Use the delta form of the protocol.
    pub delta: bool,
    /// Whether listeners come from it.
    pub listeners: bool,
    /// Whether clusters come from it.
    pub clusters: bool,
}

/// A bootstrap that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// The text is neither YAML nor JSON.
    #[error("neither YAML nor JSON: {0}")]
    Syntax(String),
    /// A field is unknown, malformed or not supported.
    #[error("{path}{}{reason}", if .path.is_empty() { "" } else { ": " })]
    Refused {
        /// The field, such as `static_resources.listeners[0].address`.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Bootstrap {
    /// Reads YAML or JSON text.
    pub fn parse(text: &str) -> Result<Self, BootstrapError> {
        Schema::load().bootstrap(text)
    }
}

impl Schema {
    /// A bootstrap from YAML or JSON text.
    pub fn bootstrap(&self, text: &str) -> Result<Bootstrap, BootstrapError> {
        let value = value(text)?;
        let refused = |r: Refusal| BootstrapError::Refused { path: r.path(), reason: r.reason };
        self.read(&value).and_then(decode).map_err(refused)
    }
}

fn value(text: &str) -> Result<Value, BootstrapError> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut options = serde_saphyr::Options::default();
    let mut budget = serde_saphyr::Budget::default();
    // A local file may be large: tables of thousands of routes are.
    (budget.max_nodes, budget.max_events) = (NODES, NODES);
    options.budget = Some(budget);
    options.with_snippet = false;
    let read = serde_saphyr::from_str_with_options(text, options);
    read.map_err(|e| BootstrapError::Syntax(e.to_string().trim_end().to_owned()))
}

fn decode(mut wire: wire::Bootstrap) -> Result<Bootstrap, Refusal> {
    let mut fixed = wire.static_resources.take().unwrap_or_default();
    let mut found = Bootstrap {
        node: wire.node.take().as_ref().map(NodeInfo::from).unwrap_or_default(),
        listeners: each(take(&mut fixed.listeners), "listeners", listener::decode).at("static_resources")?,
        clusters: each(take(&mut fixed.clusters), "clusters", cluster::decode).at("static_resources")?,
        secrets: vec![],
        ads: wire.dynamic_resources.take().map_or(Ok(None), ads).at("dynamic_resources")?,
        admin: wire.admin.take().map_or(Ok(None), admin).at("admin")?,
    };
    let secrets = each(take(&mut fixed.secrets), "secrets", secret::decode_fixed).at("static_resources")?;
    put_secrets(&mut found, secrets);
    if let Some(wire::bootstrap::StatsFlush::StatsFlushOnAdmin(_)) = wire.stats_flush {
        wire.stats_flush = None;
    }
    optional(wire.cluster_manager.take(), "cluster_manager", |manager| nothing_left(&manager))?;
    optional(wire.typed_dns_resolver_config.take(), "typed_dns_resolver_config", |wire| {
        dns::resolver(&wire)
    })?;
    nothing_left(&wire)?;
    Ok(found)
}

/// The wire form, for dumps.
pub(super) fn encode(model: &Bootstrap) -> wire::Bootstrap {
    let target = Target { istio_extensions: true };
    let fixed = StaticResources {
        listeners: model.listeners.iter().map(|l| listener::encode(l, target)).collect(),
        clusters: model.clusters.iter().map(cluster::encode).collect(),
        secrets: model.secrets.iter().map(secret::encode).collect(),
    };
    wire::Bootstrap {
        node: Some(Node::from(&model.node)),
        static_resources: (fixed != StaticResources::default()).then_some(fixed),
        dynamic_resources: model.ads.as_ref().map(wire_ads),
        admin: model.admin.map(|a| wire::Admin { address: Some(wire_socket(a)), ..wire::Admin::default() }),
        ..wire::Bootstrap::default()
    }
}

/// Replaces secrets in files by their paths where they are used, so that the files are read again when they change.
fn put_secrets(found: &mut Bootstrap, secrets: Vec<Fixed>) {
    let (mut certificates, mut roots) = (BTreeMap::new(), BTreeMap::new());
    for secret in secrets {
        match secret {
            Fixed::Inline(secret) => found.secrets.push(secret),
            Fixed::Certificate(name, source) => {
                certificates.insert(name, source);
            }
            Fixed::Roots(name, source) => {
                roots.insert(name, source);
            }
        }
    }
    let chains = found.listeners.iter_mut().flat_map(|l| l.chains.iter_mut().chain(&mut l.default_chain));
    let servers = chains.filter_map(|chain| chain.tls.as_mut()).map(|tls| &mut tls.common);
    let clients = found.clusters.iter_mut().filter_map(|cluster| match &mut cluster.tls {
        ClusterTls::Never => None,
        ClusterTls::Always(tls) | ClusterTls::WhenOffered(tls) => Some(&mut tls.common),
    });
    for tls in servers.chain(clients) {
        for certificate in &mut tls.certificates {
            if let CertificateSource::Sds(name) = certificate
                && let Some(source) = certificates.get(name)
            {
                *certificate = source.clone();
            }
        }
        if let Some(validation) = &mut tls.validation
            && let RootSource::Sds(name) = &validation.roots
            && let Some(source) = roots.get(name)
        {
            validation.roots = source.clone();
        }
    }
}

fn admin(mut wire: wire::Admin) -> Result<Option<SocketAddr>, Refusal> {
    let address = optional(wire.address.take(), "address", socket)?;
    nothing_left(&wire)?;
    Ok(address)
}

fn ads(mut wire: DynamicResources) -> Result<Option<AdsSource>, Refusal> {
    let listeners = from_ads(wire.lds_config.take()).at("lds_config")?;
    let clusters = from_ads(wire.cds_config.take()).at("cds_config")?;
    let config = wire.ads_config.take();
    nothing_left(&wire)?;
    match config {
        Some(config) => {
            let (cluster, delta) = control_plane(config).at("ads_config")?;
            Ok(Some(AdsSource { cluster, delta, listeners, clusters }))
        }
        None if listeners || clusters => required(None, "ads_config"),
        None => Ok(None),
    }
}

fn from_ads(source: Option<ConfigSource>) -> Result<bool, Refusal> {
    match source.map(|s| s.config_source_specifier) {
        None => Ok(false),
        Some(Some(ConfigSourceSpecifier::Ads(_))) => Ok(true),
        Some(_) => refuse("only ads is supported"),
    }
}

fn control_plane(mut config: ApiConfigSource) -> Result<(String, bool), Refusal> {
    let delta = match enumeration(take(&mut config.api_type), "api_type")? {
        ApiType::Grpc | ApiType::AggregatedGrpc => false,
        ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => true,
        _ => return refuse("only GRPC and DELTA_GRPC are supported").at("api_type"),
    };
    let clusters = each(take(&mut config.grpc_services), "grpc_services", source::cluster)?;
    config.transport_api_version = 0;
    nothing_left(&config)?;
    Ok((required(clusters.into_iter().next(), "grpc_services")?, delta))
}

fn wire_ads(model: &AdsSource) -> DynamicResources {
    let target = EnvoyGrpc { cluster_name: model.cluster.clone(), ..EnvoyGrpc::default() };
    let service =
        GrpcService { target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)), ..GrpcService::default() };
    let config = ApiConfigSource {
        api_type: if model.delta { ApiType::DeltaGrpc } else { ApiType::Grpc }.into(),
        transport_api_version: ApiVersion::V3.into(),
        grpc_services: vec![service],
        ..ApiConfigSource::default()
    };
    DynamicResources {
        lds_config: model.listeners.then(source::ads),
        cds_config: model.clusters.then(source::ads),
        ads_config: Some(config),
        ..DynamicResources::default()
    }
}

const NODES: usize = 10_000_000;
