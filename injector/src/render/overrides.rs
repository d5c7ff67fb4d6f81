//! Pure. Parses a pod's annotations. A pod with an invalid value is refused with the name of the annotation: a pod
//! that runs differently than requested is worse than one that does not start.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use api::resource::quantity;
use ipnet::IpNet;
use k8s_openapi::{
    api::core::v1::{Volume, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::excerpt::quoted;
use crate::render::{error::RenderError, proxy_config::Interception};

/// The settings in a pod's annotations; `None` leaves a setting to the mesh's default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// The proxy's role in this pod.
    pub role: Role,
    /// Whether the sidecar is a native one: an init container that keeps running.
    pub native: Option<bool>,
    /// Whether the application's probes are redirected to the sidecar.
    pub rewrite_probes: Option<bool>,
    /// Whether the sidecar's metrics include the application's.
    pub merge_metrics: Option<bool>,
    /// The application's metrics pages, if there are several.
    pub scrape_targets: Vec<ScrapeTarget>,
    /// Init containers that start before a native sidecar.
    pub before_proxy: Vec<String>,
    /// The full image reference.
    pub image: Option<String>,
    /// The log level of the sidecar.
    pub log_level: Option<String>,
    /// Port where the sidecar serves the application's probes, in addition to its status port; 0: none.
    pub status_port: Option<u16>,
    /// The sidecar's readiness probe.
    pub readiness: Readiness,
    /// How traffic reaches the sidecar.
    pub interception: Option<Interception>,
    /// Which traffic is captured.
    pub traffic: Traffic,
    /// The sidecar's resources.
    pub resources: Resources,
    /// Whether the proxy may bind ports below 1024.
    pub bind_low_ports: bool,
    /// Additional volumes of the sidecar.
    pub volumes: Vec<Volume>,
    /// Additional volume mounts of the sidecar.
    pub mounts: Vec<VolumeMount>,
    /// Warnings about annotations that are known but have no effect.
    pub warnings: Vec<String>,
}

/// The proxy's role in a pod.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// The proxy runs beside an application.
    #[default]
    Sidecar,
    /// The proxy is the pod's only purpose.
    Gateway,
}

/// A metrics page of the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScrapeTarget {
    /// Port, as text, as in the annotation `prometheus.io/port`.
    pub port: String,
    /// Path.
    pub path: String,
}

/// The settings of the sidecar's readiness probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Seconds before the first probe.
    pub initial_delay: Option<i32>,
    /// Seconds between probes.
    pub period: Option<i32>,
    /// Failures after which the pod is not ready.
    pub failure_threshold: Option<i32>,
}

/// Which traffic is captured; each text is a validated list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Destination ranges that are captured outbound.
    pub include_ip_ranges: Option<String>,
    /// Destination ranges that are not captured.
    pub exclude_ip_ranges: Option<String>,
    /// Ports that are captured inbound.
    pub include_inbound_ports: Option<String>,
    /// Ports that are not captured inbound.
    pub exclude_inbound_ports: Option<String>,
    /// Ports that are captured outbound, for any destination address.
    pub include_outbound_ports: Option<String>,
    /// Ports that are not captured outbound.
    pub exclude_outbound_ports: Option<String>,
    /// Interfaces that are not captured.
    pub exclude_interfaces: Option<String>,
    /// Interfaces whose inbound traffic is treated as outbound.
    pub reroute_interfaces: Option<String>,
}

/// The sidecar's resources.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// Requested CPU.
    pub cpu: Option<Quantity>,
    /// Requested memory.
    pub memory: Option<Quantity>,
    /// Limit of CPU.
    pub cpu_limit: Option<Quantity>,
    /// Limit of memory.
    pub memory_limit: Option<Quantity>,
}

