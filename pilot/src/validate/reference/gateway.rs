//! Pure. Checks that clients can reach the ports of a Gateway: the pods that it selects listen on any port, but clients outside
//! of the cluster come through their Service.

use super::Finder;
use crate::catalog::gateway::Gateway;
use crate::catalog::visibility::selects;
use std::collections::BTreeSet;

impl Finder<'_> {
    /// Warns of ports that no Service of the selected pods has. Without any Service, the pods are reached in another way;
    /// a Gateway that names its Services is made for them.
    pub(super) fn gateway_ports(&mut self, gateway: &Gateway) {
        let pods =
            self.catalog.workloads().filter(|pod| selects(&gateway.selector, &pod.labels) && !pod.finished);
        let targets: Vec<_> = pods.flat_map(|pod| self.catalog.gateway_targets(pod)).collect();
        if targets.is_empty() || gateway.services.is_some() {
            return;
        }
        for (i, server) in gateway.servers.iter().enumerate() {
            let is_reached = |number| number == server.port;
            if targets.iter().any(|target| is_reached(target.port) || is_reached(target.number)) {
                continue;
            }
            let hosts: BTreeSet<&str> = targets.iter().map(|target| target.host.as_str()).collect();
            let ports: BTreeSet<u16> = targets.iter().map(|target| target.port).collect();
            let listed = |all: Vec<String>| all.join(", ");
            let hosts = listed(hosts.into_iter().map(str::to_owned).collect());
            let ports = listed(ports.iter().map(ToString::to_string).collect());
            let reason = format!(
                "{} is not a port of {hosts}: only clients of the pods' addresses reach it",
                server.port
            );
            let next = format!("add the port to the Service of the gateway, whose ports are {ports}");
            self.warn(&format!("spec.servers[{i}].port.number"), reason, &next);
        }
    }
}
