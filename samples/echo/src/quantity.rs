//! Pure. Parses quantities in human notation: `250ms`, `10%`, `true`.
//!
//! The command line and the server's controls use the same notation.

use std::time::Duration;

/// Parses `250ms`, `1.5s`, `2m`, `1h`, or a number of seconds without unit; at most a day.
pub fn duration(text: &str) -> Result<Duration, BadQuantity> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(BadQuantity::Duration),
    };
    let number: f64 = number.parse().map_err(|_| BadQuantity::Duration)?;
    let seconds = number * scale;
    if seconds > LONGEST_SECONDS {
        return Err(BadQuantity::Duration);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| BadQuantity::Duration)
}

/// Parses a share such as `10%` or `0.1`, from 0 to 1.
pub fn share(text: &str) -> Result<f64, BadQuantity> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().map_err(|_| BadQuantity::Share)? / scale;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(BadQuantity::Share) }
}

/// Parses a flag: `1`, `true` and the empty text mean true; `0` and `false` mean false.
pub fn flag(text: &str) -> Result<bool, BadQuantity> {
    match text {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(BadQuantity::Flag),
    }
}

/// Why a text is not a valid quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuantity {
    /// The text is not a duration.
    #[error("is not a duration of at most a day; write it as 250ms, 10s or 1m")]
    Duration,
    /// The text is not a share.
    #[error("is not a share; write it as 10% or 0.1")]
    Share,
    /// The text is not a flag.
    #[error("is neither 1 nor 0")]
    Flag,
}

const LONGEST_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        let table = [
            ("250ms", Some(250)),
            ("1.5s", Some(1500)),
            ("2m", Some(120_000)),
            ("24h", Some(86_400_000)),
            ("3", Some(3000)),
            ("0", Some(0)),
            ("", None),
            ("ms", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("25h", None),
            ("1d", None),
            ("1e9", None),
        ];
        for (text, millis) in table {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn a_share_is_between_zero_and_one() {
        let table = [
            ("10%", Some(0.1)),
            ("100%", Some(1.0)),
            ("0.25", Some(0.25)),
            ("0", Some(0.0)),
            ("101%", None),
            ("-1%", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn flags_are_yes_or_no() {
        let table = [("", Some(true)), ("1", Some(true)), ("false", Some(false)), ("yes", None)];
        for (text, expected) in table {
            assert_eq!(flag(text).ok(), expected, "{text}");
        }
    }
}
