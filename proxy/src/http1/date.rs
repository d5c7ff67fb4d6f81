//! Pure. Calendar arithmetic and the format of the `date` header (RFC 9110, 5.6.7).

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

/// A formatted date; its length is fixed.
pub type Text = [u8; 29];

/// Seconds since 1970; 0 for earlier times.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Formats a time. Each thread caches the text of the current second.
pub fn of(time: SystemTime) -> Text {
    thread_local! {
        static LAST: Cell<(u64, Text)> = Cell::new((0, text(0)));
    }
    let seconds = seconds(time);
    let (known, last) = LAST.get();
    if known == seconds {
        return last;
    }
    let text = text(seconds);
    LAST.set((seconds, text));
    text
}

/// Formats a date such as `Sun, 06 Nov 1994 08:49:37 GMT`.
fn text(seconds: u64) -> Text {
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let put = |text: &mut Text, at: usize, number: u64| {
        text[at] = b'0' + (number / 10 % 10) as u8;
        text[at + 1] = b'0' + (number % 10) as u8;
    };
    text[..3].copy_from_slice(WEEKDAYS[(days % 7) as usize]);
    put(&mut text, 5, day);
    text[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    put(&mut text, 12, year / 100);
    put(&mut text, 14, year % 100);
    put(&mut text, 17, rest / 3600);
    put(&mut text, 20, rest / 60 % 60);
    put(&mut text, 23, rest % 60);
    text
}

/// Converts days since 1970 to year, month and day of the Gregorian calendar. Internally a year begins in March, so
/// that the leap day is its last day.
pub fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_TO_1970;
    let (era, of_era) = (days / ERA, days % ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Seconds in a day.
pub const DAY: u64 = 86_400;
/// Days in 400 years.
const ERA: u64 = 146_097;
/// Days from 1 March of year 0 to 1 January 1970.
const DAYS_TO_1970: u64 = 719_468;
/// 1970 began on a Thursday.
const WEEKDAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&text(seconds)), Ok(expected));
        }
    }
}
