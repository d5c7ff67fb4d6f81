//! Pure. Random UUIDs (version 4 of RFC 9562).

/// A UUID from random bits.
pub fn number(random: impl Fn() -> u32) -> u128 {
    let bits = (0..4).fold(0, |bits, _| bits << 32 | u128::from(random()));
    let bits = bits & !(0xf << 76) | 4 << 76;
    bits & !(0b11 << 62) | 0b10 << 62
}

/// The UUID as text: hexadecimal digits in groups of 8, 4, 4, 4 and 12.
pub fn text(number: u128) -> [u8; 36] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    for (place, byte) in number.to_be_bytes().into_iter().enumerate() {
        let dashes = [4, 6, 8, 10].into_iter().filter(|dash| place >= *dash).count();
        text[2 * place + dashes] = HEX[usize::from(byte >> 4)];
        text[2 * place + dashes + 1] = HEX[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_random_uuid() {
        for (random, expected) in [
            (u32::MAX, b"ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (0, b"00000000-0000-4000-8000-000000000000"),
        ] {
            assert_eq!(&text(number(|| random)), expected);
        }
    }
}
