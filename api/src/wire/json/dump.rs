//! Pure. `/config_dump` in Envoy's shape, in which no key is ever shown.

use super::bootstrap::{self, Bootstrap};
use super::schema::Schema;
use crate::model::Resource;
use crate::model::cluster::{Cluster, ClusterTls};
use crate::model::listener::{FilterChain, Listener, Protocol, RouteSource};
use crate::model::secret::{Secret, SecretContent};
use crate::model::tls::{CertificateSource, TlsParameters};
use crate::wire::any::pack;
use crate::wire::xds::Any;
use crate::wire::{Target, encode};
use serde_json::{Value, json};

/// A resource that is in use.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// The control plane's version of it; `None`: it is static.
    pub version: Option<&'a str>,
    /// When it was received, in RFC 3339.
    pub updated: &'a str,
}

/// The body of `/config_dump`; endpoints only with `?include_eds`.
pub fn config_dump(start: &Bootstrap, entries: &[Entry<'_>], include_eds: bool) -> Value {
    let schema = Schema::load();
    let dump = Dump { schema: &schema, entries };
    let mut configs = vec![dump.bootstrap(start), dump.clusters()];
    if include_eds {
        configs.push(dump.endpoints());
    }
    configs.extend([dump.listeners(), dump.routes(), dump.secrets()]);
    json!({"configs": configs})
}

impl Schema {
    /// A bootstrap as JSON, without its private keys.
    pub fn bootstrap_to_json(&self, start: &Bootstrap) -> Value {
        Value::Object(self.fields(&without_keys(start)).unwrap_or_default())
    }
}

/// A bootstrap's wire form without its keys.
fn without_keys(start: &Bootstrap) -> Any {
    let shown = Bootstrap {
        listeners: start.listeners.iter().map(hide_listener).collect(),
        clusters: start.clusters.iter().map(hide_cluster).collect(),
        secrets: start.secrets.iter().map(hide_secret).collect(),
        ..start.clone()
    };
    pack(&bootstrap::encode(&shown))
}

struct Dump<'a> {
    schema: &'a Schema,
    entries: &'a [Entry<'a>],
}

