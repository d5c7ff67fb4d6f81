//! Pure. Writes times in the formats of `api::format::time`, in UTC.

use super::text::since_epoch;
use crate::http1::date::{DAY, civil};
use api::format::time::{Part, Shape};
use std::io::Write;
use std::time::{Duration, SystemTime};

/// Appends a time.
pub fn write(shape: &Shape, out: &mut Vec<u8>, at: SystemTime) {
    let since = since_epoch(at);
    let date = civil(since.as_secs() / DAY);
    for part in shape.parts() {
        // A write to memory does not fail.
        let _ = part_of(part, out, since, date);
    }
}

fn part_of(
    part: &Part,
    out: &mut Vec<u8>,
    since: Duration,
    (year, month, day): (u64, u64, u64),
) -> std::io::Result<()> {
    let second = since.as_secs() % DAY;
    let hour = second / 3600;
    let weekday = || (since.as_secs() / DAY + THURSDAY) % 7;
    match part {
        Part::Literal(text) => out.write_all(text.as_bytes()),
        Part::Year => write!(out, "{year}"),
        Part::Century => write!(out, "{:02}", year / 100),
        Part::ShortYear => write!(out, "{:02}", year % 100),
        Part::Month => write!(out, "{month:02}"),
        Part::MonthName { short } => name(out, MONTHS[month as usize - 1], *short),
        Part::Day => write!(out, "{day:02}"),
        Part::SpacedDay => write!(out, "{day:2}"),
        Part::DayOfYear => write!(out, "{:03}", day_of_year(year, month, day)),
        Part::DayName { short } => name(out, DAYS[weekday() as usize], *short),
        Part::DayNumber { sunday } => match weekday() {
            0 => write!(out, "{sunday}"),
            other => write!(out, "{other}"),
        },
        Part::Hour => write!(out, "{hour:02}"),
        Part::HalfHour => write!(out, "{:02}", (hour + 11) % 12 + 1),
        Part::Half => out.write_all(if hour < 12 { b"AM" } else { b"PM" }),
        Part::Minute => write!(out, "{:02}", second / 60 % 60),
        Part::Second => write!(out, "{:02}", second % 60),
        Part::Epoch => write!(out, "{}", since.as_secs()),
        Part::Fraction(digits) => {
            let all = format!("{:09}", since.subsec_nanos());
            out.write_all(&all.as_bytes()[..usize::from(*digits)])
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
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// The weekday of 1 January 1970.
const THURSDAY: u64 = 4;

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
            ("%C %u %w %r %X %x %c", "20 5 5 12:04:05 AM 00:04:05 03/01/24 Fri Mar  1 00:04:05 2024"),
            ("plain", "plain"),
        ] {
            let mut out = vec![];
            write(&Shape::parse(format).unwrap(), &mut out, at);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{format}");
        }
    }
}
