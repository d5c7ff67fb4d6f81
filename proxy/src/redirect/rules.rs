//! Pure. Generates one nftables script from the settings. The chains have Istio's names and order, because the
//! order determines the behaviour: the proxy's own packets must return before any rule redirects them, and a
//! connection of a pod to its own service must pass its inbound side once.

use std::{iter, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::redirect::settings::{Dns, Selection, Settings};

/// Facts about the pod that the flags do not specify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// The pod's name servers.
    pub nameservers: Vec<IpAddr>,
    /// How IPv6 is handled.
    pub ipv6: Ipv6,
}

/// How IPv6 is handled. It never passes uncaptured: a pod has a link-local address even if the cluster assigns IPv4
/// addresses only, and an authorization policy that IPv6 bypasses is ineffective.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ipv6 {
    /// IPv6 is captured like IPv4.
    #[default]
    Captured,
    /// IPv6 is dropped in both directions: the pod has no IPv6 on its loopback interface, so the proxy cannot serve
    /// it.
    Dropped,
}

/// Removes the table; it is not an error if the table does not exist.
pub const REMOVAL: &str = "add table inet ostria\ndelete table inet ostria\n";

/// The port on which the proxy serves DNS.
pub const DNS_PORT: u16 = 15053;

/// The whole rule set as one transaction that replaces the previous one.
pub fn script(settings: &Settings, pod: &PodFacts) -> String {
    let writer = Writer { settings, pod };
    let mut script = REMOVAL.to_owned();
    script.push_str("table inet ostria {\n");
    for chain in writer.chains() {
        chain.write_to(&mut script);
    }
    script.push_str("}\n");
    script
}

struct Writer<'a> {
    settings: &'a Settings,
    pod: &'a PodFacts,
}

