//! Pure. Everything known about a pod before its sidecar is rendered, and the decisions that several parts of the
//! sidecar share: the health port, whether traffic and DNS are captured, the image.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use crate::{
    config::Template,
    render::{
        error::RenderError,
        overrides::{Overrides, Role, SCRAPE_TARGETS},
        proxy_config::{Interception, ProxyConfig},
        removal_wait::{self, RemovalWait},
        workload::Workload,
    },
};

/// Name of the sidecar's container.
pub const PROXY_NAME: &str = "istio-proxy";

/// The label that names the network of a pod.
pub const NETWORK_LABEL: &str = "topology.istio.io/network";

/// Name of the container that sets up capture.
pub const INIT_NAME: &str = "istio-init";

/// What is known about one pod.
pub struct Context<'a> {
    /// The pod as sent.
    pub pod: &'a Pod,
    /// The namespace of the pod.
    pub namespace: &'a str,
    /// The mesh's defaults.
    pub template: &'a Template,
    /// The parsed annotations of the pod.
    pub overrides: Overrides,
    /// The mesh's proxy configuration, overridden by the pod's own.
    pub proxy_config: ProxyConfig,
    /// The workload that the pod belongs to.
    pub workload: Workload,
    /// User and group of the proxy.
    pub owner: Owner,
    /// How long the hooks of the ending pod wait for other proxies.
    pub removal_wait: RemovalWait,
}

/// User and group of the proxy, by which capture distinguishes its traffic from the application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub user: i64,
    /// Group id.
    pub group: i64,
}

impl Owner {
    /// Returns those that the user's own sidecar container sets, else the defaults. Refuses user 0 with group 0, which
    /// capture cannot distinguish from the application's root.
    fn of(own: Option<&Container>) -> Result<Self, RenderError> {
        let security = own.and_then(|own| own.security_context.as_ref());
        let owner = Self {
            user: security.and_then(|security| security.run_as_user).unwrap_or(PROXY_ID),
            group: security.and_then(|security| security.run_as_group).unwrap_or(PROXY_ID),
        };
        if owner == (Self { user: 0, group: 0 }) {
            return Err(RenderError::Field {
                field: format!("container {PROXY_NAME}: securityContext.runAsUser"),
                reason: "0 together with runAsGroup 0 cannot be told from the application's root, so the proxy's own \
                         traffic would be captured: use another user or group, as 1337"
                    .to_owned(),
            });
        }
        Ok(owner)
    }
}

/// Default user and group ID of the proxy.
pub const PROXY_ID: i64 = 1337;

/// Returns the user's container with the sidecar's name.
fn own(pod: &Pod) -> Option<&Container> {
    let spec = pod.spec.as_ref()?;
    let mut containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    containers.find(|container| container.name == PROXY_NAME)
}

impl<'a> Context<'a> {
    /// Parses the pod, or names the annotation that is invalid.
    pub fn new(pod: &'a Pod, namespace: &'a str, template: &'a Template) -> Result<Self, RenderError> {
        let annotations = pod.metadata.annotations.clone().unwrap_or_default();
        let overrides = Overrides::parse(&annotations)?;
        let proxy_config = ProxyConfig::merged(&template.default_config, &annotations)?;
        let own = own(pod);
        let grace = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let wait = proxy_config.metadata().remove(removal_wait::WAIT);
        let context = Self {
            pod,
            namespace,
            template,
            overrides,
            proxy_config,
            workload: Workload::of(&pod.metadata, namespace),
            owner: Owner::of(own)?,
            removal_wait: RemovalWait::of(wait.as_deref(), grace)?,
        };
        context.check_scrape_targets()?;
        Ok(context)
    }

    /// Refuses scrape targets on the sidecar's own ports: a metrics page there would include itself.
    fn check_scrape_targets(&self) -> Result<(), RenderError> {
        let own = [self.status_port(), self.probe_port()].map(|port| port.to_string());
        match self.overrides.scrape_targets.iter().find(|target| own.contains(&target.port)) {
            None => Ok(()),
            Some(target) => Err(RenderError::Annotation {
                name: SCRAPE_TARGETS.to_owned(),
                value: format!("{}:{}", target.port, target.path),
                reason: "names the status port of the proxy: use ports of the application".to_owned(),
            }),
        }
    }

