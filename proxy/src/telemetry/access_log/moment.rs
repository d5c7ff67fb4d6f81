//! Pure. Times as formats ask for them, in the letters of `strftime` with Envoy's fractions of a second, in UTC.

use super::text::since_epoch;
use crate::http1::date::{DAY, civil};
use std::io::Write;
use std::time::{Duration, SystemTime};

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape(Box<[Piece]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    Year,
    ShortYear,
    Month,
    MonthName {
        short: bool,
    },
    Day,
    SpacedDay,
    DayOfYear,
    DayName {
        short: bool,
    },
    Hour,
    HalfHour,
    Half,
    Minute,
    Second,
    /// Seconds since 1970.
    Epoch,
    /// The first digits of the fraction of a second.
    Fraction(u8),
}

impl Shape {
    /// Reads a format; `None`: a letter in it is not known.
    pub fn parse(format: &str) -> Option<Self> {
        let mut pieces = vec![];
        parse(format, &mut pieces)?;
        Some(Self(pieces.into()))
    }

    /// Appends a time.
    pub fn write(&self, out: &mut Vec<u8>, at: SystemTime) {
        let since = since_epoch(at);
        let day = since.as_secs() / DAY;
        let date = civil(day);
        for piece in &self.0 {
            // Writing to memory does not fail.
            let _ = piece.write(out, since, date);
        }
    }
}

fn parse(mut rest: &str, pieces: &mut Vec<Piece>) -> Option<()> {
    while let Some(at) = rest.find('%') {
        if at > 0 {
            pieces.push(Piece::Literal(rest[..at].into()));
        }
        let letters = &rest[at + 1..];
        let digits = letters.find(|c: char| !c.is_ascii_digit())?;
        let letter = letters[digits..].chars().next()?;
        rest = &letters[digits + letter.len_utf8()..];
        if digits > 0 {
            let digits = letters[..digits].parse().ok().filter(|digits| (1..=9).contains(digits))?;
            pieces.push((letter == 'f').then_some(Piece::Fraction(digits))?);
            continue;
        }
        pieces.push(match letter {
            'Y' => Piece::Year,
            'y' => Piece::ShortYear,
            'm' => Piece::Month,
            'b' | 'h' => Piece::MonthName { short: true },
            'B' => Piece::MonthName { short: false },
            'd' => Piece::Day,
            'e' => Piece::SpacedDay,
            'j' => Piece::DayOfYear,
            'a' => Piece::DayName { short: true },
            'A' => Piece::DayName { short: false },
            'H' => Piece::Hour,
            'I' => Piece::HalfHour,
            'p' => Piece::Half,
            'M' => Piece::Minute,
            'S' => Piece::Second,
            's' => Piece::Epoch,
            'f' => Piece::Fraction(9),
            'z' => Piece::Literal("+0000".into()),
            'Z' => Piece::Literal("UTC".into()),
            '%' => Piece::Literal("%".into()),
            composed => {
                parse(composition(composed)?, pieces)?;
                continue;
            }
        });
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest.into()));
    }
    Some(())
}

fn composition(letter: char) -> Option<&'static str> {
    Some(match letter {
        'F' => "%Y-%m-%d",
        'T' => "%H:%M:%S",
        'R' => "%H:%M",
        'D' => "%m/%d/%y",
        _ => return None,
    })
}

impl Piece {
    fn write(
        &self,
        out: &mut Vec<u8>,
        since: Duration,
        (year, month, day): (u64, u64, u64),
    ) -> std::io::Result<()> {
        let second = since.as_secs() % DAY;
        let hour = second / 3600;
        match self {
            Self::Literal(text) => out.write_all(text.as_bytes()),
            Self::Year => write!(out, "{year}"),
            Self::ShortYear => write!(out, "{:02}", year % 100),
            Self::Month => write!(out, "{month:02}"),
            Self::MonthName { short } => name(out, MONTHS[month as usize - 1], *short),
            Self::Day => write!(out, "{day:02}"),
            Self::SpacedDay => write!(out, "{day:2}"),
            Self::DayOfYear => write!(out, "{:03}", day_of_year(year, month, day)),
            Self::DayName { short } => name(out, DAYS[(since.as_secs() / DAY % 7) as usize], *short),
            Self::Hour => write!(out, "{hour:02}"),
            Self::HalfHour => write!(out, "{:02}", (hour + 11) % 12 + 1),
            Self::Half => out.write_all(if hour < 12 { b"AM" } else { b"PM" }),
            Self::Minute => write!(out, "{:02}", second / 60 % 60),
            Self::Second => write!(out, "{:02}", second % 60),
            Self::Epoch => write!(out, "{}", since.as_secs()),
            Self::Fraction(digits) => {
                let all = format!("{:09}", since.subsec_nanos());
                out.write_all(&all.as_bytes()[..usize::from(*digits)])
            }
        }
    }
}

fn name(out: &mut Vec<u8>, name: &str, short: bool) -> std::io::Result<()> {
    out.write_all(if short { &name.as_bytes()[..3] } else { name.as_bytes() })
}

fn day_of_year(year: u64, month: u64, day: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
    before + day + u64::from(leap && month > 2)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The first of January 1970 was a Thursday.
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn each_letter_is_its_part_of_a_time() {
        let at = UNIX_EPOCH + Duration::from_micros(1_709_251_445_012_345);
        for (format, expected) in [
            ("%Y/%m/%dT%H:%M:%S%z %s", "2024/03/01T00:04:05+0000 1709251445"),
            ("%F %T.%3f", "2024-03-01 00:04:05.012"),
            ("%s.%6f|%f|%1f", "1709251445.012345|012345000|0"),
            ("%a %A %b %B %e %j %y", "Fri Friday Mar March  1 061 24"),
            ("%I %p %R %D %Z 100%%", "12 AM 00:04 03/01/24 UTC 100%"),
            ("plain", "plain"),
        ] {
            let mut out = vec![];
            Shape::parse(format).unwrap().write(&mut out, at);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{format}");
        }
    }

    #[test]
    fn unknown_letters_are_refused() {
        for format in ["%Q", "%", "%0f", "%10f", "%3S", "a%"] {
            assert_eq!(Shape::parse(format), None, "{format}");
        }
    }
}
