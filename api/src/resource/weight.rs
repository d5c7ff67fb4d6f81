//! Pure. Estimates the memory that the values of a JSON text take: `{"":{"":{…` and `[[],[],…` take a hundred times as
//! much once parsed, so a limit on the bytes of the text is not enough.

/// Whether the values of a text would take more than about 64 MiB beside their strings.
pub fn is_heavy(text: &[u8]) -> bool {
    weight(text) > MAX_WEIGHT
}

/// The estimate in units of about 56 bytes: an object or a list is a node of at least eleven entries.
fn weight(text: &[u8]) -> usize {
    let (mut weight, mut quoted, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => weight += NODE,
            b',' if !quoted => weight += 1,
            _ => {}
        }
    }
    weight
}

/// About 64 MiB.
const MAX_WEIGHT: usize = 1_200_000;
const NODE: usize = 12;
