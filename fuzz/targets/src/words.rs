//! Pure. Bytes as the text and the choices that a target needs: the first byte chooses, the rest is the input. Kept
//! apart so that a corpus file means the same to every target.

/// The first byte modulo `choices`, and what follows it.
pub fn choice(data: &[u8], choices: u8) -> Option<(u8, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((first % choices, rest))
}

/// The bytes as text; what is no UTF-8 is left to targets that take bytes.
pub fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// Reads choices from bytes, one byte for each; when the bytes are over every choice is the first.
#[derive(Debug)]
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// The choices that these bytes make.
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

    /// Yes or no.
    pub fn yes(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// Something or nothing.
    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.yes().then(|| make(self))
    }

    /// At most `most` of something.
    pub fn some<T>(&mut self, most: u8, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.byte() % (most + 1);
        (0..count).map(|_| make(self)).collect()
    }

    /// At most `most` letters of an alphabet.
    pub fn letters(&mut self, most: u8, alphabet: &str) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        self.some(most, |choices| alphabet[usize::from(choices.byte()) % alphabet.len()])
            .into_iter()
            .collect()
    }
}
