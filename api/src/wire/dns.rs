//! Pure. How a cluster's endpoint names are resolved: intervals, address family, and the resolver.

use super::any;
use super::refusal::{At, Refusal, nothing_left, optional, refuse, required};
use super::scalar::{duration, enumeration, period, wire_duration};
use crate::model::cluster::{AddressFamily, Discovery, FailurePace, NameLookup};
use envoy_types::pb::envoy::config::cluster::v3 as wire;
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;
use envoy_types::pb::envoy::extensions::network::dns_resolver::getaddrinfo::v3::GetAddrInfoDnsResolverConfig;
use envoy_types::pb::google::protobuf::Duration as WireDuration;
use prost::Name;
use std::mem::take;
use std::time::Duration;
use wire::cluster::{DnsLookupFamily, RefreshRate};

/// Takes the DNS fields out of a cluster. They have no effect unless its endpoints are host names.
#[allow(deprecated)]
pub(super) fn decode(wire: &mut wire::Cluster, discovery: &Discovery) -> Result<NameLookup, Refusal> {
    let family = match enumeration(take(&mut wire.dns_lookup_family), "dns_lookup_family")? {
        DnsLookupFamily::Auto => AddressFamily::V6OrV4,
        DnsLookupFamily::V4Only => AddressFamily::V4,
        DnsLookupFamily::V6Only => AddressFamily::V6,
        DnsLookupFamily::V4Preferred => AddressFamily::V4OrV6,
        DnsLookupFamily::All => AddressFamily::All,
    };
    let refresh =
        wire.dns_refresh_rate.take().map_or(Ok(REFRESH), longer_than_a_millisecond).at("dns_refresh_rate")?;
    let found = NameLookup {
        refresh,
        failure: optional(wire.dns_failure_refresh_rate.take(), "dns_failure_refresh_rate", failure_pace)?,
        jitter: period(wire.dns_jitter.take(), "dns_jitter", Duration::ZERO)?,
        respect_ttl: take(&mut wire.respect_dns_ttl),
        family,
    };
    optional(wire.typed_dns_resolver_config.take(), "typed_dns_resolver_config", |wire| resolver(&wire))?;
    Ok(if discovery.is_by_name() { found } else { NameLookup::default() })
}

#[allow(deprecated)]
pub(super) fn encode(model: &NameLookup, wire: &mut wire::Cluster) {
    let family = match model.family {
        AddressFamily::V6OrV4 => DnsLookupFamily::Auto,
        AddressFamily::V4 => DnsLookupFamily::V4Only,
        AddressFamily::V6 => DnsLookupFamily::V6Only,
        AddressFamily::V4OrV6 => DnsLookupFamily::V4Preferred,
        AddressFamily::All => DnsLookupFamily::All,
    };
    wire.dns_lookup_family = family.into();
    wire.dns_refresh_rate = (model.refresh != REFRESH).then(|| wire_duration(model.refresh));
    wire.dns_failure_refresh_rate = model.failure.map(|pace| RefreshRate {
        base_interval: Some(wire_duration(pace.base)),
        max_interval: Some(wire_duration(pace.longest)),
    });
    wire.dns_jitter = (!model.jitter.is_zero()).then(|| wire_duration(model.jitter));
    wire.respect_dns_ttl = model.respect_ttl;
}

fn failure_pace(wire: RefreshRate) -> Result<FailurePace, Refusal> {
    let base = required(wire.base_interval, "base_interval")?;
    let base = longer_than_a_millisecond(base).at("base_interval")?;
    let longest = period(wire.max_interval, "max_interval", base.saturating_mul(10))?;
    if longest < base {
        return refuse("is shorter than base_interval").at("max_interval");
    }
    Ok(FailurePace { base, longest })
}

/// An interval. As in Envoy, it must be longer than a millisecond.
fn longer_than_a_millisecond(wire: WireDuration) -> Result<Duration, Refusal> {
    let found = duration(wire)?;
    if found > Duration::from_millis(1) { Ok(found) } else { refuse("must be longer than 1 ms") }
}