impl Overrides {
    /// Parses a pod's annotations, or names the first invalid one.
    pub fn parse(annotations: &BTreeMap<String, String>) -> Result<Self, RenderError> {
        let read = Reader { annotations, asked: RefCell::default() };
        let mut overrides = Self {
            role: read.one("inject.istio.io/templates", role)?.unwrap_or_default(),
            // Any value except "false" requests one.
            native: read.text(NATIVE).map(|text| text != "false"),
            rewrite_probes: read.text(REWRITE).and_then(|text| boolean(text).ok()),
            merge_metrics: read.one("prometheus.istio.io/merge-metrics", boolean)?,
            scrape_targets: read.one(SCRAPE_TARGETS, scrape_targets)?.unwrap_or_default(),
            before_proxy: read
                .one("sidecar.istio.io/init-containers-before-proxy", |text| Ok(names(text)))?
                .unwrap_or_default(),
            image: read.one("sidecar.istio.io/proxyImage", image)?,
            log_level: read.one("sidecar.istio.io/logLevel", log_level)?,
            status_port: read.one("status.sidecar.istio.io/port", number)?,
            readiness: read.readiness()?,
            interception: read.one("sidecar.istio.io/interceptionMode", interception)?,
            traffic: read.traffic()?,
            resources: Resources {
                cpu: read.one("sidecar.istio.io/proxyCPU", quantity)?,
                memory: read.one("sidecar.istio.io/proxyMemory", quantity)?,
                cpu_limit: read.one("sidecar.istio.io/proxyCPULimit", quantity)?,
                memory_limit: read.one("sidecar.istio.io/proxyMemoryLimit", quantity)?,
            },
            bind_low_ports: read.text(LOW_PORTS) == Some("true"),
            volumes: read.one("sidecar.istio.io/userVolume", named_objects)?.unwrap_or_default(),
            mounts: read.one("sidecar.istio.io/userVolumeMount", named_objects)?.unwrap_or_default(),
            warnings: Vec::new(),
        };
        overrides.warnings = read.without_effect();
        Ok(overrides)
    }
}

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    /// The names that have been read. Others of the sidecar's have no meaning.
    asked: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Reader<'a> {
    fn text(&self, name: &'static str) -> Option<&'a str> {
        self.asked.borrow_mut().insert(name);
        self.annotations.get(name).map(String::as_str)
    }

    fn one<T>(
        &self,
        name: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, RenderError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse(text.trim()).map(Some).map_err(|reason| RenderError::Annotation {
            name: name.to_owned(),
            value: text.to_owned(),
            reason,
        })
    }

    fn readiness(&self) -> Result<Readiness, RenderError> {
        Ok(Readiness {
            initial_delay: self.one("readiness.status.sidecar.istio.io/initialDelaySeconds", number)?,
            period: self.one("readiness.status.sidecar.istio.io/periodSeconds", number)?,
            failure_threshold: self.one("readiness.status.sidecar.istio.io/failureThreshold", number)?,
        })
    }

    fn traffic(&self) -> Result<Traffic, RenderError> {
        let reroute = self.one("istio.io/reroute-virtual-interfaces", interfaces)?;
        // Its older name, which has no effect beside it.
        self.text(KUBEVIRT);
        Ok(Traffic {
            include_ip_ranges: self.one("traffic.sidecar.istio.io/includeOutboundIPRanges", all_or_ranges)?,
            exclude_ip_ranges: self.one("traffic.sidecar.istio.io/excludeOutboundIPRanges", ranges)?,
            include_inbound_ports: self.one("traffic.sidecar.istio.io/includeInboundPorts", all_or_ports)?,
            exclude_inbound_ports: self.one("traffic.sidecar.istio.io/excludeInboundPorts", ports)?,
            include_outbound_ports: self.one("traffic.sidecar.istio.io/includeOutboundPorts", ports)?,
            exclude_outbound_ports: self.one("traffic.sidecar.istio.io/excludeOutboundPorts", ports)?,
            exclude_interfaces: self.one("traffic.sidecar.istio.io/excludeInterfaces", interfaces)?,
            reroute_interfaces: match reroute {
                None => self.one(KUBEVIRT, interfaces)?,
                reroute => reroute,
            },
        })
    }

    fn without_effect(&self) -> Vec<String> {
        let there = WITHOUT_EFFECT.iter().filter(|(name, _)| self.annotations.contains_key(*name));
        let there = there.map(|(name, instead)| format!("annotation {name} has no effect: {instead}"));
        let switches = SWITCHES.iter().filter_map(|(name, taken)| {
            let text = self.text(name).filter(|text| !matches!(*text, "true" | "false"))?;
            let clear = *name == REWRITE && boolean(text).is_ok();
            (!clear).then(|| {
                format!("annotation {name} is {}, neither \"true\" nor \"false\": {taken}", quoted(text))
            })
        });
        there.chain(switches).chain(self.unknown()).collect()
    }

    /// Warnings about annotations that look like the sidecar's and have no meaning.
    fn unknown(&self) -> impl Iterator<Item = String> {
        let asked = self.asked.borrow();
        let names = self.annotations.keys().filter(|name| {
            let name = name.as_str();
            let known = asked.contains(name)
                || ELSEWHERE.contains(&name)
                || WITHOUT_EFFECT.iter().any(|(other, _)| *other == name);
            !known && name.split_once('/').is_some_and(|(group, _)| GROUPS.contains(&group))
        });
        let warning = |name| format!("annotation {name} is not known and has no effect");
        names.map(warning).collect::<Vec<_>>().into_iter()
    }
}

