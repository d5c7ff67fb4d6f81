//! Pure. Matching of strings and headers, shared by routes, authorization and certificates.
//!
//! Envoy: `type.matcher.v3.StringMatcher`, `config.route.v3.HeaderMatcher`, `QueryParameterMatcher`.

use std::time::Duration;

/// How a string is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StringMatch {
    /// The comparison.
    pub pattern: Pattern,
    /// Compare without regard to ASCII case (never for regular expressions).
    pub ignore_case: bool,
}

impl StringMatch {
    /// Case-sensitive equality.
    pub fn exact(text: impl Into<String>) -> Self {
        Self { pattern: Pattern::Exact(text.into()), ignore_case: false }
    }

    /// Case-sensitive prefix.
    pub fn prefix(text: impl Into<String>) -> Self {
        Self { pattern: Pattern::Prefix(text.into()), ignore_case: false }
    }
}

/// Envoy's kinds of string comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// The whole text.
    Exact(String),
    /// Its start.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// Anywhere.
    Contains(String),
    /// RE2, over the whole text.
    Regex(String),
}

/// A condition on one header (pseudo headers `:method`, `:path`, `:authority`, `:scheme` included).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderMatch {
    /// Lower-case name.
    pub name: String,
    /// The condition on its value.
    pub test: HeaderTest,
    /// Invert the result.
    pub invert: bool,
    /// Treat a missing header as an empty value instead of "does not match".
    pub missing_as_empty: bool,
}

/// Conditions on a header's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HeaderTest {
    /// Present (`true`) or absent (`false`).
    Present(bool),
    /// Compared as text; several values are joined by `,`.
    Text(StringMatch),
    /// A decimal integer within `[start, end)`.
    Range(i64, i64),
}

/// A condition on a query parameter (first value; not percent-decoded, as in Envoy).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueryMatch {
    /// Parameter name.
    pub name: String,
    /// `None`: present is enough.
    pub value: Option<StringMatch>,
    /// The parameter must be absent; `value` is ignored then.
    pub absent: bool,
}

/// Changes to a set of headers, applied in the order remove, then `set`/`append` as listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct HeaderMutations {
    /// Names to remove.
    pub remove: Vec<String>,
    /// Headers to write.
    pub write: Vec<HeaderWrite>,
}

impl HeaderMutations {
    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.write.is_empty()
    }
}

/// One header to write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderWrite {
    /// Lower-case name.
    pub name: String,
    /// Value; access log operators (`%REQ(x)%`) are allowed where Envoy allows them.
    pub value: String,
    /// What to do when the header exists.
    pub action: HeaderAction,
}

/// What to do with an existing header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderAction {
    /// Keep it and add another value.
    Append,
    /// Replace it, or add it.
    Set,
    /// Write only when absent.
    AddIfAbsent,
    /// Write only when present.
    SetIfPresent,
}

/// A share of requests, `numerator` of `denominator` (100, 10 000 or 1 000 000).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fraction {
    /// Matching part.
    pub numerator: u32,
    /// The whole.
    pub denominator: u32,
}

impl Fraction {
    /// Converts a percentage. Decimals beyond the fourth are dropped.
    pub fn from_percent(percent: f64) -> Self {
        Self { numerator: (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32, denominator: 1_000_000 }
    }

    /// Whether a uniformly random number selects this request.
    pub fn selects(self, random: u32) -> bool {
        self.denominator != 0 && random % self.denominator < self.numerator
    }
}

/// Exponential back-off between a first and a longest wait, with full jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BackOff {
    /// Wait before the first retry.
    pub base: Duration,
    /// Longest wait.
    pub max: Duration,
}
