//! Pure. What `resolv.conf` says: whom to ask, and how short names are completed.

use std::net::{IpAddr, SocketAddr};

/// The part of `resolv.conf` that matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers in order.
    pub servers: Vec<SocketAddr>,
    /// Domains that are appended to short names, without a trailing dot, lower-case.
    pub search: Vec<String>,
}

impl ResolvConf {
    /// Reads the file's text. Lines that mean nothing here are left out, as resolvers do.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A scope (`fe80::1%eth0`) is not kept: link-local servers are not met in pods.
                    let address =
                        words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
                    found.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => {
                    found.search =
                        words.map(|word| word.trim_end_matches('.').to_ascii_lowercase()).collect();
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_search_domains_are_read_and_the_rest_is_left_out() {
        let text = "# made by kubelet\nsearch a.svc.Cluster.local. svc.cluster.local\nnameserver 10.96.0.10\n\
                    nameserver ::1 ; local\nnameserver nonsense\noptions ndots:5\n";
        let expected = ResolvConf {
            servers: vec!["10.96.0.10:53".parse().unwrap(), "[::1]:53".parse().unwrap()],
            search: vec!["a.svc.cluster.local".into(), "svc.cluster.local".into()],
        };
        assert_eq!(ResolvConf::parse(text), expected);
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    }
}