/// Parses template names separated by commas. Repeating a name has no effect.
fn role(text: &str) -> Result<Role, String> {
    let template = |name: &str| match name.trim() {
        "sidecar" => Ok(Role::Sidecar),
        "gateway" => Ok(Role::Gateway),
        "grpc-agent" | "grpc-simple" => Err(format!(
            "{name} is not supported, because there is no proxyless gRPC: use sidecar or gateway"
        )),
        other => Err(format!(
            "{} is not a template, and there are none of the mesh's own: use sidecar or gateway",
            quoted(other)
        )),
    };
    let roles = text.split(',').map(template).collect::<Result<Vec<_>, _>>()?;
    match roles.as_slice() {
        [first, rest @ ..] if rest.iter().all(|role| role == first) => Ok(*first),
        _ => Err("a pod is either a sidecar's or a gateway: use one of the two templates".to_owned()),
    }
}

/// Parses a boolean as Go's `strconv.ParseBool` does.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("must be \"true\" or \"false\"".to_owned()),
    }
}

fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect()
}

/// Parses `port:path` separated by commas; a port alone means its page `/metrics`.
fn scrape_targets(text: &str) -> Result<Vec<ScrapeTarget>, String> {
    names(text).iter().map(|item| scrape_target(item)).collect()
}

fn scrape_target(item: &str) -> Result<ScrapeTarget, String> {
    let (port, path) = item.split_once(':').unwrap_or((item, "/metrics"));
    let number: u16 = port.trim().parse().ok().filter(|port| *port != 0).ok_or_else(|| {
        format!("{} is not a target: use PORT:PATH as 8080:/metrics, separated by commas", quoted(item))
    })?;
    if PROXY_PORTS.contains(&number) {
        return Err(format!(
            "{} names a port of the proxy itself: use ports of the application",
            quoted(item)
        ));
    }
    let path = Some(path.trim()).filter(|path| !path.is_empty()).unwrap_or("/metrics");
    let plain = |c: char| c.is_ascii_graphic() && c != '#';
    if !path.starts_with('/') || !path.chars().all(plain) {
        return Err(format!(
            "{} has no path: use PORT:PATH as 8080:/metrics, separated by commas",
            quoted(item)
        ));
    }
    Ok(ScrapeTarget { port: number.to_string(), path: path.to_owned() })
}

