//! The command line of `ostria-proxy init`: the flags of `istio-iptables`, with its environment fallbacks. Only
//! collects text; `settings` parses it, so that errors can name the flag.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser};

/// Flags of `ostria-proxy init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Port to which outbound TCP connections are redirected
    #[arg(short = 'p', long, env = "ENVOY_PORT", default_value_t = 15001, value_name = "PORT")]
    pub envoy_port: u16,
    /// Port to which inbound TCP connections are redirected
    #[arg(short = 'z', long, env = "INBOUND_CAPTURE_PORT", default_value_t = 15006, value_name = "PORT")]
    pub inbound_capture_port: u16,
    /// Port of inbound tunnels (HBONE), never redirected
    #[arg(short = 'e', long, env = "INBOUND_TUNNEL_PORT", default_value_t = 15008, value_name = "PORT")]
    pub inbound_tunnel_port: u16,
    /// User ids of the proxy, comma separated; their traffic is not captured
    #[arg(short = 'u', long, env = "PROXY_UID", default_value = "1337", value_name = "UIDS")]
    pub proxy_uid: String,
    /// Group ids of the proxy, comma separated; their traffic is not captured
    #[arg(short = 'g', long, env = "PROXY_GID", default_value = "1337", value_name = "GIDS")]
    pub proxy_gid: String,
    /// How inbound connections are intercepted; only REDIRECT is available
    #[arg(
        short = 'm',
        long,
        env = "ISTIO_INBOUND_INTERCEPTION_MODE",
        default_value = "REDIRECT",
        value_name = "MODE"
    )]
    pub istio_inbound_interception_mode: String,
    /// Inbound ports to capture, comma separated; * for all, empty for none
    #[arg(short = 'b', long, env = "ISTIO_INBOUND_PORTS", default_value = "*", value_name = "PORTS")]
    pub istio_inbound_ports: String,
    /// Inbound ports to leave alone when all others are captured
    #[arg(
        short = 'd',
        long,
        env = "ISTIO_LOCAL_EXCLUDE_PORTS",
        default_value = "15090,15021,15020",
        value_name = "PORTS"
    )]
    pub istio_local_exclude_ports: String,
    /// Destination ranges to capture outbound, comma separated CIDRs; * for all, empty for none
    #[arg(short = 'i', long, env = "ISTIO_SERVICE_CIDR", default_value = "*", value_name = "CIDRS")]
    pub istio_service_cidr: String,
    /// Destination ranges to leave alone outbound
    #[arg(short = 'x', long, env = "ISTIO_SERVICE_EXCLUDE_CIDR", default_value = "", value_name = "CIDRS")]
    pub istio_service_exclude_cidr: String,
    /// Outbound ports captured whatever their address
    #[arg(short = 'q', long, env = "ISTIO_OUTBOUND_PORTS", default_value = "", value_name = "PORTS")]
    pub istio_outbound_ports: String,
    /// Outbound ports to leave alone
    #[arg(
        short = 'o',
        long,
        env = "ISTIO_LOCAL_OUTBOUND_PORTS_EXCLUDE",
        default_value = "",
        value_name = "PORTS"
    )]
    pub istio_local_outbound_ports_exclude: String,
    /// Interfaces (of virtual machines) whose inbound traffic is treated as outbound
    #[arg(
        short = 'k',
        long = "istio-reroute-virtual-interfaces",
        visible_alias = "kube-virt-interfaces",
        env = "KUBE_VIRT_INTERFACES",
        default_value = "",
        value_name = "NAMES"
    )]
    pub reroute_virtual_interfaces: String,
    /// Interfaces whose traffic is left alone
    #[arg(short = 'c', long, env = "ISTIO_EXCLUDE_INTERFACES", default_value = "", value_name = "NAMES")]
    pub istio_exclude_interfaces: String,
    /// Packet mark of the proxy's own sockets
    #[arg(short = 't', long, env = "INBOUND_TPROXY_MARK", default_value_t = 1337, value_name = "MARK")]
    pub istio_inbound_tproxy_mark: u32,
    /// Routing table for TPROXY; accepted and not needed for REDIRECT
    #[arg(short = 'r', long, env = "INBOUND_TPROXY_ROUTE_TABLE", default_value_t = 133, hide = true)]
    pub istio_inbound_tproxy_route_table: u32,
    /// Print the rules and change nothing
    #[arg(short = 'n', long, env = "DRY_RUN", value_parser = BoolishValueParser::new())]
    pub dry_run: bool,
    /// Redirect DNS queries for the configured name servers to the proxy
    #[arg(long, env = "ISTIO_META_DNS_CAPTURE", value_parser = BoolishValueParser::new())]
    pub redirect_dns: bool,
    /// Redirect every DNS query, whatever server it is for
    #[arg(long, env = "CAPTURE_ALL_DNS", value_parser = BoolishValueParser::new())]
    pub capture_all_dns: bool,
    /// Drop packets that connection tracking calls invalid
    #[arg(long, env = "INVALID_DROP", value_parser = BoolishValueParser::new())]
    pub drop_invalid: bool,
    /// Make a test connection and fail if it is not captured
    #[arg(long, env = "RUN_VALIDATION", value_parser = BoolishValueParser::new())]
    pub run_validation: bool,
    /// Leave the rules as they are (with --run-validation: check only)
    #[arg(long, env = "SKIP_RULE_APPLY", value_parser = BoolishValueParser::new())]
    pub skip_rule_apply: bool,
    /// Capture IPv6 even where the loopback interface does not have it (else it is dropped there)
    #[arg(long, env = "DUAL_STACK", value_parser = BoolishValueParser::new())]
    pub dual_stack: bool,
    /// Accepted for compatibility: rules are always replaced as a whole
    #[arg(long, hide = true)]
    pub force_apply: bool,
    /// Accepted for compatibility: rules are always replaced as a whole
    #[arg(long, hide = true)]
    pub reconcile: bool,
    /// Accepted for compatibility: rules are always nftables
    #[arg(long, hide = true)]
    pub native_nftables: bool,
    /// Remove the rules and do nothing else
    #[arg(long, visible_alias = "clean", env = "CLEANUP_ONLY", value_parser = BoolishValueParser::new())]
    pub cleanup_only: bool,
    /// Groups whose traffic is captured, comma separated names or ids; * for all
    #[arg(long, env = "ISTIO_OUTBOUND_OWNER_GROUPS", default_value = "*", value_name = "GROUPS")]
    pub outbound_owner_groups: String,
    /// Groups whose traffic is left alone
    #[arg(long, env = "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE", default_value = "", value_name = "GROUPS")]
    pub outbound_owner_groups_exclude: String,
    /// File that lists the name servers of this pod
    #[arg(long, default_value = "/etc/resolv.conf", value_name = "FILE")]
    pub resolv_conf: PathBuf,
    /// Port to which --run-validation connects
    #[arg(
        long = "iptables-probe-port",
        env = "IPTABLES_PROBE_PORT",
        default_value_t = 15002,
        value_name = "PORT"
    )]
    pub probe_port: u16,
    /// Seconds that --run-validation waits
    #[arg(long = "probe-timeout", env = "PROBE_TIMEOUT", default_value = "5s", value_parser = seconds)]
    pub probe_timeout: u64,
    /// Accepted for compatibility: the verbosity of logs
    #[arg(long = "log_output_level", visible_alias = "log-level", hide = true)]
    pub log_output_level: Option<String>,
}

impl InitArgs {
    /// The time limit of the test connection of `--run-validation`.
    pub fn probe_timeout(&self) -> Duration {
        Duration::from_secs(self.probe_timeout)
    }
}

/// Parses `5s` or `5`.
fn seconds(text: &str) -> Result<u64, String> {
    match text.strip_suffix('s').unwrap_or(text).parse() {
        Ok(0) | Err(_) => Err("expected a whole number of seconds of at least 1, as 5s".to_owned()),
        Ok(seconds) => Ok(seconds),
    }
}
