//! Pure. Time formats: the specifiers of `strftime` and Envoy's fractions of a second.

/// A parsed time format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape(Box<[Part]>);

/// A part of a time format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Literal text.
    Literal(Box<str>),
    /// `2026`
    Year,
    /// `20`
    Century,
    /// `26`
    ShortYear,
    /// `01`
    Month,
    /// `January` or `Jan`
    MonthName {
        /// Whether to abbreviate it to three letters.
        short: bool,
    },
    /// `01`
    Day,
    /// ` 1`
    SpacedDay,
    /// `001`
    DayOfYear,
    /// `Thursday` or `Thu`
    DayName {
        /// Whether to abbreviate it to three letters.
        short: bool,
    },
    /// The number of the day of the week.
    DayNumber {
        /// The number of Sunday: 0 or 7.
        sunday: u8,
    },
    /// `13`
    Hour,
    /// `01`
    HalfHour,
    /// `AM` or `PM`
    Half,
    /// `59`
    Minute,
    /// `59`
    Second,
    /// Seconds since the Unix epoch.
    Epoch,
    /// Digits of the fraction of a second.
    Fraction(u8),
}

impl Shape {
    /// Parses a format; `None`: it contains an unknown specifier.
    pub fn parse(format: &str) -> Option<Self> {
        let mut parts = vec![];
        parse(format, &mut parts)?;
        Some(Self(parts.into()))
    }

    /// The parts in order.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }
}

fn parse(mut rest: &str, parts: &mut Vec<Part>) -> Option<()> {
    while let Some(at) = rest.find('%') {
        if at > 0 {
            parts.push(literal(&rest[..at])?);
        }
        let letters = &rest[at + 1..];
        let digits = letters.find(|c: char| !c.is_ascii_digit())?;
        let letter = letters[digits..].chars().next()?;
        rest = &letters[digits + letter.len_utf8()..];
        if digits > 0 {
            let digits = letters[..digits].parse().ok().filter(|digits| (1..=9).contains(digits))?;
            parts.push((letter == 'f').then_some(Part::Fraction(digits))?);
            continue;
        }
        match single(letter) {
            Some(part) => parts.push(part),
            None => parse(composition(letter)?, parts)?,
        }
    }
    if !rest.is_empty() {
        parts.push(literal(rest)?);
    }
    Some(())
}

/// Line breaks are refused: they would end a log line or a header.
fn literal(text: &str) -> Option<Part> {
    (!text.contains(['\n', '\r', '\0'])).then(|| Part::Literal(text.into()))
}

fn single(letter: char) -> Option<Part> {
    Some(match letter {
        'Y' => Part::Year,
        'C' => Part::Century,
        'y' => Part::ShortYear,
        'm' => Part::Month,
        'b' | 'h' => Part::MonthName { short: true },
        'B' => Part::MonthName { short: false },
        'd' => Part::Day,
        'e' => Part::SpacedDay,
        'j' => Part::DayOfYear,
        'a' => Part::DayName { short: true },
        'A' => Part::DayName { short: false },
        'u' => Part::DayNumber { sunday: 7 },
        'w' => Part::DayNumber { sunday: 0 },
        'H' => Part::Hour,
        'I' => Part::HalfHour,
        'p' => Part::Half,
        'M' => Part::Minute,
        'S' => Part::Second,
        's' => Part::Epoch,
        'f' => Part::Fraction(9),
        'z' => Part::Literal("+0000".into()),
        'Z' => Part::Literal("UTC".into()),
        '%' => Part::Literal("%".into()),
        _ => return None,
    })
}

fn composition(letter: char) -> Option<&'static str> {
    Some(match letter {
        'F' => "%Y-%m-%d",
        'T' | 'X' => "%H:%M:%S",
        'R' => "%H:%M",
        'D' | 'x' => "%m/%d/%y",
        'r' => "%I:%M:%S %p",
        'c' => "%a %b %e %H:%M:%S %Y",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_specifiers_are_refused() {
        for format in ["%Q", "%", "%0f", "%10f", "%3S", "a%", "%n", "a\nb"] {
            assert_eq!(Shape::parse(format), None, "{format}");
        }
    }
}
