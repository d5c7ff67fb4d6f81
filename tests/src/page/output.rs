//! Pure. Compares the output of a command with the lines of a page. `...` within a line stands for any text, and alone for
//! any number of lines. Empty lines and the amount of space between words do not count, since tables adjust their
//! columns to their content.

/// Compares printed text with expected lines. Returns the first expected line that is missing, or the first printed line
/// that is not expected.
pub(super) fn compare(expected: &[String], printed: &str) -> Result<(), String> {
    let expected: Vec<String> =
        expected.iter().map(|line| words(line)).filter(|line| !line.is_empty()).collect();
    let printed: Vec<String> = printed.lines().map(words).filter(|line| !line.is_empty()).collect();
    // `reached[n]`: the expected lines so far match the first `n` printed lines.
    let mut reached = vec![false; printed.len() + 1];
    reached[0] = true;
    for line in &expected {
        let next = step(line, &reached, &printed);
        if !next.contains(&true) {
            return Err(format!("this line was not printed in its place: {line}"));
        }
        reached = next;
    }
    if reached[printed.len()] {
        return Ok(());
    }
    let last = reached.iter().rposition(|reached| *reached).unwrap_or_default();
    Err(format!("this line was not expected: {}", printed[last]))
}

fn step(line: &str, reached: &[bool], printed: &[String]) -> Vec<bool> {
    let mut next = vec![false; reached.len()];
    for at in 0..reached.len() {
        if line == ANY {
            next[at] = reached[at] || (at > 0 && next[at - 1]);
        } else if at > 0 {
            next[at] = reached[at - 1] && matches(line, &printed[at - 1]);
        }
    }
    next
}

/// Whether a line matches a pattern in which `...` stands for any text.
fn matches(pattern: &str, line: &str) -> bool {
    let Some((first, others)) = pattern.split_once(ANY) else { return pattern == line };
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = others.split(ANY).collect();
    let Some((last, between)) = parts.split_last() else { return true };
    for part in between {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

const ANY: &str = "...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_text_or_lines() {
        for (expected, printed, same) in [
            ("a", "a\n", true),
            ("a", "a\nb\n", false),
            ("a\nb", "a\n", false),
            ("a   b", "  a b  \n\n", true),
            ("a...b", "a, then b", true),
            ("a...b", "a, then c", false),
            ("a...a", "a", false),
            ("pod/...-... created", "pod/web-1-2 created", true),
            ("...", "", true),
            ("...", "a\nb", true),
            ("a\n...\nd", "a\nb\nc\nd", true),
            ("a\n...\nd", "a\nd", true),
            ("a\n...\nd", "a\nb", false),
            ("...\nb\n...\nb", "b\nx\nb", true),
            ("...\nb\n...\nb", "b\nx", false),
        ] {
            let lines: Vec<String> = expected.lines().map(str::to_owned).collect();
            assert_eq!(compare(&lines, printed).is_ok(), same, "{expected:?} {printed:?}");
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let error = compare(&lines("a\nb\nc"), "a\nx\nc").unwrap_err();
        assert_eq!(error, "this line was not printed in its place: b");
        let error = compare(&lines("a"), "a\nx").unwrap_err();
        assert_eq!(error, "this line was not expected: x");
    }
}
