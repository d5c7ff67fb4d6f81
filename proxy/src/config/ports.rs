//! Pure. The ports on which the proxy itself serves.

use super::mistakes::Mistakes;
use super::proxy_config::ProxyConfig;
use super::raw::Raw;

/// Ports on which the proxy itself serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Administration pages, on the loopback address.
    pub admin: u16,
    /// Health, merged metrics, the application's probes.
    pub status: u16,
    /// The application's probes, if an annotation moves them off the status port; 0: they stay there.
    pub probes: u16,
    /// Only readiness.
    pub health: u16,
    /// Only the proxy's metrics.
    pub prometheus: u16,
    /// DNS.
    pub dns: u16,
}

pub(super) fn ports(proxy: &ProxyConfig, raw: &Raw, mistakes: &mut Mistakes) -> Ports {
    let mut port = |name: &str, default: u16| {
        let parsed = raw.text(name).map(|text| {
            text.parse().map_err(|_| format!("`{text}` is not a port; write a number from 0 to 65535"))
        });
        mistakes.take(name, parsed.transpose(), default)
    };
    let status = proxy.status_port.unwrap_or(15020);
    let probes = port("OSTRIA_PROBE_PORT", 0);
    Ports {
        admin: proxy.admin_port.unwrap_or(15000),
        status,
        probes: if probes == status { 0 } else { probes },
        health: port("ISTIO_META_ENVOY_STATUS_PORT", 15021),
        prometheus: port("ISTIO_META_ENVOY_PROMETHEUS_PORT", 15090),
        dns: 15053,
    }
}