fn image(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-@".contains(c);
    if text.is_empty() || !text.chars().all(plain) {
        return Err("is not an image: use names as ostria/proxy:1.0".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses a log level. Envoy has levels that the proxy does not distinguish.
fn log_level(text: &str) -> Result<String, String> {
    let level = match text {
        "trace" | "debug" | "info" | "error" | "off" => text,
        "warn" | "warning" => "warn",
        "critical" => "error",
        _ => {
            return Err(
                "is not a log level: use trace, debug, info, warning, error, critical or off".to_owned()
            );
        }
    };
    Ok(level.to_owned())
}

fn interception(text: &str) -> Result<Interception, String> {
    match text {
        "REDIRECT" => Ok(Interception::Redirect),
        "NONE" => Ok(Interception::None),
        "TPROXY" => Err("is not available: use REDIRECT".to_owned()),
        _ => Err("is not an interception mode: use REDIRECT or NONE".to_owned()),
    }
}

fn number<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    match text.parse() {
        Ok(number) if number >= T::default() => Ok(number),
        _ => Err("must be a whole number from 0".to_owned()),
    }
}

/// Parses a resource quantity; requests and limits are never negative.
fn quantity(text: &str) -> Result<Quantity, String> {
    if text.starts_with('-') || quantity::parse(text).is_none() {
        return Err("is not a quantity: use numbers as 100m, 0.5, 128Mi or 1Gi".to_owned());
    }
    Ok(Quantity(text.to_owned()))
}

fn list(text: &str, expected: &str, holds: impl Fn(&str) -> bool) -> Result<String, String> {
    let items: Vec<&str> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    match items.iter().find(|item| !holds(item)) {
        Some(item) => Err(format!("{} is not {expected}", quoted(item))),
        None => Ok(items.join(",")),
    }
}

/// Parses a list of ports. Port 0 is never used, so it may be listed without effect.
fn ports(text: &str) -> Result<String, String> {
    let all = list(text, "a port: use numbers from 1 to 65535, separated by commas", |item| {
        item.parse::<u16>().is_ok()
    })?;
    let ports: Vec<&str> = all.split(',').filter(|port| port.parse() != Ok(0_u16)).collect();
    Ok(ports.join(","))
}

fn all_or_ports(text: &str) -> Result<String, String> {
    if text == "*" { Ok(text.to_owned()) } else { ports(text).map_err(|reason| format!("{reason}, or *")) }
}

fn ranges(text: &str) -> Result<String, String> {
    list(text, "an address range: use CIDRs as 10.0.0.0/8, separated by commas", |item| {
        item.parse::<IpNet>().is_ok()
    })
}

fn all_or_ranges(text: &str) -> Result<String, String> {
    if text == "*" { Ok(text.to_owned()) } else { ranges(text).map_err(|reason| format!("{reason}, or *")) }
}

fn interfaces(text: &str) -> Result<String, String> {
    list(text, "an interface: use names of at most 15 letters and digits, separated by commas", |item| {
        item.len() <= 15 && item.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@:+".contains(c))
    })
}

/// Parses named objects. Two formats are in use: a list of objects, and a map of objects by name.
fn named_objects<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let list = match value {
        Value::Array(list) => list,
        Value::Object(map) => map.into_iter().map(|(name, value)| with_name(&name, value)).collect(),
        _ => return Err("must be a JSON list of objects, or an object of objects by name".to_owned()),
    };
    list.into_iter()
        .enumerate()
        .map(|(index, item)| serde_json::from_value(item).map_err(|error| format!("[{index}]: {error}")))
        .collect()
}

fn with_name(name: &str, mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.insert("name".to_owned(), json!(name));
    }
    value
}

/// The annotation that lists several metrics pages.
pub const SCRAPE_TARGETS: &str = "prometheus.istio.io/scrape-targets";

/// Ports on which the proxy itself listens in a pod.
pub const PROXY_PORTS: [u16; 10] = [15000, 15001, 15002, 15004, 15006, 15008, 15020, 15021, 15053, 15090];

