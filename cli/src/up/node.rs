//! The node's network, through the programs `ip` and `nft`: a bridge with the node's address, a link to each
//! pod, and the rules that translate services.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::kubelet::address::{NODE, hardware};

/// Makes the bridge and lets packets pass. A bridge without a hardware address of its own takes the lowest of its
/// links, and with each pod that comes or goes the others might send to one that is not there any more.
pub async fn build(egress: bool) -> Result<(), String> {
    for (setting, value) in SETTINGS {
        let path = format!("/proc/sys/net/{setting}");
        match std::fs::write(&path, value) {
            // A machine without IPv6 gives out no address of it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && setting.starts_with("ipv6/") => {}
            result => result.map_err(|error| format!("{path} cannot be written: {error}"))?,
        }
    }
    let mut batch = format!(
        "link set lo up\nlink add ostria0 address {} type bridge\naddr add {NODE}/16 dev ostria0\n\
         link set ostria0 up\n",
        hardware(NODE)
    );
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

/// Links a pod's namespace to the bridge.
pub async fn connect(interface: &str, pid: u32) -> Result<(), String> {
    let batch = format!(
        "link add {interface} type veth peer name eth0 netns {pid}\nlink set {interface} master ostria0 up\n"
    );
    feed("ip", &["-batch", "-"], &batch).await
}

/// Replaces packet rules in one transaction.
pub async fn translate(rules: &str) -> Result<(), String> {
    feed("nft", &["-f", "-"], rules).await
}

async fn feed(program: &str, arguments: &[&str], input: &str) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("program {program} cannot be started: {error}"))?;
    let mut pipe = child.stdin.take().ok_or("no input")?;
    // A program that does not read to the end says why in its errors.
    let _ = pipe.write_all(input.as_bytes()).await;
    drop(pipe);
    let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("program {program} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Redirects would teach pods to go around the node, where services are translated. Neither the bridge nor the pods'
/// links take an address of IPv6 by themselves: the mesh's network is one of IPv4.
const SETTINGS: [(&str, &str); 5] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/default/addr_gen_mode", "1"),
    ("ipv6/conf/default/accept_ra", "0"),
];