    /// Whether the pod is a gateway, which runs only the proxy.
    pub fn is_gateway(&self) -> bool {
        self.overrides.role == Role::Gateway
    }

    /// Whether the sidecar is a native one: an init container that keeps running.
    pub fn is_native(&self) -> bool {
        let native = self.overrides.native.or(self.template.native_sidecar);
        !self.is_gateway() && native.unwrap_or(true)
    }

    /// Whether the application waits for the sidecar. With a native sidecar it always does.
    pub fn holds_application(&self) -> bool {
        !self.is_native() && self.proxy_config.holds_application()
    }

    /// Whether the pod's traffic is redirected to the sidecar.
    pub fn captures(&self) -> bool {
        !self.is_gateway() && self.interception() == Interception::Redirect
    }

    /// How traffic reaches the sidecar.
    pub fn interception(&self) -> Interception {
        self.overrides.interception.unwrap_or(self.proxy_config.interception())
    }

    /// Whether the sidecar serves the application's DNS queries.
    pub fn captures_dns(&self) -> bool {
        let asked = self.proxy_config.metadata().get("ISTIO_META_DNS_CAPTURE").map(|value| value == "true");
        self.captures() && asked.unwrap_or(self.template.dns_capture)
    }

    /// Whether the application's probes are redirected to the sidecar.
    pub fn rewrites_probes(&self) -> bool {
        self.probe_port() != 0 && self.overrides.rewrite_probes.unwrap_or(self.template.rewrite_probes)
    }

    /// The port of the sidecar's health checks and metrics; 0: none.
    pub fn status_port(&self) -> u16 {
        self.proxy_config.status_port()
    }

    /// The port where the sidecar serves the application's probes; 0: none. An annotation, or the mesh's default for
    /// it, moves this port without moving the metrics, which Prometheus finds by the mesh's setting.
    pub fn probe_port(&self) -> u16 {
        self.overrides.status_port.or(self.template.status_port).unwrap_or(self.status_port())
    }

    /// The image of the sidecar.
    pub fn image(&self) -> String {
        self.overrides.image.as_ref().unwrap_or(&self.template.image).clone()
    }

    /// The image of the init container. An image that the pod sets applies to both.
    pub fn init_image(&self) -> String {
        let own = self.overrides.image.is_some() || self.template.init_image.is_empty();
        if own { self.image() } else { self.template.init_image.clone() }
    }

    /// The log level of the sidecar.
    pub fn log_level(&self) -> &str {
        self.overrides.log_level.as_deref().unwrap_or(&self.template.log_level)
    }

    /// The resources that the containers of the pod share; `None`: each has its own.
    pub fn pod_resources(&self) -> Option<&ResourceRequirements> {
        self.pod.spec.as_ref()?.resources.as_ref()
    }

    /// The containers of the application.
    pub fn application(&self) -> impl Iterator<Item = &Container> {
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        containers.filter(|container| container.name != PROXY_NAME)
    }

    /// The workload's name in metrics and in the proxy's metadata.
    pub fn workload_name(&self) -> &str {
        let named = if self.is_gateway() { None } else { self.label("service.istio.io/workload-name") };
        named.unwrap_or(&self.workload.name)
    }

    /// The network of the pod; `None` if the mesh has only one.
    pub fn network(&self) -> Option<&str> {
        let mesh = &self.template.network;
        self.label(NETWORK_LABEL).or((!mesh.is_empty()).then_some(mesh.as_str()))
    }

    /// Returns a label of the pod.
    pub fn label(&self, name: &str) -> Option<&str> {
        let value = self.pod.metadata.labels.as_ref()?.get(name)?;
        (!value.is_empty()).then_some(value.as_str())
    }
}
