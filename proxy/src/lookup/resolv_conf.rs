//! Pure. Parses `resolv.conf`: the name servers, and how short names are completed.

use std::net::{IpAddr, SocketAddr};

/// The settings of `resolv.conf` that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvConf {
    /// The name servers, in order.
    pub servers: Vec<SocketAddr>,
    /// Domains that are appended to short names, without a trailing dot, lower-case.
    pub search: Vec<String>,
    /// Names with fewer dots are completed before they are queried as they are.
    pub dots: usize,
}

impl Default for ResolvConf {
    fn default() -> Self {
        Self { servers: vec![], search: vec![], dots: 1 }
    }
}

impl ResolvConf {
    /// Parses the file's text. Unknown lines are skipped, as resolvers do.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // A scope (`fe80::1%eth0`) is dropped: pods do not use link-local name servers.
                    let address =
                        words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
                    found.servers.extend(address.map(|address| SocketAddr::new(address, 53)));
                }
                Some("search" | "domain") => {
                    found.search =
                        words.map(|word| word.trim_end_matches('.').to_ascii_lowercase()).collect();
                }
                Some("options") => {
                    let mut dots =
                        words.filter_map(|word| word.strip_prefix("ndots:")?.parse::<usize>().ok());
                    // The same maximum as in other resolvers.
                    found.dots = dots.next_back().unwrap_or(found.dots).min(15);
                }
                _ => {}
            }
        }
        found
    }

    /// The full names to query, in order, until one of them has an address: short names are completed as resolvers do.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if name.ends_with('.') {
            return vec![name.to_owned()];
        }
        let whole = format!("{name}.");
        // The list may contain the root domain, which completes nothing.
        let search = self.search.iter().filter(|domain| !domain.is_empty());
        let completed = search.map(|domain| format!("{name}.{domain}."));
        if name.matches('.').count() < self.dots {
            completed.chain([whole]).collect()
        } else {
            std::iter::once(whole).chain(completed).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_search_domains_are_read_and_the_rest_is_left_out() {
        let text = "# made by kubelet\nsearch a.svc.Cluster.local. svc.cluster.local\nnameserver 10.96.0.10\n\
                    nameserver ::1 ; local\nnameserver nonsense\noptions timeout:1 ndots:5\n";
        let expected = ResolvConf {
            servers: vec!["10.96.0.10:53".parse().unwrap(), "[::1]:53".parse().unwrap()],
            search: vec!["a.svc.cluster.local".into(), "svc.cluster.local".into()],
            dots: 5,
        };
        assert_eq!(ResolvConf::parse(text), expected);
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
    }

    #[test]
    fn short_names_are_completed_first_and_long_ones_last() {
        let conf = |dots| ResolvConf { servers: vec![], search: vec!["a.local".into(), "b".into()], dots };
        let table: &[(usize, &str, &[&str])] = &[
            (1, "db", &["db.a.local.", "db.b.", "db."]),
            (1, "db.shop", &["db.shop.", "db.shop.a.local.", "db.shop.b."]),
            (5, "db.shop.svc", &["db.shop.svc.a.local.", "db.shop.svc.b.", "db.shop.svc."]),
            (5, "db.shop.", &["db.shop."]),
        ];
        for (dots, name, expected) in table {
            assert_eq!(conf(*dots).candidates(name), *expected, "{name}");
        }
    }
}