impl Writer<'_> {
    fn chains(&self) -> Vec<Chain> {
        let mut chains = vec![self.prerouting(), self.output(), self.inbound(), self.outbound(), self.own()];
        if self.settings.dns != Dns::Off {
            chains.push(self.dns());
            chains.push(self.dns_zones_out());
            chains.push(self.dns_zones_in());
        }
        if !self.captures_ipv6() {
            chains.extend(self.ipv6_drops());
        }
        chains.push(Chain::to_port("istio_in_redirect", self.settings.inbound_port));
        chains.push(Chain::to_port("istio_redirect", self.settings.outbound_port));
        if self.settings.drop_invalid {
            let mut chain = Chain::hook("drop_invalid", "filter hook prerouting priority -150");
            chain.rule("ct state invalid drop");
            chains.push(chain);
        }
        chains
    }

    fn prerouting(&self) -> Chain {
        let mut chain = Chain::hook("prerouting", "nat hook prerouting priority -100");
        self.leave_ipv6(&mut chain);
        if let Some(names) = names(&self.settings.excluded_interfaces) {
            chain.rule(format!("iifname {names} return"));
        }
        if let Some(names) = names(&self.settings.virtual_interfaces) {
            for to in self.captured_destinations() {
                chain.rule(joined(&[&format!("iifname {names}"), &to, "goto istio_redirect"]));
            }
            chain.rule(format!("iifname {names} return"));
        }
        chain.rule("meta l4proto tcp goto istio_inbound");
        chain
    }

    fn output(&self) -> Chain {
        let mut chain = Chain::hook("output", "nat hook output priority -100");
        self.leave_ipv6(&mut chain);
        let protocols = if self.settings.dns == Dns::Off { "tcp" } else { "{ tcp, udp }" };
        chain.rule(format!("meta l4proto {protocols} goto istio_output"));
        chain
    }

    /// Leaves IPv6 alone if it is dropped elsewhere: the remaining IPv6 traffic is on the loopback interface.
    fn leave_ipv6(&self, chain: &mut Chain) {
        if !self.captures_ipv6() {
            chain.rule("meta nfproto ipv6 return");
        }
    }

    fn captures_ipv6(&self) -> bool {
        self.pod.ipv6 == Ipv6::Captured
    }

    /// Drops IPv6 in the directions in which IPv4 is captured. The inbound chain hooks into prerouting rather than
    /// input, so that packets which the pod forwards (to a virtual machine) are dropped too.
    fn ipv6_drops(&self) -> Vec<Chain> {
        let inbound = !matches!(&self.settings.inbound, Selection::Only(ports) if ports.is_empty());
        let no_ranges = matches!(&self.settings.outbound, Selection::Only(nets) if nets.is_empty());
        let outbound = !no_ranges || !self.settings.outbound_ports.is_empty();
        let ways = [
            (inbound, "ipv6_in", "filter hook prerouting priority -300", "iifname"),
            (outbound, "ipv6_out", "filter hook output priority -300", "oifname"),
        ];
        let captured = ways.into_iter().filter(|(captured, ..)| *captured);
        captured.map(|(_, name, hook, interface)| self.ipv6_drop(name, hook, interface)).collect()
    }

    fn ipv6_drop(&self, name: &'static str, hook: &'static str, interface: &str) -> Chain {
        let mut chain = Chain::hook(name, hook);
        if let Some(names) = names(&self.settings.excluded_interfaces) {
            chain.rule(format!("{interface} {names} return"));
        }
        chain.rule(format!("meta nfproto ipv6 {interface} != \"lo\" drop"));
        chain
    }

    fn inbound(&self) -> Chain {
        let mut chain = Chain::plain("istio_inbound");
        chain.rule(format!("tcp dport {} return", self.settings.tunnel_port));
        match &self.settings.inbound {
            Selection::All => {
                if let Some(ports) = elements(&self.settings.inbound_except) {
                    chain.rule(format!("tcp dport {ports} return"));
                }
                chain.rule("goto istio_in_redirect");
            }
            Selection::Only(ports) => {
                if let Some(ports) = elements(ports) {
                    chain.rule(format!("tcp dport {ports} goto istio_in_redirect"));
                }
            }
        }
        chain
    }

    fn outbound(&self) -> Chain {
        let mut chain = Chain::plain("istio_output");
        if let Some(names) = names(&self.settings.excluded_interfaces) {
            chain.rule(format!("oifname {names} return"));
        }
        if let Some(ports) = elements(&self.settings.outbound_ports_except) {
            chain.rule(format!("tcp dport {ports} return"));
        }
        // The proxy connects to its application from these addresses.
        chain.rule("oifname \"lo\" ip saddr 127.0.0.6 return");
        chain.rule_if(self.captures_ipv6(), "oifname \"lo\" ip6 saddr ::6 return");
        for own in self.own_packets() {
            chain.rule(format!("{own} goto istio_own"));
        }
        if !self.settings.captures_loopback() {
            let unless_dns = if self.settings.dns == Dns::Off { "" } else { "th dport != 53 " };
            chain.rule(format!("oifname \"lo\" {unless_dns}return"));
        }
        self.owner_groups(&mut chain);
        if self.settings.dns != Dns::Off {
            chain.rule("th dport 53 jump istio_output_dns");
            chain.rule("meta l4proto udp return");
        }
        self.destinations(&mut chain);
        chain
    }

    fn owner_groups(&self, chain: &mut Chain) {
        if let Selection::Only(groups) = &self.settings.groups {
            match elements(groups) {
                Some(groups) => chain.rule(format!("meta skgid != {groups} return")),
                None => chain.rule("return"),
            }
        }
        if let Some(groups) = elements(&self.settings.groups_except) {
            chain.rule(format!("meta skgid {groups} return"));
        }
    }

    fn destinations(&self, chain: &mut Chain) {
        chain.rule("ip daddr 127.0.0.1 return");
        chain.rule_if(self.captures_ipv6(), "ip6 daddr ::1 return");
        for to in self.addresses("daddr", self.settings.outbound_except.iter().copied()) {
            chain.rule(format!("{to} return"));
        }
        if let Some(ports) = elements(&self.settings.outbound_ports) {
            chain.rule(format!("tcp dport {ports} goto istio_redirect"));
        }
        for to in self.captured_destinations() {
            chain.rule(joined(&[&to, "goto istio_redirect"]));
        }
    }

    /// Handles the proxy's own connections. A connection of the proxy to its own pod is a call of the application
    /// to its own service, and goes through the inbound side; all other traffic of the proxy leaves unchanged.
    fn own(&self) -> Chain {
        let mut chain = Chain::plain("istio_own");
        let tunnel = self.settings.tunnel_port;
        let ports =
            if self.settings.dns == Dns::Off { tunnel.to_string() } else { format!("{{ 53, {tunnel} }}") };
        let mut elsewhere = vec!["ip daddr != 127.0.0.1"];
        if self.captures_ipv6() {
            // The application's connections to a link-local address of its own pod are never captured, so a
            // connection of the proxy to such an address delivers a request to the application. It cannot come from
            // `::6`, which is on another interface.
            elsewhere.push("ip6 daddr != { ::1, fe80::/10 }");
        }
        for to in elsewhere {
            chain.rule(format!("oifname \"lo\" {to} tcp dport != {ports} goto istio_in_redirect"));
        }
        chain
    }

    fn dns(&self) -> Chain {
        let mut chain = Chain::plain("istio_output_dns");
        for to in self.dns_servers("daddr") {
            for protocol in ["udp", "tcp"] {
                chain.rule(joined(&[&to, &format!("{protocol} dport 53 redirect to :{DNS_PORT}")]));
            }
        }
        chain
    }

    /// The application and the proxy may query the same server from the same port within one conntrack lifetime.
    /// Conntrack zones keep the two flows apart; without them the proxy's query would be redirected to the proxy.
    fn dns_zones_out(&self) -> Chain {
        let mut chain = Chain::hook("dns_zones_out", "filter hook output priority -300");
        chain.rule(format!("udp sport {DNS_PORT} ct zone set 2 return"));
        for own in self.own_packets() {
            chain.rule(format!("udp dport 53 {own} ct zone set 1 return"));
        }
        for to in self.dns_servers("daddr") {
            chain.rule(joined(&[&to, "udp dport 53 ct zone set 2"]));
        }
        chain
    }

    fn dns_zones_in(&self) -> Chain {
        let mut chain = Chain::hook("dns_zones_in", "filter hook prerouting priority -300");
        for from in self.dns_servers("saddr") {
            chain.rule(joined(&[&from, "udp sport 53 ct zone set 1"]));
        }
        chain
    }

    /// Matches for the captured name servers, one per IP family; one empty match if every server is captured.
    fn dns_servers(&self, end: &str) -> Vec<String> {
        match self.settings.dns {
            Dns::All => vec![String::new()],
            Dns::Off | Dns::Configured => {
                self.addresses(end, self.pod.nameservers.iter().copied().map(IpNet::from))
            }
        }
    }

    fn captured_destinations(&self) -> Vec<String> {
        match &self.settings.outbound {
            Selection::All => vec!["meta l4proto tcp".to_owned()],
            Selection::Only(nets) => self
                .addresses("daddr", nets.iter().copied())
                .into_iter()
                .map(|to| format!("{to} meta l4proto tcp"))
                .collect(),
        }
    }

    fn own_packets(&self) -> Vec<String> {
        let own = &self.settings.own;
        let mut matches = Vec::new();
        matches.extend(elements(&own.uids).map(|uids| format!("meta skuid {uids}")));
        matches.extend(elements(&own.gids).map(|gids| format!("meta skgid {gids}")));
        matches.push(format!("meta mark {:#x}", own.mark));
        matches
    }

    /// Matches for address ranges, one per IP family. Ranges are merged because a set must not contain overlaps.
    fn addresses(&self, end: &str, nets: impl Iterator<Item = IpNet>) -> Vec<String> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for net in nets {
            match net {
                IpNet::V4(net) => v4.push(net),
                IpNet::V6(net) => v6.push(net),
            }
        }
        if !self.captures_ipv6() {
            v6.clear();
        }
        let v4 = elements(&Ipv4Net::aggregate(&v4)).map(|set| format!("ip {end} {set}"));
        let v6 = elements(&Ipv6Net::aggregate(&v6)).map(|set| format!("ip6 {end} {set}"));
        v4.into_iter().chain(v6).collect()
    }
}

