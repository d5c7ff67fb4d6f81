//! Pure. How long the hooks of an ending pod wait until other proxies have stopped sending requests to it.

use std::time::Duration;

use crate::render::error::RenderError;

/// The variable of `proxyMetadata` that limits the wait.
pub const WAIT: &str = "ENDPOINT_REMOVAL_WAIT";

/// How long the hooks of a pod wait at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemovalWait {
    /// The limit; zero: there are no hooks.
    pub limit: Duration,
    /// Whether the limit follows from the pod's grace period, so that the sidecar must be told.
    pub shortened: bool,
}

impl RemovalWait {
    /// The limit that `proxyMetadata` sets, or else the default. Without a setting it is at most half of the pod's grace
    /// period, so that the application has time to end too.
    pub fn of(setting: Option<&str>, grace_seconds: Option<i64>) -> Result<Self, RenderError> {
        if let Some(text) = setting {
            let limit = api::process::duration::parse(text)
                .map_err(|reason| RenderError::Field { field: format!("proxyMetadata.{WAIT}"), reason })?;
            return Ok(Self { limit, shortened: false });
        }
        let half = grace_seconds.map(|seconds| Duration::from_millis(seconds.max(0).unsigned_abs() * 500));
        let limit = half.unwrap_or(DEFAULT).min(DEFAULT);
        Ok(Self { limit, shortened: limit < DEFAULT })
    }
}

const DEFAULT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_fits_into_the_grace_period_unless_it_is_set() {
        let of = |setting, grace| {
            RemovalWait::of(setting, grace).map(|wait| (wait.limit.as_millis(), wait.shortened))
        };
        for (setting, grace, expected) in [
            (None, None, (5000, false)),
            (None, Some(30), (5000, false)),
            (None, Some(10), (5000, false)),
            (None, Some(3), (1500, true)),
            (None, Some(0), (0, true)),
            (None, Some(-1), (0, true)),
            (Some("20s"), Some(3), (20_000, false)),
            (Some("0s"), Some(30), (0, false)),
        ] {
            assert_eq!(of(setting, grace), Ok(expected), "{setting:?} {grace:?}");
        }
        let refusal = of(Some("soon"), None).unwrap_err().to_string();
        assert!(refusal.contains("proxyMetadata.ENDPOINT_REMOVAL_WAIT"), "{refusal}");
    }
}
