//! Pure. Parses and formats durations in Go's syntax: `24h`, `1h30m`, `100ms`, `1.5s`. Exists because flags and
//! Istio's YAML use this syntax and no dependency of ours parses it.

use std::fmt::Write;
use std::time::Duration;

/// Parses a duration. Can be used as a clap value parser.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refused =
        |reason: &str| format!("`{text}` is not a duration: {reason}; write it as 24h, 1h30m or 100ms");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit = unit_nanos(unit).ok_or_else(|| refused("the units are ns, us, ms, s, m and h"))?;
        let part = scaled(number, unit).ok_or_else(|| refused("a unit needs a number before it"))?;
        nanos = nanos.checked_add(part).ok_or_else(|| refused("it is too long"))?;
        rest = tail;
    }
    if text.is_empty() {
        return Err(refused("it is empty"));
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| refused("it is too long"))
}

/// Formats a duration so that `parse` reads it, in the fewest units.
pub fn display(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let mut nanos = duration.as_nanos();
    let mut text = String::new();
    for (unit, name) in UNITS {
        let count = nanos / unit;
        if count > 0 {
            let _ = write!(text, "{count}{name}");
            nanos %= unit;
        }
    }
    text
}

fn unit_nanos(unit: &str) -> Option<u128> {
    UNITS.iter().find(|(_, name)| *name == unit || (unit == "µs" && *name == "us")).map(|(nanos, _)| *nanos)
}

fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // Further digits are below a nanosecond even in hours.
    let fraction = &fraction[..fraction.len().min(13)];
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part = part * unit / 10u128.pow(fraction.len() as u32);
    whole.checked_mul(unit)?.checked_add(part)
}

const UNITS: [(u128, &str); 6] = [
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse_as_in_go() {
        let table = [
            ("24h", 86_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("100ms", 100_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("2us3ns", 2_003),
            ("7µs", 7_000),
            ("0", 0),
            ("0s", 0),
            ("0.123456789012345678s", 123_456_789),
        ];
        for (text, nanos) in table {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn an_invalid_duration_is_refused_with_the_expected_syntax() {
        for text in ["", "24", "h", "1d", "-1s", "1 s", "1.2.3s", ".s", "1h 3m", "99999999999999999h", "1h1"]
        {
            let error = parse(text).expect_err(text);
            assert!(error.contains("is not a duration"), "{error}");
        }
    }

    #[test]
    fn a_formatted_duration_parses_to_the_same_duration() {
        for nanos in [0, 1, 999, 1_000, 1_500_000_000, 86_400_000_000_000, 3_661_001_001_001] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(parse(&display(duration)), Ok(duration));
        }
        assert_eq!(display(Duration::from_mins(90)), "1h30m");
    }
}
