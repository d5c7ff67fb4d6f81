//! Pure. Splits bytes into the text and the choices of a target: the first byte chooses, the rest is the input. A
//! module of its own, so that a corpus file means the same to all targets.

/// The first byte modulo `choices`, and the remaining bytes.
pub fn choice(data: &[u8], choices: u8) -> Option<(u8, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((first % choices, rest))
}

/// The bytes as text; `None` if they are not UTF-8.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Reads choices from bytes, one byte each; after the last byte, all choices are 0.
#[derive(Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Creates a reader of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether bytes are left.
    pub fn left(&self) -> bool {
        !self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A boolean.
    pub fn yes(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// A value or `None`.
    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| make(self))
    }

    /// At most `most` values.
    pub fn some<T>(&mut self, most: u8, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() % (most + 1);
        (0..count).map(|_| make(self)).collect()
    }

    /// A text of at most `most` characters of an alphabet.
    pub fn letters(&mut self, most: u8, alphabet: &str) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        self.some(most, |choices| alphabet[usize::from(choices.byte()) % alphabet.len()])
            .into_iter()
            .collect()
    }
}
