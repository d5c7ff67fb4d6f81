//! Pure. The request of a probe, the time of the next one, and the verdict from several results.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::kubelet::service::named_port;

/// The action of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handler {
    /// Send a GET request; a status of 200 to 399 is healthy.
    Http {
        /// Host to connect to; the pod if `None`.
        host: Option<String>,
        /// Port.
        port: u16,
        /// Path with query.
        path: String,
        /// Headers.
        headers: Vec<(String, String)>,
        /// Whether to use TLS.
        tls: bool,
    },
    /// Open a TCP connection.
    Tcp {
        /// Port.
        port: u16,
    },
    /// Run a command; exit code 0 is healthy.
    Exec {
        /// The command.
        command: Vec<String>,
    },
}

/// A probe with Kubernetes' defaults applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The action.
    pub handler: Handler,
    /// Delay before the first attempt.
    pub delay: Duration,
    /// Time between attempts.
    pub period: Duration,
    /// Timeout of one attempt.
    pub timeout: Duration,
    /// Number of successes in a row after which the container is healthy.
    pub success: u32,
    /// Number of failures in a row after which the container is unhealthy.
    pub failure: u32,
    /// Grace period of a container that this probe finds unhealthy, if it differs from the pod's.
    pub grace: Option<Duration>,
}

/// Converts a grace period; negative values become zero.
pub fn grace(seconds: Option<i64>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// Why a probe cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The number is not a valid port.
    #[error("{0} is not a port number")]
    NotAPort(i32),
    /// No container declares a port of this name.
    #[error("no container has a port named {0}")]
    UnknownPort(String),
    /// The probe has no action.
    #[error("has no httpGet, tcpSocket, grpc or exec")]
    NoAction,
}

/// Converts a probe to a plan.
pub fn plan(pod: &Pod, probe: &Probe) -> Result<Plan, ProbeError> {
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
    };
    let count = |value: Option<i32>, default: u32| {
        value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).max(1)
    };
    Ok(Plan {
        handler: handler(pod, probe)?,
        delay: seconds(probe.initial_delay_seconds, 0),
        period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
        timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
        success: count(probe.success_threshold, 1),
        failure: count(probe.failure_threshold, 3),
        grace: grace(probe.termination_grace_period_seconds),
    })
}

/// The delay before the next attempt: short until the first success, so that a start is not delayed needlessly, then
/// the period.
pub fn pause(plan: &Plan, well_once: bool, attempts: u32) -> Duration {
    if well_once || attempts > QUICK { plan.period } else { EAGER.min(plan.period) }
}

/// Counts equal results in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    good: u32,
    bad: u32,
}

/// The verdict of a tally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Enough successes.
    Well,
    /// Enough failures.
    Ill,
    /// Not decided yet.
    Open,
}

impl Tally {
    /// Counts a result.
    pub fn count(&mut self, plan: &Plan, good: bool) -> Verdict {
        if good {
            *self = Self { good: self.good + 1, bad: 0 };
        } else {
            *self = Self { good: 0, bad: self.bad + 1 };
        }
        if self.good >= plan.success {
            Verdict::Well
        } else if self.bad >= plan.failure {
            Verdict::Ill
        } else {
            Verdict::Open
        }
    }
}

fn handler(pod: &Pod, probe: &Probe) -> Result<Handler, ProbeError> {
    if let Some(http) = &probe.http_get {
        let path = http.path.clone().filter(|path| !path.is_empty()).unwrap_or_else(|| "/".into());
        return Ok(Handler::Http {
            host: http.host.clone().filter(|host| !host.is_empty()),
            port: number(pod, &http.port)?,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers: http
                .http_headers
                .iter()
                .flatten()
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
            tls: http.scheme.as_deref() == Some("HTTPS"),
        });
    }
    if let Some(tcp) = &probe.tcp_socket {
        return Ok(Handler::Tcp { port: number(pod, &tcp.port)? });
    }
    if let Some(grpc) = &probe.grpc {
        // The gRPC health protocol is not implemented here: only the connection is tested. The sidecar does the rest.
        return Ok(Handler::Tcp {
            port: u16::try_from(grpc.port).map_err(|_| ProbeError::NotAPort(grpc.port))?,
        });
    }
    match probe.exec.as_ref().and_then(|exec| exec.command.clone()).filter(|command| !command.is_empty()) {
        Some(command) => Ok(Handler::Exec { command }),
        None => Err(ProbeError::NoAction),
    }
}

fn number(pod: &Pod, port: &IntOrString) -> Result<u16, ProbeError> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).map_err(|_| ProbeError::NotAPort(*number)),
        IntOrString::String(name) => match name.parse() {
            Ok(number) => Ok(number),
            Err(_) => named_port(pod, name).ok_or_else(|| ProbeError::UnknownPort(name.clone())),
        },
    }
}

const EAGER: Duration = Duration::from_millis(50);
/// Number of quick attempts, ten seconds of them, after which the period applies even without a success.
const QUICK: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(probe: serde_json::Value) -> Result<Plan, ProbeError> {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "c", "ports": [{"name": "http", "containerPort": 9080}]}]}});
        plan(&serde_json::from_value(pod).unwrap(), &serde_json::from_value(probe).unwrap())
    }

    #[test]
    fn defaults_and_named_ports_are_filled_in() {
        let plan = of(json!({"httpGet": {"path": "health", "port": "http"}})).unwrap();
        let Handler::Http { port, path, .. } = &plan.handler else { panic!("not http") };
        assert_eq!((*port, path.as_str()), (9080, "/health"));
        assert_eq!((plan.period.as_secs(), plan.timeout.as_secs(), plan.failure), (10, 1, 3));
        assert!(of(json!({"httpGet": {"port": "none"}})).is_err());
        assert!(of(json!({})).is_err());
    }

    #[test]
    fn consecutive_results_decide_the_state() {
        use Verdict::*;
        let plan =
            of(json!({"tcpSocket": {"port": 1}, "successThreshold": 2, "failureThreshold": 2})).unwrap();
        let mut tally = Tally::default();
        let verdicts: Vec<_> =
            [true, true, false, true, false, false].map(|good| tally.count(&plan, good)).to_vec();
        assert_eq!(verdicts, [Open, Well, Open, Open, Open, Ill]);
    }

    #[test]
    fn probes_are_frequent_until_the_first_success() {
        let plan = of(json!({"tcpSocket": {"port": 1}})).unwrap();
        assert_eq!(pause(&plan, false, 1), EAGER);
        assert_eq!(pause(&plan, true, 1), plan.period);
        assert_eq!(pause(&plan, false, QUICK + 1), plan.period);
    }
}
