//! Pure. Envoy's counters of clusters and listeners, under the names that its admin interface and its users'
//! queries use.

use super::series::Count;
use std::time::Duration;

/// Counters of one cluster on one thread.
#[derive(Default)]
pub struct ClusterStats {
    /// Open connections.
    pub upstream_cx_active: Count,
    /// Established connections.
    pub upstream_cx_total: Count,
    /// Failed connection attempts.
    pub upstream_cx_connect_fail: Count,
    /// Active requests.
    pub upstream_rq_active: Count,
    /// Requests sent.
    pub upstream_rq_total: Count,
    /// Requests that timed out.
    pub upstream_rq_timeout: Count,
    /// Retries.
    pub upstream_rq_retry: Count,
    /// Retries rejected by a limit.
    pub upstream_rq_retry_overflow: Count,
    /// Requests and connections rejected by a limit.
    pub upstream_rq_pending_overflow: Count,
    /// Ejected endpoints.
    pub outlier_ejections: Count,
    /// Responses by class: 1xx to 5xx.
    pub upstream_rq_class: [Count; 5],
}

impl ClusterStats {
    /// Counts a response.
    pub fn response(&self, code: u16) {
        if let Some(class) = self.upstream_rq_class.get(usize::from(code / 100).wrapping_sub(1)) {
            class.add(1);
        }
    }

    /// Calls `see` with the Envoy name and value of every counter.
    pub fn each(&self, mut see: impl FnMut(&'static str, u64)) {
        see("upstream_cx_active", self.upstream_cx_active.value());
        see("upstream_cx_total", self.upstream_cx_total.value());
        see("upstream_cx_connect_fail", self.upstream_cx_connect_fail.value());
        see("upstream_rq_active", self.upstream_rq_active.value());
        see("upstream_rq_total", self.upstream_rq_total.value());
        see("upstream_rq_timeout", self.upstream_rq_timeout.value());
        see("upstream_rq_retry", self.upstream_rq_retry.value());
        see("upstream_rq_retry_overflow", self.upstream_rq_retry_overflow.value());
        see("upstream_rq_pending_overflow", self.upstream_rq_pending_overflow.value());
        see("outlier_detection.ejections_enforced_total", self.outlier_ejections.value());
        for (class, name) in self.upstream_rq_class.iter().zip(CLASSES) {
            see(name, class.value());
        }
    }
}

/// Counters of one listener on one thread.
#[derive(Default)]
pub struct ListenerStats {
    /// Open connections.
    pub downstream_cx_active: Count,
    /// Accepted connections.
    pub downstream_cx_total: Count,
    /// Connections closed because no filter chain matches.
    pub no_filter_chain_match: Count,
    /// Those among them that were plaintext where TLS would have been accepted. Envoy has no such counter.
    pub downstream_cx_plaintext_refused: Count,
    /// Connections whose TLS handshake failed.
    pub ssl_connection_error: Count,
    /// Clients without a certificate where one is required.
    pub ssl_fail_verify_no_cert: Count,
    /// Clients whose certificate is expired or does not chain to a trusted root.
    pub ssl_fail_verify_error: Count,
    /// Clients with a valid certificate that has none of the accepted names.
    pub ssl_fail_verify_san: Count,
    /// When a refused client was last logged, in seconds since the process started.
    pub refused_told: Count,
    /// Connections closed because the proxy has too many connections.
    pub downstream_cx_overflow: Count,
    /// HTTP/1 messages refused because they are malformed.
    pub downstream_cx_protocol_error: Count,
    /// HTTP/2 connections closed because of a flood of frames without data.
    pub downstream_cx_http2_flood: Count,
    /// HTTP/2 connections closed because the client resets most requests immediately.
    pub downstream_rq_too_many_premature_resets: Count,
}

impl ListenerStats {
    /// The number of open connections.
    pub fn cx_active(&self) -> u64 {
        self.downstream_cx_active.value()
    }

    /// Whether to log a refused client at `now` (time since the process started): at most one in ten seconds.
    pub fn tells_of_refused(&self, now: Duration) -> bool {
        let (now, last) = (now.as_secs(), self.refused_told.value());
        let due = last == 0 || now >= last + 10;
        if due {
            self.refused_told.subtract(last);
            self.refused_told.add(now);
        }
        due
    }

    /// Calls `see` with the Envoy name and value of every counter.
    pub fn each(&self, mut see: impl FnMut(&'static str, u64)) {
        see("downstream_cx_active", self.downstream_cx_active.value());
        see("downstream_cx_total", self.downstream_cx_total.value());
        see("no_filter_chain_match", self.no_filter_chain_match.value());
        see("downstream_cx_plaintext_refused", self.downstream_cx_plaintext_refused.value());
        see("ssl.connection_error", self.ssl_connection_error.value());
        see("ssl.fail_verify_no_cert", self.ssl_fail_verify_no_cert.value());
        see("ssl.fail_verify_error", self.ssl_fail_verify_error.value());
        see("ssl.fail_verify_san", self.ssl_fail_verify_san.value());
        see("downstream_cx_overflow", self.downstream_cx_overflow.value());
        see("downstream_cx_protocol_error", self.downstream_cx_protocol_error.value());
        see("downstream_cx_http2_flood", self.downstream_cx_http2_flood.value());
        let resets = self.downstream_rq_too_many_premature_resets.value();
        see("downstream_rq_too_many_premature_resets", resets);
    }
}

const CLASSES: [&str; 5] =
    ["upstream_rq_1xx", "upstream_rq_2xx", "upstream_rq_3xx", "upstream_rq_4xx", "upstream_rq_5xx"];
