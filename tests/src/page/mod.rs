//! Runs a page of documentation as a reader would: executes the commands of its console blocks in one shell, in order,
//! and compares what they print with the lines below them.
//!
//! A console block is a code block marked `console`. A line that starts with `$ ` is a command; it continues on the next
//! lines while a backslash, a quote or a here-document is open. All other lines are the expected output of the command
//! above them, compared as `output` describes. Other code blocks are not run.
//!
//! A command with expected output is repeated until it prints that, because a change takes a moment to reach all proxies,
//! and a reader types more slowly than a test. Such a command must therefore be one that can be repeated. A command
//! without expected output runs once and must succeed.

pub mod checkout;

mod shell;

mod console;
mod output;

use std::path::Path;
use std::time::Duration;

use crate::{program, wait};
use console::Step;
use shell::Shell;

/// Runs a page in a folder, with additional environment variables. `adapt` changes the page's text before it is run, such
/// as the names of images.
///
/// # Errors
/// The first command that failed or printed something else, with its line in the page.
pub fn run(
    page: &str,
    folder: &Path,
    environment: &[(&str, &str)],
    adapt: impl Fn(&str) -> String,
) -> Result<(), String> {
    let path = program::repository(page);
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{page}: {error}"))?;
    let steps = console::steps(&adapt(&text)).map_err(|reason| format!("{page}:{reason}"))?;
    if steps.is_empty() {
        return Err(format!("{page} has no command in a console block"));
    }
    let mut shell = Shell::start(folder, environment);
    for step in steps {
        perform(&mut shell, &step)
            .map_err(|reason| format!("{page}:{}: $ {}\n{reason}", step.line, step.command))?;
    }
    Ok(())
}

fn perform(shell: &mut Shell, step: &Step) -> Result<(), String> {
    if step.expected.is_empty() {
        let (code, printed) = shell.run(&step.command, LONGEST)?;
        return if code == 0 { Ok(()) } else { Err(format!("failed with exit code {code}:\n{printed}")) };
    }
    let mut first = None;
    wait::within(PATIENCE, &mut || {
        let (_, printed) = shell.run(&step.command, LONGEST)?;
        output::compare(&step.expected, &printed).map_err(|reason| {
            let first = first.get_or_insert_with(|| printed.clone());
            let expected = step.expected.join("\n");
            format!("{reason}\n--- expected\n{expected}\n--- printed at first\n{first}\n--- printed at last\n{printed}")
        })
    })
}

/// How long one command may take: longer than the timeouts that pages give to `kubectl wait`.
const LONGEST: Duration = Duration::from_secs(300);
/// How long a command is repeated until it prints the expected output.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(page: &str) -> Result<(), String> {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Shell::start(folder.path(), &[("WHO", "world")]);
        console::steps(page)?.iter().try_for_each(|step| perform(&mut shell, step))
    }

    #[test]
    fn a_page_runs_in_one_shell_and_repeats_a_command_until_its_output_is_there() {
        let page = "```console\n$ cd /tmp && greeting=hello\n$ echo $greeting $WHO; pwd\nhello world\n/tmp\n```\n\
                    ```console\n$ count=0\n$ count=$((count + 1)); echo $count\n3\n$ cat <<END\na 'b\nEND\na 'b\n```\n";
        assert_eq!(steps(page), Ok(()));
    }

    #[test]
    fn a_command_without_output_must_succeed() {
        let error = steps("```console\n$ true\n$ echo why; false\n```\n").unwrap_err();
        assert!(error.contains("exit code 1") && error.contains("why"), "{error}");
        assert!(steps("```console\n$ exit 0\n$ true\n```\n").is_err(), "the shell has ended");
    }
}
