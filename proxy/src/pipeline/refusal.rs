//! Pure. From what went wrong in a stage to what the client is told and the record shows: status, body, flags and
//! details, in Envoy's words, because people and tools search for them.

use crate::flow::flags::Flags;
use crate::send::SendError;
use crate::send::connect::ConnectError;
use std::borrow::Cow;

/// What a client is told instead of an upstream's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) body: Cow<'static, str>,
    pub(super) flags: Flags,
    pub(super) details: Cow<'static, str>,
    pub(super) transport_failure: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: u16, body: &'static str, flags: Flags, details: &'static str) -> Self {
        Self { status, body: body.into(), flags, details: details.into(), transport_failure: None }
    }

    pub(super) fn no_route() -> Self {
        Self::new(404, "", Flags::NR, "route_not_found")
    }

    pub(super) fn no_cluster(status: u16) -> Self {
        Self::new(status, "", Flags::NC, "cluster_not_found")
    }

    pub(super) fn no_endpoint() -> Self {
        Self::new(503, "no healthy upstream", Flags::UH, "no_healthy_upstream")
    }

    pub(super) fn overflow() -> Self {
        Self::before_headers(503, Flags::UO, "overflow", None)
    }

    pub(super) fn timeout() -> Self {
        Self::new(504, "upstream request timeout", Flags::UT, "response_timeout")
    }

    pub(super) fn attempt_timeout() -> Self {
        Self::new(504, "upstream request timeout", Flags::UT, "upstream_per_try_timeout")
    }

    pub(super) fn idle() -> Self {
        Self::new(504, "stream timeout", Flags::SI, "stream_idle_timeout")
    }

    pub(super) fn denied(policy: Option<&str>) -> Self {
        let policy = policy.unwrap_or("none");
        let details = format!("rbac_access_denied_matched_policy[{policy}]");
        Self { details: details.into(), ..Self::new(403, "RBAC: access denied", Flags::NONE, "") }
    }

    pub(super) fn fault(status: u16) -> Self {
        Self::new(status, "fault filter abort", Flags::FI, "fault_filter_abort")
    }

    /// What an error of sending means.
    pub(super) fn of(error: &SendError) -> Self {
        match error {
            SendError::Connect(ConnectError::Timeout) => {
                Self::before_headers(503, Flags::UF, "connection timeout", None)
            }
            SendError::Connect(cause) => {
                Self::before_headers(503, Flags::UF, "remote connection failure", Some(cause.to_string()))
            }
            SendError::Closed { .. } => Self::before_headers(503, Flags::UC, "connection termination", None),
            SendError::Reset => Self::before_headers(503, Flags::UR, "remote reset", None),
            SendError::Refused => Self::before_headers(503, Flags::UR, "remote refused stream reset", None),
            SendError::Protocol(_) => Self::before_headers(502, Flags::UPE, "protocol error", None),
            SendError::Body => Self::new(400, "", Flags::DC, "downstream_remote_disconnect"),
        }
    }

    fn before_headers(status: u16, flags: Flags, reason: &str, transport: Option<String>) -> Self {
        let mut body =
            format!("upstream connect error or disconnect/reset before headers. reset reason: {reason}");
        let mut details = reason.replace(' ', "_");
        if let Some(transport) = &transport {
            body = format!("{body}, transport failure reason: {transport}");
            details = format!("{details}|{}", transport.replace(' ', "_"));
        }
        Self {
            status,
            body: body.into(),
            flags,
            details: format!("upstream_reset_before_response_started{{{details}}}").into(),
            transport_failure: transport,
        }
    }

    /// The gRPC status that stands for the HTTP status.
    pub(super) fn grpc_status(status: u16) -> u8 {
        match status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => 14,
            _ => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_envoys_words() {
        let refused = std::io::Error::from_raw_os_error(111);
        let cases = [
            (SendError::Closed { sent: true, reused: true }, 503, "UC", "connection termination"),
            (SendError::Reset, 503, "UR", "remote reset"),
            (SendError::Connect(ConnectError::Timeout), 503, "UF", "connection timeout"),
            (
                SendError::Connect(ConnectError::Socket(refused)),
                503,
                "UF",
                "remote connection failure, transport failure reason: delayed connect error: Connection refused (os error 111)",
            ),
        ];
        for (error, status, flags, reason) in cases {
            let refusal = Refusal::of(&error);
            assert_eq!((refusal.status, refusal.flags.to_string().as_str()), (status, flags));
            let start = "upstream connect error or disconnect/reset before headers. reset reason: ";
            assert_eq!(refusal.body, format!("{start}{reason}"));
        }
    }

    #[test]
    fn a_denial_names_its_policy() {
        assert_eq!(Refusal::denied(None).details, "rbac_access_denied_matched_policy[none]");
        assert_eq!(Refusal::denied(Some("ns[a]")).details, "rbac_access_denied_matched_policy[ns[a]]");
    }
}
