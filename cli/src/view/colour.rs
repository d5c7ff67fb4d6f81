//! Pure. Colours for terminals: words of a table that report success, waiting or failure.

/// Colours the state words of a table. Column widths do not change, because colour codes take no room on a terminal.
pub fn table(text: &str) -> String {
    text.split_inclusive('\n').map(line).collect()
}

/// Colours the first word of a message, which is its severity.
pub fn message(text: &str) -> String {
    let beginnings = [("error:", RED), ("Error", RED), ("Warning:", YELLOW), ("warning:", YELLOW)];
    text.split_inclusive('\n')
        .map(|line| {
            let found =
                beginnings.iter().find_map(|(word, colour)| Some((line.strip_prefix(word)?, word, colour)));
            found.map_or_else(
                || line.to_string(),
                |(rest, word, colour)| format!("{colour}{word}{PLAIN}{rest}"),
            )
        })
        .collect()
}

/// Whether to write colours: standard output is a terminal that supports them, and the user has not disabled them
/// (no-color.org).
pub fn is_wanted(terminal: bool, no_color: Option<&str>, term: Option<&str>) -> bool {
    terminal && no_color.is_none_or(str::is_empty) && term != Some("dumb")
}

fn line(line: &str) -> String {
    let body = line.trim_end_matches('\n');
    // Cells are separated by at least two spaces, and no cell contains two spaces in a row.
    let mut result = String::new();
    let mut rest = body;
    while !rest.is_empty() {
        let end = rest.find("  ").unwrap_or(rest.len());
        let (cell, after) = rest.split_at(end);
        match colour(cell) {
            Some(colour) => result.extend([colour, cell, PLAIN]),
            None => result.push_str(cell),
        }
        let gap = after.len() - after.trim_start_matches(' ').len();
        result.push_str(&after[..gap]);
        rest = &after[gap..];
    }
    result + &line[body.len()..]
}

fn colour(cell: &str) -> Option<&'static str> {
    let word = cell.strip_prefix("Init:").unwrap_or(cell);
    match word {
        "Running" | "Completed" | "Complete" | "SYNCED" | "Active" | "HEALTHY" | "ACTIVE" | "InForce" => {
            Some(GREEN)
        }
        "Pending" | "PodInitializing" | "ContainerCreating" | "Terminating" | "STALE" | "Suspended"
        | "Warning" | "NOT SENT" => Some(YELLOW),
        "CrashLoopBackOff"
        | "CreateContainerError"
        | "Error"
        | "OOMKilled"
        | "Failed"
        | "Blocked"
        | "REFUSED"
        | "Refused"
        | "RefusedByProxy"
        | "NOT CONNECTED"
        | "UNHEALTHY" => Some(RED),
        _ => None,
    }
}

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_words_are_coloured_and_names_are_not() {
        let text = "NAME      STATUS    AGE\nRunning-1   Running   1m\nError x   NOT CONNECTED   1m\n";
        let expected = "NAME      STATUS    AGE\nRunning-1   \x1b[32mRunning\x1b[0m   1m\nError x   \x1b[31mNOT CONNECTED\x1b[0m   1m\n";
        assert_eq!(table(text), expected);
        assert_eq!(message("error: a\n  next: b"), "\x1b[31merror:\x1b[0m a\n  next: b");
    }

    #[test]
    fn colours_are_used_on_terminals_unless_disabled() {
        let cases = [
            (true, None, None, true),
            (true, Some(""), Some("xterm"), true),
            (true, Some("1"), None, false),
            (true, None, Some("dumb"), false),
            (false, None, None, false),
        ];
        for (terminal, no_color, term, expected) in cases {
            assert_eq!(is_wanted(terminal, no_color, term), expected, "{terminal} {no_color:?} {term:?}");
        }
    }
}
