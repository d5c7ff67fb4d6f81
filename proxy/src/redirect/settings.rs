//! Pure. Parses the flags of `init`. Everything that goes into a rule is parsed here, so no text of a pod's
//! annotation reaches `nft` unless it is a number, an address range or a plain name.

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::redirect::{args::InitArgs, error::RedirectError};

/// Which traffic to capture, and which to leave alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The port to which outbound connections are redirected.
    pub outbound_port: u16,
    /// The port to which inbound connections are redirected.
    pub inbound_port: u16,
    /// The port of inbound tunnels, which is never captured.
    pub tunnel_port: u16,
    /// How the proxy's own packets are recognized.
    pub own: Own,
    /// Inbound ports to capture.
    pub inbound: Selection<u16>,
    /// Inbound ports to leave alone when all others are captured.
    pub inbound_except: BTreeSet<u16>,
    /// Outbound destinations to capture.
    pub outbound: Selection<IpNet>,
    /// Outbound destinations to leave alone.
    pub outbound_except: BTreeSet<IpNet>,
    /// Outbound ports to capture whatever the address.
    pub outbound_ports: BTreeSet<u16>,
    /// Outbound ports to leave alone.
    pub outbound_ports_except: BTreeSet<u16>,
    /// Interfaces whose inbound traffic is treated as outbound.
    pub virtual_interfaces: BTreeSet<String>,
    /// Interfaces to leave alone.
    pub excluded_interfaces: BTreeSet<String>,
    /// Owner groups whose traffic is captured.
    pub groups: Selection<String>,
    /// Owner groups whose traffic is left alone.
    pub groups_except: BTreeSet<String>,
    /// Which DNS queries are captured.
    pub dns: Dns,
    /// Whether to drop packets that belong to no valid connection.
    pub drop_invalid: bool,
}

/// Properties that identify the proxy's own traffic; any one of them suffices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// User ids.
    pub uids: BTreeSet<u32>,
    /// Group ids.
    pub gids: BTreeSet<u32>,
    /// The mark that the proxy sets on its sockets; used where a user namespace has a single user ID.
    pub mark: u32,
}

/// Everything, or a list, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection<T> {
    /// Everything, written as `*`.
    All,
    /// Only these elements.
    Only(BTreeSet<T>),
}

/// Which DNS queries are redirected to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dns {
    /// None.
    Off,
    /// Queries to the pod's own name servers.
    Configured,
    /// All queries.
    All,
}

impl Settings {
    /// Parses the flags, or returns the first invalid one.
    pub fn parse(args: &InitArgs) -> Result<Self, RedirectError> {
        require_redirect(&args.istio_inbound_interception_mode)?;
        let groups = selection("ISTIO_OUTBOUND_OWNER_GROUPS", &args.outbound_owner_groups, group)?;
        let groups_except =
            set("ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", &args.outbound_owner_groups_exclude, group)?;
        if groups != Selection::All && !groups_except.is_empty() {
            return Err(setting(
                "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE",
                &args.outbound_owner_groups_exclude,
                "cannot be combined with ISTIO_OUTBOUND_OWNER_GROUPS: use one of the two",
            ));
        }
        Ok(Self {
            outbound_port: port_flag("--envoy-port", args.envoy_port)?,
            inbound_port: port_flag("--inbound-capture-port", args.inbound_capture_port)?,
            tunnel_port: port_flag("--inbound-tunnel-port", args.inbound_tunnel_port)?,
            own: own(args)?,
            inbound: selection("--istio-inbound-ports", &args.istio_inbound_ports, port)?,
            inbound_except: set("--istio-local-exclude-ports", &args.istio_local_exclude_ports, port)?,
            outbound: selection("--istio-service-cidr", &args.istio_service_cidr, cidr)?,
            outbound_except: set("--istio-service-exclude-cidr", &args.istio_service_exclude_cidr, cidr)?,
            outbound_ports: set("--istio-outbound-ports", &args.istio_outbound_ports, port)?,
            outbound_ports_except: set(
                "--istio-local-outbound-ports-exclude",
                &args.istio_local_outbound_ports_exclude,
                port,
            )?,
            virtual_interfaces: set(
                "--istio-reroute-virtual-interfaces",
                &args.reroute_virtual_interfaces,
                interface,
            )?,
            excluded_interfaces: set(
                "--istio-exclude-interfaces",
                &args.istio_exclude_interfaces,
                interface,
            )?,
            groups,
            groups_except,
            dns: dns(args),
            drop_invalid: args.drop_invalid,
        })
    }

    /// Whether the rules depend on the pod's list of name servers.
    pub fn needs_nameservers(&self) -> bool {
        self.dns == Dns::Configured
    }