const NATIVE: &str = "sidecar.istio.io/nativeSidecar";
const REWRITE: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
const KUBEVIRT: &str = "traffic.sidecar.istio.io/kubevirtInterfaces";
const LOW_PORTS: &str = "sidecar.istio.io/capNetBindService";

/// Boolean annotations that Istio does not validate, each with the value that Istio assumes for other words.
const SWITCHES: [(&str, &str); 3] = [
    (NATIVE, "it is taken for \"true\""),
    (REWRITE, "it has no effect"),
    (LOW_PORTS, "it is taken for \"false\""),
];

const STATS: &str = "the proxy has Istio's standard metrics, with their tags and buckets";

const NO_AMBIENT: &str = "there is no ambient mode";

const WITHOUT_EFFECT: [(&str, &str); 22] = [
    ("sidecar.istio.io/proxyImageType", "the proxy has one image: use sidecar.istio.io/proxyImage"),
    ("sidecar.istio.io/bootstrapOverride", "the proxy has no bootstrap of Envoy to override"),
    ("sidecar.istio.io/componentLogLevel", "use sidecar.istio.io/logLevel"),
    ("sidecar.istio.io/agentLogLevel", "proxy and agent are one process: use sidecar.istio.io/logLevel"),
    ("sidecar.istio.io/statsInclusionPrefixes", STATS),
    ("sidecar.istio.io/statsInclusionSuffixes", STATS),
    ("sidecar.istio.io/statsInclusionRegexps", STATS),
    ("sidecar.istio.io/statsHistogramBuckets", STATS),
    ("sidecar.istio.io/statsHistogramBins", STATS),
    ("sidecar.istio.io/statsFlushInterval", STATS),
    ("sidecar.istio.io/statsEvictionInterval", STATS),
    ("sidecar.istio.io/statsCompression", STATS),
    ("sidecar.istio.io/extraStatTags", STATS),
    ("sidecar.istio.io/discoveryAddress", "use discoveryAddress in proxy.istio.io/config"),
    ("sidecar.istio.io/controlPlaneAuthPolicy", "the proxy always uses mutual TLS to the control plane"),
    ("sidecar.istio.io/enableCoreDump", "the proxy writes no core dumps"),
    (
        "readiness.status.sidecar.istio.io/applicationPorts",
        "use readiness probes of the application's containers",
    ),
    ("proxy.istio.io/overrides", "the container istio-proxy of the pod is merged itself"),
    ("ambient.istio.io/redirection", NO_AMBIENT),
    ("ambient.istio.io/bypass-inbound-capture", NO_AMBIENT),
    ("ambient.istio.io/dns-capture", NO_AMBIENT),
    ("ambient.istio.io/waypoint-inbound-binding", NO_AMBIENT),
];

/// Annotations that are read elsewhere.
const ELSEWHERE: [&str; 3] = ["sidecar.istio.io/inject", "sidecar.istio.io/status", "proxy.istio.io/config"];

