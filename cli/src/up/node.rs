//! The node's network, through the programs `ip` and `nft`: the node's address, a link to each pod, and the rules that
//! translate services. Pods share no link: the node routes between them. So no pod can speak for another one, whatever it
//! puts on its link: nothing asks there for another's hardware address, and packets that come from a link with an
//! address that is not this pod's are dropped (`rp_filter`).

use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::kubelet::address::{NODE, PODS, hardware};

/// Why the node's network cannot be changed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A setting of the kernel refuses its value.
    #[error("{path} cannot be written: {source}")]
    Setting {
        /// The setting's file.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A program cannot be started or waited for.
    #[error("program {program} cannot be started: {source}")]
    Start {
        /// Its name.
        program: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A program refuses what it is asked for.
    #[error("program {program} failed: {words}")]
    Failed {
        /// Its name.
        program: &'static str,
        /// What it says.
        words: String,
    },
}

/// Gives the node its address and lets packets pass. Addresses of pods that are not there lead nowhere.
pub async fn build(egress: bool) -> Result<(), NodeError> {
    for (setting, value) in SETTINGS {
        let path = format!("/proc/sys/net/{setting}");
        match std::fs::write(&path, value) {
            // A machine without IPv6 gives out no address of it.
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

/// The name of a pod's link on the node.
pub fn interface(number: u64) -> String {
    format!("pod{number:x}")
}

/// Links a pod's namespace to the node, whose hardware address is the same on each link.
pub async fn connect(interface: &str, pid: u32, pod: Ipv4Addr) -> Result<(), NodeError> {
    let (node, own) = (hardware(NODE), hardware(pod));
    let batch = format!(
        "link add {interface} address {node} type veth peer name eth0 address {own} netns {pid}\n\
         link set {interface} up\nneigh replace {pod} lladdr {own} nud permanent dev {interface}\n\
         route add {pod}/32 dev {interface} src {NODE}\n"
    );
    feed("ip", &["-batch", "-"], &batch).await
}

/// Replaces packet rules in one transaction.
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
    // A program that does not read to the end says why in its errors.
    let _ = pipe.write_all(input.as_bytes()).await;
    drop(pipe);
    let output = child.wait_with_output().await.map_err(|source| NodeError::Start { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(NodeError::Failed { program, words: String::from_utf8_lossy(&output.stderr).trim().into() })
}

/// What comes from a link must have an address that leads there. Redirects would teach pods to go around the node, where
/// services are translated. The pods' links take no address of IPv6 by themselves: the mesh's network is one of IPv4.
const SETTINGS: [(&str, &str); 7] = [
    ("ipv4/conf/all/rp_filter", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
];
