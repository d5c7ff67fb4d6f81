//! Pure. Finds the commands of a page and their expected output.

/// A command of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The line of the page at which it begins.
    pub(super) line: usize,
    /// The command, without its prompt.
    pub(super) command: String,
    /// The lines that it should print; empty: any.
    pub(super) expected: Vec<String>,
}

/// The commands of all console blocks, in order. Returns an error with a line if a block begins with output, or if a
/// block or a command is not closed.
pub(super) fn steps(page: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = vec![];
    let mut lines = page.lines().enumerate();
    while let Some((start, opening)) = lines.next() {
        let Some(info) = opening.trim_start().strip_prefix(FENCE) else { continue };
        let indent = opening.len() - opening.trim_start().len();
        let is_console = info.trim() == "console";
        let first = steps.len();
        let mut is_closed = false;
        for (index, line) in lines.by_ref() {
            if line.trim() == FENCE {
                is_closed = true;
                break;
            }
            if is_console {
                let line = line.get(indent..).unwrap_or_else(|| line.trim_start());
                add(&mut steps, first, index + 1, line)?;
            }
        }
        if !is_closed {
            return Err(format!("{}: the code block has no end", start + 1));
        }
        if let Some(open) = steps[first..].iter().find(|step| is_open(&step.command)) {
            return Err(format!("{}: the command has no end", open.line));
        }
    }
    Ok(steps)
}

/// Adds a line of a block whose steps begin at `first`.
fn add(steps: &mut Vec<Step>, first: usize, number: usize, line: &str) -> Result<(), String> {
    match steps[first..].last_mut() {
        Some(step) if is_open(&step.command) => {
            step.command.push('\n');
            step.command.push_str(line);
        }
        last => match (line.strip_prefix(PROMPT), last) {
            (Some(command), _) => {
                steps.push(Step { line: number, command: command.to_owned(), expected: vec![] });
            }
            (None, Some(step)) => step.expected.push(line.to_owned()),
            (None, None) => return Err(format!("{number}: output without a command")),
        },
    }
    Ok(())
}

/// Whether a command continues on the next line: after a backslash, within quotes, or within a here-document.
fn is_open(command: &str) -> bool {
    let mut quote = None;
    let mut documents: std::collections::VecDeque<String> = [].into();
    let mut continues = false;
    for line in command.lines() {
        continues = false;
        match documents.front() {
            Some(end) if quote.is_none() => {
                if line == end {
                    documents.pop_front();
                }
            }
            _ => continues = scan(line, &mut quote, &mut documents),
        }
    }
    continues || quote.is_some() || !documents.is_empty()
}

/// Follows quotes and beginnings of here-documents in a line. Returns whether the line ends in a backslash.
fn scan(line: &str, quote: &mut Option<char>, documents: &mut std::collections::VecDeque<String>) -> bool {
    let mut rest = line;
    let mut before = ' ';
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match (*quote, next) {
            (None | Some('"'), '\\') => match rest.chars().next() {
                Some(escaped) => rest = &rest[escaped.len_utf8()..],
                None => return true,
            },
            (None, '\'' | '"') => *quote = Some(next),
            (Some(open), next) if open == next => *quote = None,
            (None, '#') if before.is_whitespace() => return false,
            (None, '<') if rest.starts_with('<') && !rest.starts_with("<<") && before != '<' => {
                let word = rest[1..].trim_start().trim_start_matches(['\'', '"']);
                let word = word.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
                documents.extend(word.filter(|word| !word.is_empty()).map(str::to_owned));
                rest = &rest[1..];
            }
            _ => {}
        }
        before = next;
    }
    false
}

const FENCE: &str = "```";
const PROMPT: &str = "$ ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_their_output_are_found() {
        let page = "text\n```yaml\n$ none\n```\n```console\n$ one\n$ two\nout\n\nmore\n```\n1. list\n\n   \
                    ```console\n   $ three \\\n       rest   # it's\n   ```\n";
        let step = |line, command: &str, expected: &[&str]| Step {
            line,
            command: command.to_owned(),
            expected: expected.iter().map(ToString::to_string).collect(),
        };
        let expected = [
            step(6, "one", &[]),
            step(7, "two", &["out", "", "more"]),
            step(15, "three \\\n    rest   # it's", &[]),
        ];
        assert_eq!(steps(page).unwrap(), expected);
    }

    #[test]
    fn an_open_quote_here_document_or_backslash_continues_a_command() {
        for (command, open) in [
            ("echo a", false),
            ("echo a \\", true),
            ("echo 'a", true),
            ("echo 'a\nb'", false),
            ("echo \"a'b\"", false),
            ("echo \"a\\\"b", true),
            ("echo a # it's", false),
            ("echo a#'b", true),
            ("cat <<END", true),
            ("cat <<END\nit's\nEND", false),
            ("cat <<'END' | sort\nEND ", true),
            ("cat <<<word", false),
            ("cat <<A <<B\nA\nB", false),
            ("cat <<A <<B\nA\n", true),
        ] {
            assert_eq!(is_open(command), open, "{command:?}");
        }
    }

    #[test]
    fn a_malformed_page_is_refused_with_a_line() {
        for (page, reason) in [
            ("```console\noutput\n```\n", "2: output without a command"),
            ("a\n```console\n$ a\n", "2: the code block has no end"),
            ("```console\n$ echo 'a\n```\n", "2: the command has no end"),
        ] {
            assert_eq!(steps(page).unwrap_err(), reason);
        }
    }
}
