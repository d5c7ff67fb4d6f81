//! Pure. Finds objects that are valid but miss their target: a port by the wrong number, a host by its short form, a
//! percentage of too few endpoints. They are accepted with a warning, since other objects may be added or changed.

use super::Finder;
use crate::catalog::destination_rule::{ClientTls, DestinationRule};
use crate::catalog::kind::Item;
use crate::catalog::kind::peer_authentication::PeerAuthentication;
use crate::catalog::kind::sidecar::{EgressHost, EgressNamespace, Sidecar};
use crate::catalog::route::{GatewayRef, RouteSet, SourceMatch};
use crate::catalog::service::{Resolution, Service, StaticEndpoint};
use crate::catalog::visibility::selects;
use crate::flow::{MtlsMode, Protocol};
use api::resource::document::Key;
use api::resource::kind::Kind;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Finder<'_> {
    /// Warns of PeerAuthentication ports that no pod has. They are pod ports: using the Service's port is a common
    /// mistake, which leaves the pod's port unprotected.
    pub(super) fn policy_ports(&mut self, policy: &PeerAuthentication) {
        let Some(selector) = &policy.selector else { return };
        let pods =
            self.catalog.workloads_in(&self.key.namespace).filter(|pod| selects(selector, &pod.labels));
        let targets: Vec<_> = pods.flat_map(|pod| self.catalog.targets_of(pod)).collect();
        for port in policy.ports.keys().filter(|port| targets.iter().all(|t| t.number != **port)) {
            let Some(suggestion) = targets.iter().find(|t| t.port().number == *port) else { continue };
            let Service { namespace, name, .. } = suggestion.service.as_ref();
            let reason = format!(
                "is the port of service {namespace}/{name}, which targets port {} of these pods: the policy does not apply to that port",
                suggestion.number
            );
            self.warn(
                &format!("spec.portLevelMtls[{port}]"),
                reason,
                &format!("write {}", suggestion.number),
            );
        }
    }

    /// Warns of listed addresses that match no Service by name, or none of its ports by port name.
    pub(super) fn endpoints(&mut self, name: &str, endpoints: &[StaticEndpoint]) {
        let key = Key::new(Kind::Service, &self.key.namespace, name);
        let Some(Item::Service(service)) = self.catalog.item(&key) else {
            let reason = format!("there is no {key}: these endpoints belong to no Service");
            return self.warn("metadata", reason, "apply the Service, or correct the name");
        };
        let service = service.clone();
        let slice = self.key.kind == Kind::EndpointSlice;
        if !slice && service.selector.is_some() {
            let reason = format!("{key} has a selector: its endpoints are the pods that it selects");
            return self.warn("subsets", reason, "remove the selector, or this object");
        }
        let names: BTreeSet<&str> =
            endpoints.iter().flat_map(|e| e.ports.keys()).map(String::as_str).collect();
        let unknown = names.into_iter().filter(|name| service.ports.iter().all(|port| port.name != *name));
        for name in unknown {
            let named = if name.is_empty() { "without a name".to_owned() } else { format!("`{name}`") };
            let reason = format!("{key} has no port {named}: these endpoints get no requests");
            let known: Vec<String> = service.ports.iter().map(|port| format!("`{}`", port.name)).collect();
            let path = if slice { "ports" } else { "subsets[].ports" };
            self.warn(path, reason, &format!("its ports are {}", known.join(", ")));
        }
    }

    /// Warns of hosts in a Sidecar that import nothing.
    pub(super) fn imports(&mut self, sidecar: &Sidecar) {
        let own = &sidecar.origin.namespace;
        let named = |e: &&EgressHost| e.namespace != EgressNamespace::NoNamespace && !e.host.starts_with('*');
        for egress in sidecar.egress.iter().filter(named) {
            let only = Sidecar { egress: vec![egress.clone()], excluded: vec![], ..sidecar.clone() };
            let mut here = self.catalog.services_of_host(&egress.host).iter();
            if here.any(|s| only.imports(own, &s.namespace, &s.host)) {
                continue;
            }
            let routes = self.catalog.shared_route_sets();
            let routed = |set: &Arc<RouteSet>| {
                set.hosts.iter().any(|host| only.imports_route(own, &set.origin.namespace, host))
            };
            if routes.iter().any(routed) {
                continue;
            }
            let reason = format!("host `{}` imports nothing: no service matches it", egress.host);
            let next = match self.suggestion(&egress.host) {
                Some(suggestion) => format!("did you mean {suggestion}?"),
                None => "correct the host or its namespace, or apply the Service".into(),
            };
            self.warn("spec.egress", reason, &next);
        }
    }

    /// Warns of short hosts with a dot in VirtualServices for sidecars. They are not completed: `name.namespace` is a
    /// host of its own, served on port 80 only.
    pub(super) fn short_hosts(&mut self, set: &RouteSet) {
        let mesh = set.gateways.contains(&GatewayRef::Mesh);
        let unknown = |host: &String| mesh && !host.starts_with('*') && !self.catalog.has_host(host);
        let hosts: Vec<_> = set.hosts.iter().enumerate().filter(|(_, host)| unknown(host)).collect();
        for (i, host) in hosts {
            let Some(suggestion) = self.spelled_out(host) else { continue };
            let reason = format!(
                "`{host}` is not a service: it matches only requests to port 80 with this exact host"
            );
            self.warn(&format!("spec.hosts[{i}]"), reason, &format!("did you mean {suggestion}?"));
        }
    }

    /// Warns of ports in a DestinationRule that the service does not have. They are ports of the Service, not of its
    /// pods.
    pub(super) fn rule_ports(&mut self, rule: &DestinationRule) {
        let Some(service) = self.catalog.service(&self.key.namespace, &rule.host).cloned() else { return };
        let subsets = rule.subsets.iter().enumerate();
        let subsets = subsets.map(|(i, s)| (format!("spec.subsets[{i}].trafficPolicy"), &s.policy));
        for (path, policy) in std::iter::once(("spec.trafficPolicy".to_owned(), &rule.policy)).chain(subsets)
        {
            for port in policy.ports.keys().filter(|port| service.port(**port).is_none()) {
                let reason = format!("{} has no port {port}: these settings have no effect", rule.host);
                let next = format!("its ports are {}", numbers(&service));
                self.warn(&format!("{path}.portLevelSettings"), reason, &next);
            }
        }
    }

    /// Warns of settings in a DestinationRule that do not apply to a port because the port has its own settings, which
    /// replace all others.
    pub(super) fn replaced(&mut self, rule: &DestinationRule) {
        let whole = &rule.policy.blocks;
        for (port, own) in &rule.policy.ports {
            let lost = [
                ("loadBalancer", whole.load_balancer.is_some() && own.load_balancer.is_none()),
                ("connectionPool", whole.connection_pool.is_some() && own.connection_pool.is_none()),
                ("outlierDetection", whole.outlier.is_some() && own.outlier.is_none()),
                ("tls", whole.tls.is_some() && own.tls.is_none()),
            ];
            for (field, _) in lost.into_iter().filter(|(_, lost)| *lost) {
                let reason = format!(
                    "does not apply to port {port}, whose portLevelSettings replace all of trafficPolicy"
                );
                self.warn(&format!("spec.trafficPolicy.{field}"), reason, "set it for the port too");
            }
        }
    }

    /// Warns of ports in matches for sidecars that none of the hosts has: no request matches.
    pub(super) fn match_ports(&mut self, set: &RouteSet) {
        let known = |host: &String| self.catalog.service(&self.key.namespace, host).cloned();
        let services: Option<Vec<_>> = set.hosts.iter().map(known).collect();
        let Some(services) = services.filter(|all| !all.is_empty() && set.gateways == [GatewayRef::Mesh])
        else {
            return;
        };
        let absent = |source: &SourceMatch| {
            let port = source.port.filter(|_| source.gateways.is_empty())?;
            services.iter().all(|s| s.alias_of.is_none() && s.port(port).is_none()).then_some(port)
        };
        let mut found: Vec<(String, u16)> = vec![];
        for (i, route) in set.http.iter().enumerate() {
            let ports = route.matches.iter().map(|m| absent(&m.source)).enumerate();
            found.extend(
                ports.filter_map(|(m, port)| Some((format!("spec.http[{i}].match[{m}].port"), port?))),
            );
        }
        for (i, route) in set.tcp.iter().enumerate() {
            let ports = route.matches.iter().map(|m| absent(&m.source)).enumerate();
            found.extend(
                ports.filter_map(|(m, port)| Some((format!("spec.tcp[{i}].match[{m}].port"), port?))),
            );
        }
        for (path, port) in found {
            let next = format!(
                "the ports are {}",
                services.iter().map(|s| numbers(s)).collect::<Vec<_>>().join(", ")
            );
            self.warn(&path, format!("none of the hosts has port {port}: nothing matches"), &next);
        }
    }

    /// Warns of TLS settings that none of the service's pods accepts, by their PeerAuthentications: every request
    /// fails.
    pub(super) fn refused_tls(&mut self, rule: &DestinationRule) {
        let Some(service) = self.catalog.service(&self.key.namespace, &rule.host).cloned() else { return };
        let subsets = rule.subsets.iter().map(|s| s.name.as_str());
        let subsets: Vec<&str> = std::iter::once("").chain(subsets).collect();
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            let modes: Vec<Option<MtlsMode>> = self
                .catalog
                .targets(&service, port)
                .map(|(pod, number)| pod.mtls.then(|| self.catalog.mtls_mode(pod, number)))
                .collect();
            let all = |takes: &dyn Fn(Option<MtlsMode>) -> bool| {
                !modes.is_empty() && modes.iter().all(|mode| takes(*mode))
            };
            let strict = all(&|mode| mode == Some(MtlsMode::Strict));
            let plain = all(&|mode| mode.is_none_or(|mode| mode == MtlsMode::Disable));
            let fails = subsets.iter().find_map(|subset| match rule.effective(port.number, subset).tls {
                Some(ClientTls::Disable | ClientTls::Own { .. }) if strict => {
                    Some("is not mesh mTLS, which these pods require (mode STRICT)")
                }
                Some(ClientTls::Istio { .. }) if plain => {
                    Some("is mesh mTLS, which these pods do not accept (no sidecar, or mode DISABLE)")
                }
                _ => None,
            });
            if let Some(why) = fails {
                let reason = format!("{why}: requests to port {} of {} fail", port.number, rule.host);
                self.warn("spec.trafficPolicy.tls", reason, "remove it: mutual TLS is automatic");
                return;
            }
        }
    }

    /// Warns of routes for a protocol that no port of the host has: no connection reaches them.
    pub(super) fn protocol_mismatch(&mut self, set: &RouteSet) {
        if !set.gateways.contains(&GatewayRef::Mesh) {
            return;
        }
        for host in &set.hosts {
            let Some(service) = self.catalog.service(&self.key.namespace, host).cloned() else { continue };
            let service = service
                .behind(|host| self.catalog.service(&self.key.namespace, host).map(AsRef::as_ref))
                .unwrap_or(&service)
                .clone();
            let has_protocol = |spoken: fn(Protocol) -> bool| {
                service.ports.iter().any(|p| p.protocol == Protocol::Sniffed || spoken(p.protocol))
            };
            let fields = [
                ("http", !set.http.is_empty() && !has_protocol(Protocol::is_http), "HTTP", "http"),
                ("tls", !set.tls.is_empty() && !has_protocol(Protocol::is_tls), "TLS", "https or tls"),
                ("tcp", !set.tcp.is_empty() && !has_protocol(|p| p == Protocol::Tcp), "plain TCP", "tcp"),
            ];
            for (field, _, protocol, prefix) in
                fields.into_iter().filter(|(_, protocol_mismatch, ..)| *protocol_mismatch)
            {
                let reason = format!("has no effect for {host}: none of its ports is {protocol}");
                let next = format!("set appProtocol of a port, or begin its name with {prefix}");
                self.warn(&format!("spec.{field}"), reason, &next);
            }
        }
    }

    /// Warns of services with too few endpoints for `maxEjectionPercent`: none is ever ejected.
    pub(super) fn ejection(&mut self, rule: &DestinationRule) {
        let Some(service) = self.catalog.service(&self.key.namespace, &rule.host).cloned() else { return };
        // Only the proxy knows how many addresses a name resolves to.
        if service.resolution == Resolution::Dns {
            return;
        }
        let whole = ("spec.trafficPolicy".to_owned(), &rule.policy, None);
        let subsets = rule.subsets.iter().enumerate();
        let subsets =
            subsets.map(|(i, s)| (format!("spec.subsets[{i}].trafficPolicy"), &s.policy, Some(&s.labels)));
        for (path, policy, labels) in std::iter::once(whole).chain(subsets) {
            let Some(rules) = policy.blocks.outlier.map(|o| o.outlier) else { continue };
            let chosen = |port| {
                let all = self.catalog.endpoints(&service, port).into_iter();
                all.filter(|e| labels.is_none_or(|labels| selects(labels, &e.labels))).count()
            };
            let most = service.ports.iter().map(chosen).max().unwrap_or_default();
            if most > 0 && most * (rules.max_percent as usize) < 100 {
                let percent = rules.max_percent;
                let reason = format!("ejects nothing: {percent} % of {most} endpoint(s) is less than one");
                let next = format!("set maxEjectionPercent to {} or more", 100_usize.div_ceil(most));
                self.warn(&format!("{path}.outlierDetection"), reason, &next);
            }
        }
    }
}

/// Lists the ports of a service.
fn numbers(service: &Service) -> String {
    service.ports.iter().map(|port| port.number.to_string()).collect::<Vec<_>>().join(", ")
}
