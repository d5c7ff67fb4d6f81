//! Two networks that are connected by a cable, for two sidecars that call each other without a mesh around them.

use std::path::Path;
use std::time::Duration;

use crate::program::{self, Running};
use crate::{wait, wire};

/// Starts a program in its own network, inside the user namespace of another process.
pub fn inside(node: u32, program: &Path, arguments: &[&str]) -> Running {
    let program = program.display().to_string();
    let line = ["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\"", &program];
    wire::enter(node, Path::new("unshare"), &[&line[..], arguments].concat())
}

/// Connects the networks of two processes with a veth pair, gives each its address, and sets up the capture of sidecars
/// in both: of service addresses, and of these inbound ports.
pub fn join([(here, own), (there, other)]: [(u32, &str); 2], ports: &str) {
    let id = there.to_string();
    let run = |node: u32, program: &Path, line: &[&str]| {
        let outcome = wire::enter(node, program, line).finish(program::TIMEOUT);
        assert_eq!(outcome.code, 0, "{outcome}");
    };
    let ip = Path::new("ip");
    // The other network exists once its process has executed the program.
    wait::until("the other network is there", Duration::from_secs(10), || {
        let outcome = wire::enter(there, ip, &["link", "show", "lo"]).finish(program::TIMEOUT);
        let up = String::from_utf8_lossy(&outcome.out).contains("LOOPBACK,UP");
        let apart = std::fs::read_link(format!("/proc/{there}/ns/net")).ok()
            != std::fs::read_link(format!("/proc/{here}/ns/net")).ok();
        if up && apart { Ok(()) } else { Err(outcome.to_string()) }
    });
    run(here, ip, &["link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", &id]);
    for (node, address) in [(here, own), (there, other)] {
        let address = format!("{address}/24");
        run(node, ip, &["address", "add", &address, "dev", "cable"]);
        run(node, ip, &["link", "set", "cable", "up"]);
        run(node, ip, &["route", "add", "10.96.0.0/12", "dev", "cable"]);
        let init = ["init", "-i", "10.96.0.0/12", "-b", ports];
        run(node, &program::path("ostria-proxy"), &init);
    }
}
