//! Pure. Maps the error of a stage to the response that the client gets and the record shows: status, body, flags and
//! details, with Envoy's wording, because people and tools search for it.

use crate::flow::flags::Flags;
use crate::flow::refusal::Refusal;
use crate::http1::Invalid;
use crate::send::body::Meter;
use crate::send::connect::ConnectError;
use crate::send::{Cut, SendError};

impl Refusal {
    /// A response set in the configuration.
    pub(super) fn direct(status: u16) -> Self {
        Self::new(status, "", Flags::NONE, "direct_response")
    }

    /// A redirect.
    pub(super) fn redirect(status: u16, location: String) -> Self {
        Self { location: Some(location), ..Self::direct(status) }
    }

    /// The same refusal after more than one attempt.
    pub(super) fn retried(mut self) -> Self {
        if self.body.starts_with(BEFORE_HEADERS) {
            self.body = self.body.replacen("reset reason", "retried and the latest reset reason", 1).into();
        }
        self
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

    /// The client sent bytes that are not a valid HTTP message.
    pub(super) fn invalid(invalid: Invalid) -> Self {
        let flags = if invalid == Invalid::Slow { Flags::NONE } else { Flags::DPE };
        let reason =
            http::StatusCode::from_u16(invalid.status()).ok().and_then(|code| code.canonical_reason());
        let body =
            if invalid == Invalid::Slow { "request header timeout" } else { reason.unwrap_or_default() };
        Self::new(invalid.status(), body, flags, invalid.details())
    }

    /// The upstream ended its response before it was complete.
    pub(super) fn broken_off(cut: Cut) -> Self {
        let (_, _, reason) = report(cut);
        let details = format!("upstream_reset_after_response_started{{{}}}", reason.replace(' ', "_"));
        Self { details: details.into(), ..Self::cut(cut) }
    }

    /// The client stopped sending its request.
    pub(super) fn stalled() -> Self {
        Self::new(408, "stream timeout", Flags::SI, "stream_idle_timeout")
    }

    /// The client took too long to send its request.
    pub(super) fn slow() -> Self {
        Self::new(408, "request timeout", Flags::NONE, "request_overall_timeout")
    }

    /// The refusal for an error of sending.
    pub(super) fn of(error: &SendError) -> Self {
        match error {
            SendError::Connect(ConnectError::Timeout) => {
                Self::before_headers(503, Flags::UF, "connection timeout", None)
            }
            SendError::Connect(cause) => {
                let cause = cause.to_string();
                // The OS error number adds nothing to its text.
                let text = cause.split(" (os error").next().unwrap_or(&cause).to_owned();
                Self::before_headers(503, Flags::UF, "remote connection failure", Some(text))
            }
            SendError::Closed { .. } => Self::cut(Cut::Closed),
            SendError::Reset => Self::cut(Cut::Reset),
            SendError::Refused => Self::cut(Cut::Refused),
            SendError::Protocol(_) | SendError::Malformed(_) => Self::cut(Cut::Protocol),
            SendError::Body => Self::new(400, "", Flags::DC, "downstream_remote_disconnect"),
        }
    }

    /// The refusal of a client's body that is malformed or that a filter refused; `None`: it is neither.
    pub(super) fn of_body(meter: &Meter) -> Option<Self> {
        meter.invalid().map(Self::invalid).or_else(|| meter.refusal())
    }

    /// The refusal of a client's body that could not be read to its end.
    pub(super) fn of_client(meter: &Meter) -> Self {
        Self::of_body(meter).unwrap_or_else(|| Self::of(&SendError::Body))
    }

    /// The client's body is too long to be held.
    pub(super) fn too_large() -> Self {
        Self::new(413, "Payload Too Large", Flags::NONE, "request_payload_too_large")
    }

    fn cut(cut: Cut) -> Self {
        let (status, flags, reason) = report(cut);
        Self::before_headers(status, flags, reason, None)
    }

    fn before_headers(status: u16, flags: Flags, reason: &str, transport: Option<String>) -> Self {
        let body = format!("{BEFORE_HEADERS} reset reason: {reason}");
        let mut details = reason.replace(' ', "_");
        let transport = transport.map(|transport| transport.replace(' ', "_"));
        if let Some(transport) = &transport {
            details = format!("{details}|{transport}");
        }
        Self {
            body: body.into(),
            details: format!("upstream_reset_before_response_started{{{details}}}").into(),
            transport_failure: transport,
            ..Self::new(status, "", flags, "")
        }
    }
}

/// How an early end by the upstream is reported: the status if no response has begun, the flags and the reason.
fn report(cut: Cut) -> (u16, Flags, &'static str) {
    match cut {
        Cut::Protocol => (502, Flags::UPE, "protocol error"),
        Cut::Refused => (503, Flags::UR, "remote refused stream reset"),
        Cut::Reset => (503, Flags::UR, "remote reset"),
        Cut::Closed => (503, Flags::UC, "connection termination"),
    }
}

const BEFORE_HEADERS: &str = "upstream connect error or disconnect/reset before headers.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_envoys_wording() {
        let refused = std::io::Error::from_raw_os_error(111);
        let cases = [
            (SendError::Closed { sent: true, reused: true }, 503, "UC", "connection termination"),
            (SendError::Reset, 503, "UR", "remote reset"),
            (SendError::Connect(ConnectError::Timeout), 503, "UF", "connection timeout"),
            (SendError::Connect(ConnectError::Socket(refused)), 503, "UF", "remote connection failure"),
        ];
        for (error, status, flags, reason) in cases {
            let refusal = Refusal::of(&error);
            assert_eq!((refusal.status, refusal.flags.to_string().as_str()), (status, flags));
            let start = "upstream connect error or disconnect/reset before headers. reset reason: ";
            assert_eq!(refusal.body, format!("{start}{reason}"));
        }
    }
}
