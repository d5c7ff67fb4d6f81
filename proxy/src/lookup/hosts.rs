//! Pure. Resolves names that need no name server: literal addresses, the hosts file, and `localhost`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of `name`; `None` if a name server must be queried.
pub(super) fn in_hosts(text: &str, name: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = name.parse() {
        return Some(vec![address]);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let of_line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    let found: Vec<IpAddr> = text.lines().filter_map(of_line).collect();
    if !found.is_empty() {
        return Some(found);
    }
    // RFC 6761, 6.3: `localhost` names are never sent to a name server.
    let last = name.rsplit('.').next().unwrap_or(name);
    let loopback = || vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    last.eq_ignore_ascii_case("localhost").then(loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_addresses_resolve_and_other_names_do_not() {
        let text =
            "# made by kubelet\n127.0.0.1 localhost\n10.0.0.1\tDb.shop db # 10.0.0.9 web\n::2 db\nbad db\n";
        let table: &[(&str, Option<&[&str]>)] = &[
            ("db", Some(&["10.0.0.1", "::2"])),
            ("DB.SHOP.", Some(&["10.0.0.1"])),
            ("web", None),
            ("localhost", Some(&["127.0.0.1"])),
            ("a.localhost", Some(&["127.0.0.1", "::1"])),
            ("notlocalhost", None),
            ("10.1.1.1", Some(&["10.1.1.1"])),
            ("::1", Some(&["::1"])),
        ];
        for (name, expected) in table {
            let expected =
                expected.map(|list| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>());
            assert_eq!(in_hosts(text, name), expected, "{name}");
        }
    }
}
