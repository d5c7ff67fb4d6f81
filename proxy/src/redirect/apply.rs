//! The system calls of traffic capture: passes a script to `nft`, and reads the pod's name servers and addresses.
//! Makes no decisions; turns failures into errors that say what to do.

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::redirect::{error::RedirectError, rules::Ipv6};

/// Passes `script` to `nft` as one transaction: either all of it is applied, or nothing.
pub fn apply(script: &str) -> Result<(), RedirectError> {
    let output = feed(script).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RedirectError::NftMissing,
        _ => RedirectError::NftNotRun(error),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if message.contains("Operation not permitted") || message.contains("you must be root") {
        return Err(RedirectError::NotPermitted);
    }
    Err(RedirectError::NftRefused { status: output.status.to_string(), message })
}

fn feed(script: &str) -> io::Result<Output> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().expect("standard input was asked to be a pipe");
    // If `nft` ends before it has read the whole script, its output explains why, which is more useful than a
    // broken pipe.
    let written = input.write_all(script.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    if output.status.success() {
        written?;
    }
    Ok(output)
}

/// The name servers listed in `path`, or the local ones that resolvers use if it lists none.
pub fn nameservers(path: &Path) -> Result<Vec<IpAddr>, RedirectError> {
    let text = fs::read_to_string(path)
        .map_err(|source| RedirectError::NameServers { path: path.to_owned(), source })?;
    Ok(parse_nameservers(&text))
}

fn parse_nameservers(text: &str) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next());
        // A zone (fe80::1%eth0) cannot be part of a rule; the address alone identifies the server there.
        let address = address.and_then(|word| word.split('%').next()?.parse().ok());
        servers.extend(address.filter(|address| !servers.contains(address)));
    }
    if servers.is_empty() {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    servers
}

/// How IPv6 is handled in this network namespace: it is captured if the loopback interface has an IPv6 address,
/// because the proxy accepts redirected connections there.
///
/// Reads the file of the current thread: `/proc/net` would show the namespace in which the process started.
pub fn ipv6() -> Ipv6 {
    let addresses = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    if has_loopback(&addresses) { Ipv6::Captured } else { Ipv6::Dropped }
}

/// Whether the loopback address is listed. Each line holds address, interface index, prefix length, scope, flags
/// and name.
fn has_loopback(text: &str) -> bool {
    let loopback = format!("{:032x}", Ipv6Addr::LOCALHOST.to_bits());
    text.lines().any(|line| line.split_whitespace().next() == Some(&loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_are_read_as_resolvers_read_them() {
        let table: [(&str, &[&str]); 5] = [
            ("nameserver 10.0.0.10\nsearch a.b\noptions ndots:5\n", &["10.0.0.10"]),
            ("# nameserver 1.1.1.1\n  nameserver\t8.8.8.8 \nnameserver 8.8.8.8\n", &["8.8.8.8"]),
            ("nameserver fd00::a\nnameserver fe80::1%eth0\n", &["fd00::a", "fe80::1"]),
            ("", &["127.0.0.1", "::1"]),
            ("nameserver not-an-address\n", &["127.0.0.1", "::1"]),
        ];
        for (text, expected) in table {
            let expected: Vec<IpAddr> = expected.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(parse_nameservers(text), expected, "{text:?}");
        }
    }

    #[test]
    fn ipv6_is_there_where_the_loopback_interface_has_it() {
        let local = "00000000000000000000000000000001 01 80 10 80       lo\n";
        let link = "fe800000000000000000000000000001 02 40 20 80     eth0\n";
        let global = "fd000000000000000000000000000002 02 40 00 80     eth0\n";
        assert!(has_loopback(local) && has_loopback(&format!("{link}{global}{local}")));
        assert!(!has_loopback("") && !has_loopback(&format!("{link}{global}")));
    }

    #[test]
    fn the_error_for_unreadable_nameservers_names_the_file_and_the_remedy() {
        let error = nameservers(Path::new("/nonexistent/resolv.conf")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/resolv.conf") && error.contains("--resolv-conf"), "{error}");
    }
}
