//! The current time in the formats that objects and tokens need.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The current time.
#[expect(clippy::disallowed_methods, reason = "the shell around the pure core may look at the clock")]
pub fn moment() -> OffsetDateTime {
    OffsetDateTime::from(std::time::SystemTime::now())
}

/// The current time in the format of Kubernetes.
pub fn now() -> String {
    let now = moment();
    now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

/// The current time in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the shell around the pure core may look at the clock")]
pub fn seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
