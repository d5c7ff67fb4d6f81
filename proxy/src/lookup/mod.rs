//! Looks up the addresses of a name as the system does: in the hosts file, then at the name servers of
//! `resolv.conf` with its search domains. Exists because the system's own function does not return the TTL of a
//! response.

pub mod pace;

mod hosts;
mod response;

pub mod server;
pub mod resolv_conf;

use crate::lookup::hosts::in_hosts;
use crate::lookup::resolv_conf::ResolvConf;
use crate::lookup::response::{Response, query as encode_query};
use crate::lookup::server::NameServers;
use api::model::cluster::AddressFamily;
use hickory_proto::rr::RecordType;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A DNS resolver. Its files are read for each lookup, since they may change.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// Path of the hosts file.
    pub hosts: PathBuf,
    /// Path of the file that lists the name servers.
    pub resolv_conf: PathBuf,
    /// The mark of the resolver's sockets, which capture rules leave alone.
    pub mark: Option<u32>,
}

/// The addresses of a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Without duplicates, in order; empty if the name has no addresses, or does not exist.
    pub list: Vec<IpAddr>,
    /// The time to live; `None` if the source has none.
    pub ttl: Option<Duration>,
}

impl Resolver {
    /// A resolver that uses the system's files.
    pub fn system(mark: Option<u32>) -> Self {
        Self { hosts: "/etc/hosts".into(), resolv_conf: "/etc/resolv.conf".into(), mark }
    }

    /// Looks up the addresses of `name`. An error means that no name server could be reached, or that a server failed.
    pub async fn look_up(&self, name: &str, family: AddressFamily) -> io::Result<Addresses> {
        let mut resolv = ResolvConf::parse(&read(&self.resolv_conf).await);
        if resolv.servers.is_empty() {
            // The C library has the same default.
            resolv.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        self.look_up_at(name, family, &resolv).await
    }

    async fn look_up_at(&self, name: &str, family: AddressFamily, at: &ResolvConf) -> io::Result<Addresses> {
        if let Some(list) = in_hosts(&read(&self.hosts).await, name) {
            return Ok(Addresses { list: of_family(list, family), ttl: None });
        }
        let servers = NameServers::new(at, None, self.mark);
        let mut failure = None;
        for candidate in at.candidates(name) {
            match of_candidate(&servers, &candidate, family).await {
                Ok(found) if !found.list.is_empty() => return Ok(found),
                Ok(_) => {}
                // Another completion of the name may still have an address.
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or_else(|| Ok(Addresses::default()), Err)
    }
}

/// Reads a file; a missing file counts as empty.
async fn read(file: &Path) -> String {
    tokio::fs::read_to_string(file).await.unwrap_or_default()
}

/// Looks up the addresses of a full name.
async fn of_candidate(servers: &NameServers, name: &str, family: AddressFamily) -> io::Result<Addresses> {
    let (v4, v6) = match family {
        AddressFamily::V4 => (Some(query(servers, name, RecordType::A).await), None),
        AddressFamily::V6 => (None, Some(query(servers, name, RecordType::AAAA).await)),
        AddressFamily::V4OrV6 | AddressFamily::V6OrV4 | AddressFamily::All => {
            let both =
                tokio::join!(query(servers, name, RecordType::A), query(servers, name, RecordType::AAAA));
            (Some(both.0), Some(both.1))
        }
    };
    let (mut list, mut ttl, mut failure) = (vec![], None, None);
    for result in [v4, v6].into_iter().flatten() {
        match result {
            Ok(response) => {
                ttl = ttl.into_iter().chain(response.ttl).min();
                list.extend(response.addresses);
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        // A server that supports only one family does not make the lookup fail.
        Some(error) if list.is_empty() => Err(error),
        _ => Ok(Addresses { list: of_family(list, family), ttl }),
    }
}

async fn query(servers: &NameServers, name: &str, kind: RecordType) -> io::Result<Response> {
    let packet = encode_query(name, kind)?;
    let response = Response::read(&packet, &servers.query(&packet, false).await?)?;
    if response.is_truncated {
        return Response::read(&packet, &servers.query(&packet, true).await?);
    }
    Ok(response)
}

/// Selects the wanted addresses, IPv4 first, without duplicates. The order within a response is ignored: servers
/// rotate it.
fn of_family(mut list: Vec<IpAddr>, family: AddressFamily) -> Vec<IpAddr> {
    let has_v4 = list.iter().any(IpAddr::is_ipv4);
    let has_v6 = list.iter().any(IpAddr::is_ipv6);
    list.retain(|address| match family {
        AddressFamily::All => true,
        AddressFamily::V4 => address.is_ipv4(),
        AddressFamily::V6 => address.is_ipv6(),
        AddressFamily::V4OrV6 => address.is_ipv4() == has_v4,
        AddressFamily::V6OrV4 => address.is_ipv6() == has_v6,
    });
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests;