struct Chain {
    name: &'static str,
    hook: Option<&'static str>,
    rules: Vec<String>,
}

impl Chain {
    fn plain(name: &'static str) -> Self {
        Self { name, hook: None, rules: Vec::new() }
    }

    fn hook(name: &'static str, hook: &'static str) -> Self {
        Self { name, hook: Some(hook), rules: Vec::new() }
    }

    fn to_port(name: &'static str, port: u16) -> Self {
        let mut chain = Self::plain(name);
        chain.rule(format!("meta l4proto tcp redirect to :{port}"));
        chain
    }

    fn rule(&mut self, rule: impl Into<String>) {
        self.rules.push(rule.into());
    }

    fn rule_if(&mut self, applies: bool, rule: &str) {
        if applies {
            self.rule(rule);
        }
    }

    fn write_to(&self, script: &mut String) {
        let hook = self.hook.map(|hook| format!("type {hook}; policy accept;"));
        let opening = format!("\tchain {} {{", self.name);
        let lines = hook.iter().chain(&self.rules).map(|line| format!("\t\t{line}"));
        for line in iter::once(opening).chain(lines).chain(["\t}".to_owned()]) {
            script.push_str(&line);
            script.push('\n');
        }
    }
}

fn joined(parts: &[&str]) -> String {
    parts.iter().copied().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// An anonymous set; `None` without elements, because an empty set is a syntax error.
fn elements<'a, T: ToString + 'a>(items: impl IntoIterator<Item = &'a T>) -> Option<String> {
    let items: Vec<String> = items.into_iter().map(ToString::to_string).collect();
    (!items.is_empty()).then(|| format!("{{ {} }}", items.join(", ")))
}

fn names<'a>(items: impl IntoIterator<Item = &'a String>) -> Option<String> {
    elements(&items.into_iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>())
}