/// The groups of annotations that are for sidecars.
pub const GROUPS: [&str; 8] = [
    "sidecar.istio.io",
    "traffic.sidecar.istio.io",
    "status.sidecar.istio.io",
    "readiness.status.sidecar.istio.io",
    "inject.istio.io",
    "proxy.istio.io",
    "prometheus.istio.io",
    "ambient.istio.io",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, value: &str) -> Result<Overrides, String> {
        Overrides::parse(&[(name.to_owned(), value.to_owned())].into()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_error_of_an_invalid_value_names_the_annotation_and_the_expected_form() {
        for (name, value, expected) in [
            (
                "traffic.sidecar.istio.io/includeOutboundIPRanges",
                "10.0.0.0/8,ten",
                "\"ten\" is not an address range",
            ),
            ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.1", "or *"),
            ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "*", "is not an address range"),
            ("traffic.sidecar.istio.io/includeInboundPorts", "80,http", "\"http\" is not a port"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "-1", "\"-1\" is not a port"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "*", "is not a port"),
            ("traffic.sidecar.istio.io/includeOutboundPorts", "70000", "is not a port"),
            ("traffic.sidecar.istio.io/excludeOutboundPorts", "1-2", "is not a port"),
            ("traffic.sidecar.istio.io/excludeInterfaces", "eth0;rm", "is not an interface"),
            ("traffic.sidecar.istio.io/kubevirtInterfaces", "$(x)", "is not an interface"),
            ("istio.io/reroute-virtual-interfaces", "a b", "is not an interface"),
            ("sidecar.istio.io/interceptionMode", "TPROXY", "use REDIRECT"),
            ("sidecar.istio.io/interceptionMode", "redirect", "REDIRECT or NONE"),
            ("prometheus.istio.io/merge-metrics", "yes", "\"true\" or \"false\""),
            ("sidecar.istio.io/proxyImage", "bad image", "is not an image"),
            ("sidecar.istio.io/proxyCPU", "lots", "is not a quantity"),
            ("sidecar.istio.io/proxyMemoryLimit", "1GB", "is not a quantity"),
            ("sidecar.istio.io/logLevel", "loud", "is not a log level"),
            ("sidecar.istio.io/userVolume", "{", "is not JSON"),
            ("sidecar.istio.io/userVolume", "3", "JSON list"),
            ("sidecar.istio.io/userVolumeMount", "[{\"name\":\"a\",\"mountPath\":3}]", "[0]"),
            ("status.sidecar.istio.io/port", "-1", "whole number"),
            ("readiness.status.sidecar.istio.io/periodSeconds", "often", "whole number"),
            ("readiness.status.sidecar.istio.io/initialDelaySeconds", "-5", "whole number"),
            ("inject.istio.io/templates", "grpc-agent", "no proxyless gRPC: use sidecar or gateway"),
            ("inject.istio.io/templates", "grpc-simple", "no proxyless gRPC"),
            ("inject.istio.io/templates", "", "sidecar or gateway"),
            ("inject.istio.io/templates", "sidecar,spire", "\"spire\" is not a template"),
            ("inject.istio.io/templates", "sidecar,gateway", "one of the two"),
            (SCRAPE_TARGETS, "8080:/a,http:/b", "\"http:/b\" is not a target"),
            (SCRAPE_TARGETS, "0:/a", "PORT:PATH"),
            (SCRAPE_TARGETS, "8080:metrics", "has no path"),
            (SCRAPE_TARGETS, "8080:/a b", "has no path"),
            (SCRAPE_TARGETS, "8080:/a,15020:/stats/prometheus", "a port of the proxy itself"),
        ] {
            let message = parse(name, value).expect_err(name);
            assert!(message.contains(name) && message.contains(expected), "{name}={value}: {message}");
        }
    }

    #[test]
    fn blanks_in_lists_are_removed() {
        let overrides = parse("traffic.sidecar.istio.io/excludeInboundPorts", " 80, 81 ,").unwrap();
        assert_eq!(overrides.traffic.exclude_inbound_ports.as_deref(), Some("80,81"));
        let overrides = parse("traffic.sidecar.istio.io/includeOutboundPorts", "0,80,00").unwrap();
        assert_eq!(overrides.traffic.include_outbound_ports.as_deref(), Some("80"));
        let overrides = parse("traffic.sidecar.istio.io/includeInboundPorts", "").unwrap();
        assert_eq!(overrides.traffic.include_inbound_ports.as_deref(), Some(""));
        let overrides = parse("traffic.sidecar.istio.io/kubevirtInterfaces", "net1").unwrap();
        assert_eq!(overrides.traffic.reroute_interfaces.as_deref(), Some("net1"));
    }

    #[test]
    fn a_repeated_template_counts_once() {
        for (text, expected) in [
            ("sidecar", Role::Sidecar),
            ("sidecar,sidecar, sidecar", Role::Sidecar),
            ("gateway,gateway", Role::Gateway),
        ] {
            assert_eq!(parse("inject.istio.io/templates", text).unwrap().role, expected, "{text}");
        }
    }

    #[test]
    fn metrics_pages_keep_their_order() {
        let targets = parse(SCRAPE_TARGETS, "8080:/metrics, 9100:/custom?a=b,9200:,").unwrap().scrape_targets;
        let target = |port: &str, path: &str| ScrapeTarget { port: port.into(), path: path.into() };
        assert_eq!(
            targets,
            [target("8080", "/metrics"), target("9100", "/custom?a=b"), target("9200", "/metrics")]
        );
    }

    #[test]
    fn resource_amounts_have_the_form_of_kubernetes() {
        for text in
            ["100m", "0.5", ".5", "2", "+2", "128Mi", "1e3", "1E3", "5E", "1e-2", "500u", "100n", "1Ei"]
        {
            assert_eq!(
                parse("sidecar.istio.io/proxyCPU", text).unwrap().resources.cpu,
                Some(Quantity(text.into()))
            );
        }
        for text in ["", "-1", "1ee3", "1e", "m", "1 Gi", "0x10", "1mm", "1.2.3"] {
            assert!(parse("sidecar.istio.io/proxyCPU", text).is_err(), "{text}");
        }
    }

    #[test]
    fn volumes_are_a_list_or_a_map_by_name() {
        for text in [r#"[{"name":"a","emptyDir":{}}]"#, r#"{"a":{"emptyDir":{}}}"#] {
            let volumes = parse("sidecar.istio.io/userVolume", text).unwrap().volumes;
            assert_eq!(volumes.len(), 1);
            assert_eq!(volumes[0].name, "a");
            assert!(volumes[0].empty_dir.is_some());
        }
    }

    #[test]
    fn an_invalid_boolean_has_istios_meaning_and_is_a_warning() {
        for (name, text, native, rewrite, low, warned) in [
            (NATIVE, "false", Some(false), None, false, false),
            (NATIVE, "yes", Some(true), None, false, true),
            (REWRITE, "F", None, Some(false), false, false),
            (REWRITE, "no", None, None, false, true),
            (LOW_PORTS, "true", None, None, true, false),
            (LOW_PORTS, "yes", None, None, false, true),
        ] {
            let overrides = parse(name, text).unwrap();
            assert_eq!(
                (overrides.native, overrides.rewrite_probes, overrides.bind_low_ports),
                (native, rewrite, low)
            );
            assert_eq!(!overrides.warnings.is_empty(), warned, "{name}={text}: {:?}", overrides.warnings);
        }
    }

    #[test]
    fn an_annotation_without_effect_is_a_warning() {
        let overrides = parse("sidecar.istio.io/bootstrapOverride", "custom").unwrap();
        assert!(overrides.warnings[0].contains("sidecar.istio.io/bootstrapOverride has no effect"));
        for (name, warned) in [
            ("sidecar.istio.io/proxyCpu", true),
            ("traffic.sidecar.istio.io/excludeOutboundPort", true),
            ("inject.istio.io/template", true),
            ("proxy.istio.io/overrides", true),
            ("readiness.status.sidecar.istio.io/applicationPorts", true),
            ("sidecar.istio.io/inject", false),
            ("traffic.sidecar.istio.io/kubevirtInterfaces", false),
            ("example.com/proxyCpu", false),
            ("istio.io/rev", false),
            ("sidecar.istio.io", false),
        ] {
            let warnings = parse(name, "").unwrap().warnings;
            assert_eq!(warnings.len(), usize::from(warned), "{name}: {warnings:?}");
            assert!(warnings.iter().all(|warning| warning.contains(name) && warning.contains("no effect")));
        }
        assert_eq!(parse("sidecar.istio.io/logLevel", "warning").unwrap().log_level.as_deref(), Some("warn"));
    }
}
