//! Pure. Creates inputs from other inputs by small random changes: a simple engine for machines without the fuzzer. It
//! does not measure coverage; it uses the corpus and the dictionaries.

/// A random number generator with a seed, so that failures are reproducible.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Creates a generator from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// A random number below a bound; 0 if the bound is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if bound == 0 { 0 } else { (mixed % bound as u64) as usize }
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        list.get(self.below(list.len()))
    }
}

/// The material for inputs.
#[derive(Debug, Default)]
pub struct Material {
    /// Existing inputs.
    pub corpus: Vec<Vec<u8>>,
    /// Words of the dictionaries.
    pub words: Vec<Vec<u8>>,
}

impl Material {
    /// A new input.
    pub fn input(&self, chance: &mut Chance) -> Vec<u8> {
        let mut input = chance.of(&self.corpus).cloned().unwrap_or_default();
        for _ in 0..=chance.below(4) {
            self.change(&mut input, chance);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&self, input: &mut Vec<u8>, chance: &mut Chance) {
        let at = chance.below(input.len() + 1);
        let range = at..(at + 1 + chance.below(16)).min(input.len()).max(at);
        match chance.below(9) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << chance.below(8);
                }
            }
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = chance.below(256) as u8;
                }
            }
            2 => drop(input.drain(range)),
            3 => {
                let copy = input[range].to_vec();
                let to = chance.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 | 5 => {
                let word = chance.of(&self.words).cloned().unwrap_or_default();
                let replaced = if chance.below(2) == 0 { at..at } else { range };
                input.splice(replaced, word);
            }
            6 => number(input, at, chance),
            7 => {
                let other = chance.of(&self.corpus).cloned().unwrap_or_default();
                let from = chance.below(other.len() + 1);
                let to = (from + 1 + chance.below(200)).min(other.len()).max(from);
                input.splice(at..at, other[from..to].iter().copied());
            }
            _ => line(input, at, chance),
        }
    }
}

/// Replaces a number.
fn number(input: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else { return };
    let end =
        input[start..].iter().position(|b| !b.is_ascii_digit()).map_or(input.len(), |found| start + found);
    let other = chance.of(&NUMBERS).copied().unwrap_or_default();
    input.splice(start..end, other.bytes());
}

/// Removes or repeats a line.
fn line(input: &mut Vec<u8>, at: usize, chance: &mut Chance) {
    let start = input[..at].iter().rposition(|b| *b == b'\n').map_or(0, |found| found + 1);
    let end = input[at..].iter().position(|b| *b == b'\n').map_or(input.len(), |found| at + found + 1);
    if chance.below(2) == 0 {
        input.drain(start..end);
    } else {
        let copy = input[start..end].to_vec();
        input.splice(start..start, copy);
    }
}

/// Parses a dictionary in the fuzzer's format: one quoted word per line, with `\xNN`, `\\` and `\"`.
pub fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let quoted = dictionary.lines().filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix('"'));
    quoted.map(unescaped).collect()
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = vec![];
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = others;
        match (first, others) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digit = |b: &u8| (*b as char).to_digit(16).unwrap_or_default() as u8;
                out.push(digit(high) << 4 | digit(low));
                rest = after;
            }
            (b'\\', [next, after @ ..]) => {
                out.push(*next);
                rest = after;
            }
            (byte, _) => out.push(*byte),
        }
    }
    out
}

const LONGEST: usize = 8192;
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "99",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "1e308",
    "0.5",
    "99999999999999999999",
];