    /// Whether the flags name loopback ranges explicitly; otherwise loopback is left alone.
    pub fn captures_loopback(&self) -> bool {
        matches!(&self.outbound, Selection::Only(nets) if nets.iter().any(|net| net.addr().is_loopback()))
    }
}

/// Whether a list of excluded interfaces, in the syntax of the annotation or flag, contains the loopback interface.
/// Then no rule applies to connections of a pod to itself, and no test inside the pod can tell whether other
/// connections are captured.
pub fn excludes_loopback(interfaces: &str) -> bool {
    let mut names = interfaces.split(',').map(str::trim);
    names.any(|name| match name.strip_suffix(['+', '*']) {
        Some(beginning) => LOOPBACK.starts_with(beginning),
        None => name == LOOPBACK,
    })
}

fn dns(args: &InitArgs) -> Dns {
    match (args.redirect_dns, args.capture_all_dns) {
        (_, true) => Dns::All,
        (true, false) => Dns::Configured,
        (false, false) => Dns::Off,
    }
}

fn own(args: &InitArgs) -> Result<Own, RedirectError> {
    let own = Own {
        uids: set("--proxy-uid", &args.proxy_uid, id)?,
        gids: set("--proxy-gid", &args.proxy_gid, id)?,
        mark: args.istio_inbound_tproxy_mark,
    };
    if own.mark == 0 {
        return Err(setting(
            "--istio-inbound-tproxy-mark",
            "0",
            "every unmarked packet has mark 0: choose another number, as 1337",
        ));
    }
    Ok(own)
}

fn require_redirect(mode: &str) -> Result<(), RedirectError> {
    match mode {
        "REDIRECT" => Ok(()),
        "TPROXY" => Err(setting(
            "--istio-inbound-interception-mode",
            mode,
            "is not available: use REDIRECT; the caller's address reaches the application in X-Forwarded-For",
        )),
        _ => Err(setting("--istio-inbound-interception-mode", mode, "is not a mode: use REDIRECT")),
    }
}

fn selection<T: Ord>(
    flag: &'static str,
    text: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<Selection<T>, RedirectError> {
    if text.trim() == "*" { Ok(Selection::All) } else { set(flag, text, parse).map(Selection::Only) }
}

fn set<T: Ord>(
    flag: &'static str,
    text: &str,
    parse: fn(&str) -> Result<T, String>,
) -> Result<BTreeSet<T>, RedirectError> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| parse(item).map_err(|reason| setting(flag, item, &reason)))
        .collect()
}

fn setting(flag: &'static str, value: &str, reason: &str) -> RedirectError {
    RedirectError::Setting { flag, value: value.to_owned(), reason: reason.to_owned() }
}

fn port_flag(flag: &'static str, port: u16) -> Result<u16, RedirectError> {
    if port == 0 { Err(setting(flag, "0", "is not a port: use 1 to 65535")) } else { Ok(port) }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("is not a port: use numbers from 1 to 65535, separated by commas".to_owned()),
        Ok(port) => Ok(port),
    }
}

fn id(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "is not a numeric id: use numbers separated by commas, as 1337".to_owned())
}

fn cidr(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>().or_else(|_| text.parse().map(host_net));
    net.map(|net| net.trunc())
        .map_err(|_| "is not an address range: use CIDRs separated by commas, as 10.0.0.0/8".to_owned())
}

fn host_net(address: std::net::IpAddr) -> IpNet {
    IpNet::from(address)
}

/// Parses an interface name. `nft` reads names inside a script, so only characters without a meaning there are allowed.
fn interface(text: &str) -> Result<String, String> {
    let (name, wildcard) = match text.strip_suffix(['+', '*']) {
        Some(name) => (name, "*"),
        None => (text, ""),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | ':');
    if name.is_empty() || name.len() > MAX_INTERFACE_NAME || !name.chars().all(plain) {
        return Err("is not an interface name: use names as eth0, or eth+ for all that begin so".to_owned());
    }
    Ok(format!("{name}{wildcard}"))
}

fn group(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !text.chars().all(plain) {
        return Err("is not a group: use group names or numbers separated by commas".to_owned());
    }
    Ok(text.to_owned())
}

const LOOPBACK: &str = "lo";
/// The kernel's IFNAMSIZ without the terminating zero.
const MAX_INTERFACE_NAME: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_among_excluded_ones() {
        for (names, expected) in [
            ("", false),
            ("eth0", false),
            ("lo0,log+", false),
            ("eth0, lo", true),
            ("l+", true),
            ("+", true),
            ("lo*", true),
        ] {
            assert_eq!(excludes_loopback(names), expected, "{names}");
        }
    }
}
