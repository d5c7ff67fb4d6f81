//! Pure. Quotes a user's text in a message. Kubernetes shows 1,024 bytes of an event and 256 of a warning, so a long text
//! would push out the reason that follows it.

/// The text as it appears in a message: its beginning, if it is long.
pub fn excerpt(text: &str) -> String {
    let end = text.char_indices().nth(LONGEST).map(|(end, _)| end);
    end.map_or_else(|| text.to_owned(), |end| format!("{}…", &text[..end]))
}

/// The same in quotation marks.
pub fn quoted(text: &str) -> String {
    format!("{:?}", excerpt(text))
}

/// Characters of a text that are shown.
const LONGEST: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let full = "é".repeat(LONGEST);
        assert_eq!(excerpt(&full), full);
        assert_eq!(excerpt(&format!("{full}x")), format!("{full}…"));
        assert_eq!(quoted("a\n\"b\""), r#""a\n\"b\"""#);
    }
}
