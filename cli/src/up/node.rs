//! The node's network, set up with the programs `ip` and `nft`: the node's address, a link to each pod, and the rules
//! that translate Services. Pods share no link; the node routes between them. So no pod can impersonate another pod
//! with packets on its link: there is no neighbour discovery for other pods' addresses, and the node drops packets
//! whose source address does not belong to the link's pod (`rp_filter`).

use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::kubelet::address::{NODE, PODS, hardware};

/// Why the node's network cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The kernel rejected a setting.
    #[error("{path} cannot be written: {source}")]
    Setting {
        /// The file of the setting.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A program cannot be started or waited for.
    #[error("program {program} cannot be started: {source}")]
    Start {
        /// Name of the program.
        program: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("program {program} failed: {words}")]
    Failed {
        /// Name of the program.
        program: &'static str,
        /// Its error output.
        words: String,
    },
}

/// Sets the node's address and enables forwarding. Packets to addresses in the pods' range without a pod are
/// unreachable.
pub async fn build(egress: bool) -> Result<(), NodeError> {
    for (setting, value) in SETTINGS {
        let path = format!("/proc/sys/net/{setting}");
        match std::fs::write(&path, value) {
            // A kernel without IPv6 assigns no IPv6 addresses, so the setting is not needed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && setting.starts_with("ipv6/") => {}
            result => result.map_err(|source| NodeError::Setting { path, source })?,
        }
    }
    let (first, bits) = PODS;
    let mut batch =
        format!("link set lo up\naddr add {NODE}/32 dev lo\nroute add unreachable {first}/{bits}\n");
    if egress {
        batch.push_str("addr add 169.254.244.2/30 dev ostria-out\nlink set ostria-out up\n");
        batch.push_str("route add default via 169.254.244.1\n");
    }
    feed("ip", &["-batch", "-"], &batch).await?;
    if egress {
        let rules = "table ip ostria-out {\n chain post { type nat hook postrouting priority 100; oifname \"ostria-out\" masquerade; }\n}\n";
        translate(rules).await?;
    }
    Ok(())
}

/// Name of a pod's link on the node.
pub fn interface(number: u64) -> String {
    format!("pod{number:x}")
}

/// Connects a pod's namespace to the node. The node has the same hardware address on each link.
pub async fn connect(interface: &str, pid: u32, pod: Ipv4Addr) -> Result<(), NodeError> {
    let (node, own) = (hardware(NODE), hardware(pod));
    let batch = format!(
        "link add {interface} address {node} type veth peer name eth0 address {own} netns {pid}\n\
         link set {interface} up\nneigh replace {pod} lladdr {own} nud permanent dev {interface}\n\
         route add {pod}/32 dev {interface} src {NODE}\n"
    );
    feed("ip", &["-batch", "-"], &batch).await
}

/// Replaces the packet rules in one transaction.
pub async fn translate(rules: &str) -> Result<(), NodeError> {
    feed("nft", &["-f", "-"], rules).await
}

async fn feed(program: &'static str, arguments: &[&str], input: &str) -> Result<(), NodeError> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| NodeError::Start { program, source })?;
    let mut pipe = child.stdin.take().expect("input is piped");
    // If the program stops reading early, its error output has the reason.
    let _ = pipe.write_all(input.as_bytes()).await;
    drop(pipe);
    let output = child.wait_with_output().await.map_err(|source| NodeError::Start { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(NodeError::Failed { program, words: String::from_utf8_lossy(&output.stderr).trim().into() })
}

/// Packets from a link must have a source address that routes back to this link. Redirects are off because they would
/// teach pods to bypass the node, which translates Services. Links get no automatic IPv6 addresses, because the mesh's
/// network is IPv4 only.
const SETTINGS: [(&str, &str); 7] = [
    ("ipv4/conf/all/rp_filter", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
];
