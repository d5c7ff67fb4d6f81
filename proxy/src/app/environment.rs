//! Reads from the machine the inputs of the settings.

use crate::config::Raw;
use nix::ifaddrs::getifaddrs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// Reads the environment, the pod's labels and annotations, and the CPU limit.
pub(super) fn raw(podinfo: &Path) -> Raw {
    let file = |name: &str| std::fs::read_to_string(podinfo.join(name)).unwrap_or_default();
    Raw {
        environment: std::env::vars().collect(),
        labels: file("labels"),
        annotations: file("annotations"),
        cpu_limit: cpu_limit(),
    }
}

/// This machine's first IPv4 address that other machines can reach, determined as Envoy does.
pub(super) fn address() -> IpAddr {
    let all = getifaddrs().into_iter().flatten().filter_map(|interface| interface.address);
    let mut all = all.filter_map(|address| Some(address.as_sockaddr_in()?.ip()));
    all.find(|address| !address.is_loopback()).unwrap_or(Ipv4Addr::LOCALHOST).into()
}

/// The CPU limit of this process's control group, version 2 or 1, in cores.
pub(super) fn cpu_limit() -> Option<f64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    if let Some(text) = read("/sys/fs/cgroup/cpu.max") {
        return parse_cpu_max(&text);
    }
    let quota = read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")?;
    let period = read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?;
    parse_cpu_max(&format!("{} {}", quota.trim(), period.trim()))
}

/// Parses `quota period`; `max` or a negative quota means no limit.
fn parse_cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_limit_is_quota_by_period() {
        for (text, expected) in [
            ("200000 100000\n", Some(2.0)),
            ("50000 100000", Some(0.5)),
            ("max 100000", None),
            ("-1 100000", None),
            ("", None),
        ] {
            assert_eq!(parse_cpu_max(text), expected, "{text}");
        }
    }
}
