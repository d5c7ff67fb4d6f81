//! Tests that the program accepts every command line of `ostria` in the documentation: in code blocks, in code spans, and
//! in what Helm prints after an installation. They are parsed and not run.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;

use super::command_of;

/// A command line of a document.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// Its words, beginning with `ostria`.
    words: Vec<String>,
    /// Whether it stands in a code block, where a command is complete.
    is_complete: bool,
}

#[test]
fn every_command_line_of_the_documents_is_accepted() {
    let mut refused = vec![];
    let mut count = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for line in lines(&text, document.extension().is_some_and(|end| end == "txt")) {
            count += 1;
            let result = command_of("ostria").try_get_matches_from(&line.words);
            if let Some(error) = result.err().filter(|error| !is_tolerated(error.kind(), &line)) {
                refused.push(format!("{}: {}: {error}", document.display(), line.words.join(" ")));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(count > 60, "only {count} command lines were found");
}

/// A code span may name a verb without its arguments, and a value may be a word such as `SHELL` for the reader to replace.
fn is_tolerated(kind: ErrorKind, line: &Line) -> bool {
    let is_placeholder = |word: &String| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase());
    match kind {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingRequiredArgument | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            !line.is_complete
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidSubcommand => {
            line.words.iter().any(is_placeholder)
        }
        _ => false,
    }
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = vec![root.join("deploy/helm/ostria/templates/NOTES.txt")];
    let mut folders = vec![root.to_owned(), root.join("docs"), root.join("samples")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && folder != root {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") && !path.ends_with("CHANGELOG.md") {
                found.push(path);
            }
        }
    }
    found
}

/// The command lines of a document. In a `plain` one, every line may be a command.
fn lines(text: &str, plain: bool) -> Vec<Line> {
    let text = text.replace("\\\n", " ").replace("\\|", "|");
    let mut found = vec![];
    let mut is_block = plain;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block && !line.contains("{{") {
            found.extend(commands(line.trim_start().trim_start_matches("$ "), true));
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.flat_map(|span| commands(span, false)));
        }
    }
    found
}

/// The calls of `ostria` in a line of shell.
fn commands(line: &str, is_complete: bool) -> Vec<Line> {
    let mut found = vec![];
    for command in split(line) {
        let start = usize::from(command.first().is_some_and(|word| word == "kubectl"));
        let Some(program) = command.get(start) else { continue };
        if program.trim_start_matches("./bin/") == "ostria" && command.len() > start + 1 {
            let mut words = command[start..].to_vec();
            "ostria".clone_into(&mut words[0]);
            found.push(Line { words, is_complete });
        }
    }
    found
}

/// The words of each command of a line, without redirections and comments.
fn split(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![vec![]];
    let mut word = None::<String>;
    let mut quote = None;
    let mut is_redirected = false;
    for next in line.chars() {
        match (quote, next) {
            (None, '\'' | '"') => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == next => quote = None,
            (None, '#') if word.is_none() => break,
            (None, ' ' | '|' | ';' | '&' | '(' | ')' | '<' | '>') => {
                let words = commands.last_mut().expect("there is always one");
                words.extend(word.take().filter(|_| !is_redirected));
                match next {
                    ' ' => {}
                    '<' | '>' => is_redirected = true,
                    _ => {
                        is_redirected = false;
                        commands.push(vec![]);
                    }
                }
            }
            _ => word.get_or_insert_default().push(next),
        }
    }
    commands.last_mut().expect("there is always one").extend(word.filter(|_| !is_redirected));
    commands
}

#[test]
fn command_lines_are_found_in_blocks_and_spans() {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let complete = |line: &str| Line { words: words(line), is_complete: true };
    let document = "`ostria up` and `./bin/ostria`, helm ostria\n```console\n$ ./bin/ostria down   # ends it\n\
                    $ ostria inject -f a.yaml \\\n    -n shop | kubectl apply -f -\nostria status\n\
                    $ kubectl ostria apply -f - <<END\n$ ostria exec pod -- sh -c 'a; b' > out &\n```\n`helm install ostria x`\n| `ostria crds \\| cat` |";
    let expected = [
        Line { words: words("ostria up"), is_complete: false },
        complete("ostria down"),
        complete("ostria inject -f a.yaml -n shop"),
        complete("ostria status"),
        complete("ostria apply -f -"),
        Line {
            words: ["ostria", "exec", "pod", "--", "sh", "-c", "a; b"].map(str::to_owned).to_vec(),
            is_complete: true,
        },
        Line { words: words("ostria crds"), is_complete: false },
    ];
    assert_eq!(lines(document, false), expected);
}