/// Checks the configured resolver. The proxy has one resolver, which queries the system's name servers. Envoy's two
/// resolvers are accepted if they do the same: settings that tune queries are ignored, other name servers are refused.
pub(super) fn resolver(wire: &TypedExtensionConfig) -> Result<(), Refusal> {
    let Some(config) = &wire.typed_config else { return Ok(()) };
    let kind = any::type_name(&config.type_url);
    if kind == CaresDnsResolverConfig::full_name() {
        let config: CaresDnsResolverConfig = any::typed(config)?;
        return nothing_left(&config).at("typed_config");
    }
    if kind == GetAddrInfoDnsResolverConfig::full_name() {
        let config: GetAddrInfoDnsResolverConfig = any::typed(config)?;
        return nothing_left(&config).at("typed_config");
    }
    refuse(format!("{} ({kind}) is not supported", wire.name))
}

const REFRESH: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::any::pack;
    use envoy_types::pb::envoy::config::core::v3::{Address, DnsResolverOptions};
    use envoy_types::pb::google::protobuf::UInt32Value;

    fn milliseconds(ms: u64) -> WireDuration {
        wire_duration(Duration::from_millis(ms))
    }

    fn decoded(mut cluster: wire::Cluster) -> Result<NameLookup, String> {
        let names = Discovery::StrictDns(crate::model::endpoint::LoadAssignment::default());
        decode(&mut cluster, &names).map_err(|refusal| format!("{} {}", refusal.path(), refusal.reason))
    }

    #[test]
    fn intervals_are_those_that_envoy_takes() {
        let rate = |base, max| {
            Some(RefreshRate {
                base_interval: Some(milliseconds(base)),
                max_interval: Some(milliseconds(max)),
            })
        };
        #[allow(deprecated)]
        let cluster = |refresh, failure| wire::Cluster {
            dns_refresh_rate: Some(milliseconds(refresh)),
            dns_failure_refresh_rate: failure,
            ..wire::Cluster::default()
        };
        let base = Duration::from_secs(2);
        let longest = |max| Some(FailurePace { base, longest: Duration::from_secs(max) });
        assert_eq!(decoded(cluster(2, None)).unwrap().refresh, Duration::from_millis(2));
        assert_eq!(decoded(cluster(2, rate(2000, 5000))).unwrap().failure, longest(5));
        let open = Some(RefreshRate { base_interval: Some(milliseconds(2000)), max_interval: None });
        assert_eq!(decoded(cluster(2, open)).unwrap().failure, longest(20));
        for (wrong, path) in [
            (cluster(1, None), "dns_refresh_rate must"),
            (cluster(2, rate(1, 5)), "dns_failure_refresh_rate.base_interval must"),
            (cluster(2, rate(5, 4)), "dns_failure_refresh_rate.max_interval is shorter"),
            (cluster(2, Some(RefreshRate::default())), "dns_failure_refresh_rate.base_interval is missing"),
        ] {
            let error = decoded(wrong).unwrap_err();
            assert!(error.starts_with(path), "{error}");
        }
    }

    #[test]
    fn dns_refresh_settings_are_absent_for_other_clusters() {
        #[allow(deprecated)]
        let mut cluster = wire::Cluster { respect_dns_ttl: true, ..wire::Cluster::default() };
        let found = decode(&mut cluster, &Discovery::Eds("a".into()));
        assert_eq!(found.unwrap(), NameLookup::default());
        assert_eq!(nothing_left(&cluster), Ok(()));
    }

    #[test]
    fn resolver_settings_may_tune_queries_but_not_name_other_servers() {
        let with = |cares: &CaresDnsResolverConfig| {
            let config = TypedExtensionConfig { name: "cares".into(), typed_config: Some(pack(cares)) };
            decoded(wire::Cluster { typed_dns_resolver_config: Some(config), ..wire::Cluster::default() })
        };
        let tuned = CaresDnsResolverConfig {
            udp_max_queries: Some(UInt32Value { value: 100 }),
            ..CaresDnsResolverConfig::default()
        };
        assert!(with(&tuned).is_ok());
        let other = CaresDnsResolverConfig { resolvers: vec![Address::default()], ..tuned.clone() };
        let error = with(&other).unwrap_err();
        assert_eq!(error, "typed_dns_resolver_config.typed_config.resolvers is not supported");
        let options = DnsResolverOptions { no_default_search_domain: true, ..DnsResolverOptions::default() };
        let options = CaresDnsResolverConfig { dns_resolver_options: Some(options), ..tuned };
        assert!(with(&options).unwrap_err().contains("dns_resolver_options"));
    }
}