impl Dump<'_> {
    fn bootstrap(&self, start: &Bootstrap) -> Value {
        json!({"@type": of("BootstrapConfigDump"), "bootstrap": self.schema.bootstrap_to_json(start)})
    }

    fn clusters(&self) -> Value {
        let one = |e: &Entry<'_>| match e.resource {
            Resource::Cluster(_) => Some(self.shown(e, "cluster")),
            _ => None,
        };
        json!({
            "@type": of("ClustersConfigDump"),
            "version_info": self.version(|r| matches!(r, Resource::Cluster(_))),
            "static_clusters": self.list(false, one),
            "dynamic_active_clusters": self.list(true, one),
        })
    }

    fn endpoints(&self) -> Value {
        let one = |e: &Entry<'_>| match e.resource {
            Resource::Endpoints(_) => Some(self.shown(e, "endpoint_config")),
            _ => None,
        };
        json!({
            "@type": of("EndpointsConfigDump"),
            "static_endpoint_configs": self.list(false, one),
            "dynamic_endpoint_configs": self.list(true, one),
        })
    }

    fn listeners(&self) -> Value {
        let fixed = |e: &Entry<'_>| match e.resource {
            Resource::Listener(_) => Some(self.shown(e, "listener")),
            _ => None,
        };
        let dynamic = |e: &Entry<'_>| match e.resource {
            Resource::Listener(l) => Some(json!({"name": l.name, "active_state": self.shown(e, "listener")})),
            _ => None,
        };
        json!({
            "@type": of("ListenersConfigDump"),
            "version_info": self.version(|r| matches!(r, Resource::Listener(_))),
            "static_listeners": self.list(false, fixed),
            "dynamic_listeners": self.list(true, dynamic),
        })
    }

    /// The route tables. Envoy counts tables inside listeners as static, wherever the listener came from.
    fn routes(&self) -> Value {
        let one = |e: &Entry<'_>| match e.resource {
            Resource::Route(_) => Some(self.shown(e, "route_config")),
            _ => None,
        };
        let mut fixed = self.list(false, one);
        for entry in self.entries {
            let Resource::Listener(listener) = entry.resource else { continue };
            for chain in listener.chains.iter().chain(&listener.default_chain) {
                fixed.extend(self.inline_routes(chain, entry.updated));
            }
        }
        json!({
            "@type": of("RoutesConfigDump"),
            "static_route_configs": fixed,
            "dynamic_route_configs": self.list(true, one),
        })
    }

    fn inline_routes(&self, chain: &FilterChain, updated: &str) -> Option<Value> {
        let Protocol::Http(http) = &chain.protocol else { return None };
        let RouteSource::Inline(table) = &http.routes else { return None };
        let resource = Resource::Route(table.clone());
        Some(self.shown(&Entry { resource: &resource, version: None, updated }, "route_config"))
    }

    fn secrets(&self) -> Value {
        let one = |e: &Entry<'_>| match e.resource {
            Resource::Secret(secret) => {
                let mut value = self.shown(e, "secret");
                value["name"] = json!(secret.name);
                Some(value)
            }
            _ => None,
        };
        json!({
            "@type": of("SecretsConfigDump"),
            "static_secrets": self.list(false, one),
            "dynamic_active_secrets": self.list(true, one),
        })
    }

    fn list(&self, dynamic: bool, one: impl Fn(&Entry<'_>) -> Option<Value>) -> Vec<Value> {
        self.entries.iter().filter(|e| e.version.is_some() == dynamic).filter_map(one).collect()
    }

    /// The version of the newest resource of a type.
    fn version(&self, is: impl Fn(&Resource) -> bool) -> &str {
        let newest = self.entries.iter().filter(|e| is(e.resource) && e.version.is_some());
        newest.max_by_key(|e| e.updated).and_then(|e| e.version).unwrap_or_default()
    }

    fn shown(&self, entry: &Entry<'_>, field: &str) -> Value {
        let any = encode(&hidden(entry.resource), &Target { istio_extensions: true });
        let mut value = json!({field: self.schema.to_json(&any), "last_updated": entry.updated});
        if let Some(version) = entry.version {
            value["version_info"] = json!(version);
        }
        value
    }
}

/// The resource without its keys.
fn hidden(resource: &Resource) -> Resource {
    match resource {
        Resource::Listener(listener) => Resource::Listener(hide_listener(listener)),
        Resource::Cluster(cluster) => Resource::Cluster(Box::new(hide_cluster(cluster))),
        Resource::Secret(secret) => Resource::Secret(hide_secret(secret)),
        Resource::Route(_) | Resource::Endpoints(_) | Resource::Workload(_) | Resource::Names(_) => {
            resource.clone()
        }
    }
}

fn hide_listener(listener: &Listener) -> Listener {
    let mut shown = listener.clone();
    for chain in shown.chains.iter_mut().chain(&mut shown.default_chain) {
        if let Some(tls) = &mut chain.tls {
            hide_keys(&mut tls.common);
        }
    }
    shown
}

fn hide_cluster(cluster: &Cluster) -> Cluster {
    let mut shown = cluster.clone();
    match &mut shown.tls {
        ClusterTls::Never => {}
        ClusterTls::Always(tls) | ClusterTls::WhenOffered(tls) => hide_keys(&mut tls.common),
    }
    shown
}

fn hide_secret(secret: &Secret) -> Secret {
    let mut shown = secret.clone();
    if let SecretContent::Certificate { key, .. } = &mut shown.content {
        *key = REDACTED.into();
    }
    shown
}

fn hide_keys(tls: &mut TlsParameters) {
    for certificate in &mut tls.certificates {
        if let CertificateSource::Inline { key, .. } = certificate {
            *key = REDACTED.into();
        }
    }
}

fn of(message: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{message}")
}

/// What Envoy shows in place of keys.
const REDACTED: &str = "[redacted]";
