//! Pilot's own metrics, under the names that Istio's dashboards and Kiali query.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::collections::BTreeMap;

/// Counters and gauges of the control plane.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Connected proxies.
    pub xds: IntGauge,
    /// Responses sent, by type.
    pub pushes: IntCounterVec,
    /// Rejections by proxies, by type.
    pub rejects: IntCounterVec,
    /// Seconds from a configuration change to the last response to a proxy for it.
    pub convergence: Histogram,
    /// Seconds to compute the resources of a push.
    pub push_time: Histogram,
    /// Size of responses in bytes, by type.
    pub config_size: HistogramVec,
    /// Changes that caused a push, by kind of object.
    pub triggers: IntCounterVec,
    /// Known services.
    pub services: IntGauge,
    /// Known virtual services.
    pub virtual_services: IntGauge,
    /// Objects that are currently refused.
    pub rejected_configs: IntGauge,
    /// Objects that have no effect because their kind is not supported, by kind.
    pub unsupported: IntGaugeVec,
    /// Requests of proxies that were denied.
    pub denied: IntCounter,
    /// Objects that the webhook allowed.
    pub validation_passed: IntCounter,
    /// Objects that the webhook refused.
    pub validation_failed: IntCounter,
}

impl Metrics {
    /// Registers all metrics.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            xds: IntGauge::new("pilot_xds", "Number of endpoints connected to this pilot using XDS.")?,
            pushes: IntCounterVec::new(
                Opts::new("pilot_xds_pushes", "Responses sent to proxies."),
                &["type"],
            )?,
            rejects: IntCounterVec::new(
                Opts::new("pilot_total_xds_rejects", "Responses rejected by proxies."),
                &["type"],
            )?,
            convergence: Histogram::with_opts(
                HistogramOpts::new("pilot_proxy_convergence_time", "Delay between a change and its push.")
                    .buckets(vec![0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0]),
            )?,
            push_time: Histogram::with_opts(
                HistogramOpts::new("pilot_xds_push_time", "Time to compute a push.")
                    .buckets(vec![0.01, 0.1, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0]),
            )?,
            config_size: HistogramVec::new(
                HistogramOpts::new("pilot_xds_config_size_bytes", "Size of configuration sent to proxies.")
                    .buckets(vec![1.0, 1e4, 1e6, 4e6, 1e7, 4e7]),
                &["type"],
            )?,
            triggers: IntCounterVec::new(
                Opts::new("pilot_push_triggers", "Changes that triggered a push."),
                &["type"],
            )?,
            services: IntGauge::new("pilot_services", "Services known to this pilot.")?,
            virtual_services: IntGauge::new("pilot_virt_services", "Virtual services known to this pilot.")?,
            rejected_configs: IntGauge::new("pilot_total_rejected_configs", "Objects that were rejected.")?,
            unsupported: IntGaugeVec::new(
                Opts::new(
                    "ostria_pilot_unsupported_objects",
                    "Objects that have no effect because their kind is not supported.",
                ),
                &["kind"],
            )?,
            denied: IntCounter::new(
                "ostria_pilot_denied_connections_total",
                "Proxies whose streams were rejected.",
            )?,
            validation_passed: IntCounter::new(
                "galley_validation_passed",
                "Objects that the validating webhook allowed.",
            )?,
            validation_failed: IntCounter::new(
                "galley_validation_failed",
                "Objects that the validating webhook refused.",
            )?,
        };
        for collector in metrics.collectors() {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// Shows how many objects there are of each kind that is not supported. A kind without objects disappears.
    pub fn show_unsupported(&self, counts: &BTreeMap<&'static str, usize>) {
        self.unsupported.reset();
        for (kind, count) in counts {
            self.unsupported.with_label_values(&[kind]).set(*count as i64);
        }
    }

    fn collectors(&self) -> Vec<Box<dyn prometheus::core::Collector>> {
        vec![
            Box::new(self.xds.clone()),
            Box::new(self.pushes.clone()),
            Box::new(self.rejects.clone()),
            Box::new(self.convergence.clone()),
            Box::new(self.push_time.clone()),
            Box::new(self.config_size.clone()),
            Box::new(self.triggers.clone()),
            Box::new(self.services.clone()),
            Box::new(self.virtual_services.clone()),
            Box::new(self.rejected_configs.clone()),
            Box::new(self.unsupported.clone()),
            Box::new(self.denied.clone()),
            Box::new(self.validation_passed.clone()),
            Box::new(self.validation_failed.clone()),
        ]
    }
}

/// Returns Istio's short name of a resource type, used as a metric label.
pub fn type_label(kind: api::model::Kind) -> &'static str {
    use api::model::Kind;
    match kind {
        Kind::Cluster => "cds",
        Kind::Endpoints => "eds",
        Kind::Listener => "lds",
        Kind::Route => "rds",
        Kind::Secret => "sds",
        Kind::Workload => "wds",
        Kind::Names => "nds",
    }
}
