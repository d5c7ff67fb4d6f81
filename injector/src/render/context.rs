//! Pure. Everything known about one pod before its sidecar is written, and the answers that several parts of the
//! sidecar must agree on: which port health is on, whether traffic and DNS are captured, which image runs.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    config::Template,
    render::{
        error::RenderError,
        proxy_config::ProxyConfig,
        wish::{Interception, Role, Wishes},
        workload::Workload,
    },
};

/// Name of the sidecar's container.
pub const PROXY_NAME: &str = "istio-proxy";

/// Name of the container that sets up capture.
pub const INIT_NAME: &str = "istio-init";

/// What is known about one pod.
pub struct Context<'a> {
    /// The pod as sent.
    pub pod: &'a Pod,
    /// Where the pod will live.
    pub namespace: &'a str,
    /// The mesh's defaults.
    pub template: &'a Template,
    /// What the pod's annotations ask for.
    pub wishes: Wishes,
    /// The mesh's proxy configuration with the pod's own on top.
    pub proxy_config: ProxyConfig,
    /// What the pod is a part of.
    pub workload: Workload,
}

impl<'a> Context<'a> {
    /// Reads the pod, or names the annotation that has no meaning.
    pub fn new(pod: &'a Pod, namespace: &'a str, template: &'a Template) -> Result<Self, RenderError> {
        let annotations = pod.metadata.annotations.clone().unwrap_or_default();
        let wishes = Wishes::parse(&annotations)?;
        let mut proxy_config = ProxyConfig::merged(&template.default_config, &annotations)?;
        if let Some(port) = wishes.status_port {
            proxy_config.set_status_port(port);
        }
        Ok(Self {
            pod,
            namespace,
            template,
            wishes,
            proxy_config,
            workload: Workload::of(&pod.metadata, namespace),
        })
    }

    /// Whether the pod is a gateway, whose only work is to be the proxy.
    pub fn is_gateway(&self) -> bool {
        self.wishes.role == Role::Gateway
    }

    /// Whether the sidecar is an init container that stays.
    pub fn is_native(&self) -> bool {
        !self.is_gateway() && self.wishes.native.unwrap_or(self.template.native_sidecar)
    }

    /// Whether the application waits for the sidecar; a native sidecar makes it wait anyway.
    pub fn holds_application(&self) -> bool {
        !self.is_native() && !self.is_gateway() && self.proxy_config.holds_application()
    }

    /// Whether the pod's traffic is redirected to the sidecar.
    pub fn captures(&self) -> bool {
        !self.is_gateway() && self.interception() == Interception::Redirect
    }

    /// How traffic reaches the sidecar.
    pub fn interception(&self) -> Interception {
        self.wishes.interception.unwrap_or(Interception::Redirect)
    }

    /// Whether the sidecar answers the application's DNS queries.
    pub fn captures_dns(&self) -> bool {
        let asked = self.proxy_config.metadata().get("ISTIO_META_DNS_CAPTURE").map(|value| value == "true");
        self.captures() && asked.unwrap_or(self.template.dns_capture)
    }

    /// Whether the application's probes go through the sidecar.
    pub fn rewrites_probes(&self) -> bool {
        self.status_port() != 0 && self.wishes.rewrite_probes.unwrap_or(self.template.rewrite_probes)
    }

    /// Where the sidecar answers health checks and metrics; 0 for nowhere.
    pub fn status_port(&self) -> u16 {
        self.proxy_config.status_port()
    }

    /// The image of the sidecar.
    pub fn image(&self) -> String {
        self.wishes.image.as_ref().unwrap_or(&self.template.image).clone()
    }

    /// The image of the init container.
    pub fn init_image(&self) -> String {
        if self.template.init_image.is_empty() { self.image() } else { self.template.init_image.clone() }
    }

    /// The level of the sidecar's log.
    pub fn log_level(&self) -> &str {
        self.wishes.log_level.as_deref().unwrap_or(&self.template.log_level)
    }

    /// The containers of the application.
    pub fn application(&self) -> impl Iterator<Item = &Container> {
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        containers.filter(|container| container.name != PROXY_NAME)
    }

    /// A label of the pod.
    pub fn label(&self, name: &str) -> Option<&str> {
        let value = self.pod.metadata.labels.as_ref()?.get(name)?;
        (!value.is_empty()).then_some(value.as_str())
    }
}
