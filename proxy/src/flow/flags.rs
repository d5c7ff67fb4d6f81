//! Pure. Envoy's response flags: short codes for failures, used in metrics and logs.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of response flags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flags(u32);

impl Flags {
    /// Nothing went wrong.
    pub const NONE: Self = Self(0);
    /// No healthy upstream.
    pub const UH: Self = Self(1);
    /// Connection to the upstream failed.
    pub const UF: Self = Self(1 << 1);
    /// A limit of the cluster is reached.
    pub const UO: Self = Self(1 << 2);
    /// No route.
    pub const NR: Self = Self(1 << 3);
    /// All attempts failed.
    pub const URX: Self = Self(1 << 4);
    /// No cluster of that name.
    pub const NC: Self = Self(1 << 5);
    /// The request timeout passed.
    pub const DT: Self = Self(1 << 6);
    /// The client disconnected.
    pub const DC: Self = Self(1 << 7);
    /// The proxy reset the stream.
    pub const LR: Self = Self(1 << 8);
    /// The upstream reset the stream.
    pub const UR: Self = Self(1 << 9);
    /// The upstream closed the connection.
    pub const UC: Self = Self(1 << 10);
    /// The upstream did not respond in time.
    pub const UT: Self = Self(1 << 11);
    /// A delay was injected.
    pub const DI: Self = Self(1 << 12);
    /// An abort was injected.
    pub const FI: Self = Self(1 << 13);
    /// Denied by external authorization.
    pub const UAEX: Self = Self(1 << 14);
    /// The stream was idle.
    pub const SI: Self = Self(1 << 15);
    /// A header is not allowed.
    pub const IH: Self = Self(1 << 16);
    /// The client broke the protocol.
    pub const DPE: Self = Self(1 << 17);
    /// The upstream broke the protocol.
    pub const UPE: Self = Self(1 << 18);
    /// The stream lived too long.
    pub const UMSDR: Self = Self(1 << 19);
    /// The proxy is overloaded.
    pub const OM: Self = Self(1 << 20);
    /// A name was not resolved.
    pub const DF: Self = Self(1 << 21);
    /// All attempts to connect a TCP stream failed. Written as `URX`, but after the last failure's own flag (`UF,URX`).
    pub const URX_LAST: Self = Self(1 << 22);

    /// All flags with their codes and long names, in the order in which they are written, which is Envoy's.
    pub const CODES: [(Self, &'static str, &'static str); 23] = [
        (Self::DI, "DI", "DelayInjected"),
        (Self::URX, "URX", "UpstreamRetryLimitExceeded"),
        (Self::UH, "UH", "NoHealthyUpstream"),
        (Self::UF, "UF", "UpstreamConnectionFailure"),
        (Self::URX_LAST, "URX", "UpstreamRetryLimitExceeded"),
        (Self::UO, "UO", "UpstreamOverflow"),
        (Self::NR, "NR", "NoRouteFound"),
        (Self::NC, "NC", "NoClusterFound"),
        (Self::DT, "DT", "DurationTimeout"),
        (Self::DC, "DC", "DownstreamConnectionTermination"),
        (Self::LR, "LR", "LocalReset"),
        (Self::UR, "UR", "UpstreamRemoteReset"),
        (Self::UC, "UC", "UpstreamConnectionTermination"),
        (Self::UT, "UT", "UpstreamRequestTimeout"),
        (Self::FI, "FI", "FaultInjected"),
        (Self::UAEX, "UAEX", "UnauthorizedExternalService"),
        (Self::SI, "SI", "StreamIdleTimeout"),
        (Self::IH, "IH", "InvalidEnvoyRequestHeaders"),
        (Self::DPE, "DPE", "DownstreamProtocolError"),
        (Self::UPE, "UPE", "UpstreamProtocolError"),
        (Self::UMSDR, "UMSDR", "UpstreamMaxStreamDurationReached"),
        (Self::OM, "OM", "OverloadManagerTerminated"),
        (Self::DF, "DF", "DnsResolutionFailed"),
    ];

    /// The flags with this code.
    pub fn of_code(code: &str) -> Option<Self> {
        let same = Self::CODES.iter().filter(|(_, known, _)| *known == code);
        same.map(|(flag, ..)| *flag).reduce(Self::bitor)
    }

    /// The long names of these flags.
    pub fn long(self) -> impl Iterator<Item = &'static str> {
        Self::CODES.into_iter().filter(move |(flag, ..)| self.contains(*flag)).map(|(.., long)| long)
    }

    /// Whether all of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    pub fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Flags {
    /// The codes, joined by commas; `-` if there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut first = true;
        for (flag, code, _) in Self::CODES {
            if self.contains(flag) {
                f.write_str(if first { "" } else { "," })?;
                f.write_str(code)?;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_written_as_their_codes() {
        let cases = [
            (Flags::NONE, "-"),
            (Flags::NR, "NR"),
            (Flags::UF | Flags::URX, "URX,UF"),
            (Flags::UF | Flags::URX_LAST, "UF,URX"),
            (Flags::DI, "DI"),
        ];
        for (flags, text) in cases {
            assert_eq!(flags.to_string(), text);
        }
        assert_eq!(Flags::of_code("URX"), Some(Flags::URX | Flags::URX_LAST));
        assert_eq!(Flags::of_code("XX"), None);
    }

    #[test]
    fn every_flag_has_a_bit_of_its_own() {
        let all = Flags::CODES.iter().fold(Flags::NONE, |all, (flag, ..)| all | *flag);
        assert_eq!(all.0.count_ones() as usize, Flags::CODES.len());
    }
}
