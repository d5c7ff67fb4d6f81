//! Pure. How much memory the values of a JSON text will take, told from its text: `{"":{"":{…` and `[[],[],…` are a
//! hundred times as large once they are read, so that a limit on bytes alone bounds nothing.

/// Whether the values of a text would take more than about 64 MiB beside their strings.
pub fn is_heavy(text: &[u8]) -> bool {
    weight(text) > MAX_WEIGHT
}

/// In units of about 56 bytes: an object or a list is a node of eleven entries at least.
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
