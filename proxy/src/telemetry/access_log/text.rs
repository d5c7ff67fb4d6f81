//! Pure. Formats numbers, addresses, times and escaped strings byte by byte. A log line is written for every
//! request, and the standard formatting machinery would cost more than the rest of the request.

use crate::http1::date::{DAY, civil};
use ipnet::IpNet;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Appends a number in decimal.
pub fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; MOST_DIGITS];
    let mut first = MOST_DIGITS;
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Appends an address with its port.
pub fn address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => {
            ipv4(out, *v4.ip());
            out.push(b':');
            number(out, v4.port().into());
        }
        SocketAddr::V6(v6) => shown(out, &v6),
    }
}

/// Appends an address without a port.
pub fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => ipv4(out, v4),
        IpAddr::V6(v6) => shown(out, &v6),
    }
}

fn ipv4(out: &mut Vec<u8>, ip: Ipv4Addr) {
    for (place, byte) in ip.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        number(out, byte.into());
    }
}

/// Percent-decodes a text; an invalid escape stays as it is.
pub fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, skipped) = match rest {
            [b'%', high, low, ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [byte, ..] => (*byte, 1),
            [] => return None,
        };
        rest = &rest[skipped..];
        Some(byte)
    })
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Appends the network of an address; `bits` is capped at the length of the address.
pub fn network(out: &mut Vec<u8>, address: IpAddr, bits: u8) {
    let bits = bits.min(if address.is_ipv4() { 32 } else { 128 });
    if let Ok(network) = IpNet::new(address, bits) {
        shown(out, &network.trunc());
    }
}

/// Appends a value through `Display`, for values that are rare.
pub(super) fn shown(out: &mut Vec<u8>, value: &dyn std::fmt::Display) {
    // A write to memory does not fail.
    let _ = write!(out, "{value}");
}

/// Time since 1970.
pub(super) fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Appends a time such as `2026-01-31T12:00:00.123Z`.
pub fn iso_time(out: &mut Vec<u8>, at: SystemTime) {
    let since = since_epoch(at);
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = civil(days);
    let mut text = *b"0000-00-00T00:00:00.000Z";
    digits(&mut text[0..4], year);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], day);
    digits(&mut text[11..13], second / 3600);
    digits(&mut text[14..16], second / 60 % 60);
    digits(&mut text[17..19], second % 60);
    digits(&mut text[20..23], since.subsec_millis().into());
    out.extend_from_slice(&text);
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Appends a text with its control characters replaced: clients choose their headers, and must not be able to forge
/// log lines.
pub(super) fn plain(out: &mut Vec<u8>, text: &[u8]) {
    let special = |byte: u8| byte < 0x20 || matches!(byte, b'"' | 0x7f);
    if !text.iter().fold(false, |found, byte| found | special(*byte)) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'"' => out.extend_from_slice(b"\\\""),
            0..0x20 | 0x7f => {
                let _ = write!(out, "\\x{byte:02x}");
            }
            other => out.push(*other),
        }
    }
}

/// Appends a JSON string with its quotes.
pub(super) fn json(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let special = |byte: u8| matches!(byte, 0..0x20 | b'"' | b'\\' | 0x80..);
    // Checking all bytes without a branch is faster than stopping at the first that needs an escape.
    if text.iter().fold(false, |found, byte| found | special(*byte)) {
        escaped(out, text);
    } else {
        out.extend_from_slice(text);
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

const MOST_DIGITS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = vec![];
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_json_wants_them() {
        for (text, expected) in [
            (&b"plain"[..], r#""plain""#),
            (b"", r#""""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"\n\r\t\x01", r#""\n\r\t\u0001""#),
            ("ü".as_bytes(), "\"ü\""),
            (b"\xff", "\"\u{fffd}\""),
        ] {
            assert_eq!(made(|out| json(out, text)), expected, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn percent_signs_are_resolved_where_they_stand_for_a_byte() {
        for (text, expected) in
            [("a%20b%2F%c3%bc", "a b/ü"), ("100%", "100%"), ("%4", "%4"), ("%zz%41", "%zzA"), ("", "")]
        {
            assert_eq!(String::from_utf8(decoded(text).collect()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_network_has_no_more_bits_than_its_address() {
        for (address, bits, expected) in [
            ("10.1.10.23", 16, "10.1.0.0/16"),
            ("10.1.10.23", 64, "10.1.10.23/32"),
            ("2001:db8:1234:5678:9abc:def0:1234:5678", 64, "2001:db8:1234:5678::/64"),
        ] {
            assert_eq!(
                made(|out| network(out, address.parse().unwrap(), bits)),
                expected,
                "{address}/{bits}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_json(text: String) {
            let value: serde_json::Value = serde_json::from_str(&made(|out| json(out, text.as_bytes()))).unwrap();
            prop_assert_eq!(value.as_str().unwrap(), text);
        }

        #[test]
        fn numbers_are_formatted_as_by_the_standard_library(value: u64) {
            prop_assert_eq!(made(|out| number(out, value)), value.to_string());
        }

        #[test]
        fn addresses_are_formatted_as_by_the_standard_library(v4: u32, v6: u128, port: u16, four: bool) {
            let host = if four { IpAddr::V4(v4.into()) } else { IpAddr::V6(v6.into()) };
            prop_assert_eq!(made(|out| ip(out, host)), host.to_string());
            let full = SocketAddr::new(host, port);
            prop_assert_eq!(made(|out| address(out, full)), full.to_string());
        }

        #[test]
        fn times_are_those_of_the_calendar(milliseconds in 0u64..253_402_300_800_000) {
            let at = UNIX_EPOCH + Duration::from_millis(milliseconds);
            let known = time::OffsetDateTime::from(at);
            let expected = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                known.year(), u8::from(known.month()), known.day(),
                known.hour(), known.minute(), known.second(), known.millisecond()
            );
            prop_assert_eq!(made(|out| iso_time(out, at)), expected);
        }
    }
}
