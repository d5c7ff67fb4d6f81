//! Pure. The program as a plugin of kubectl: under the name `kubectl-ostria` it is `kubectl ostria`, and under the name
//! `kubectl_complete-ostria` it completes command lines of `kubectl ostria` for the shell.

use std::ffi::OsStr;
use std::path::Path;

use clap::Command;

/// How the user calls the program, by its own path.
pub fn program(path: &OsStr) -> &'static str {
    if name(path).starts_with("kubectl-ostria") { "kubectl ostria" } else { "ostria" }
}

/// Whether kubectl asks for completions.
pub fn is_completion(path: &OsStr) -> bool {
    name(path).starts_with("kubectl_complete-ostria")
}

fn name(path: &OsStr) -> std::borrow::Cow<'_, str> {
    Path::new(path).file_name().unwrap_or_default().to_string_lossy()
}

/// The completions of the last word, one a line, and the line by which kubectl knows that they are no files.
pub fn completions(command: &Command, words: Vec<String>) -> String {
    let mut words = words;
    let last = words.pop().unwrap_or_default();
    let verb = words.iter().find_map(|word| command.find_subcommand(word));
    let found: Vec<String> = match verb {
        _ if last.starts_with('-') => {
            let own = verb.into_iter().flat_map(Command::get_arguments);
            let all = own.chain(command.get_arguments()).filter(|argument| !argument.is_hide_set());
            all.filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")).collect()
        }
        None => command
            .get_subcommands()
            .filter(|one| !one.is_hide_set())
            .map(|one| one.get_name().into())
            .collect(),
        Some(verb) => {
            let values = verb.get_positionals().next().into_iter().flat_map(clap::Arg::get_possible_values);
            values.map(|value| value.get_name().to_owned()).collect()
        }
    };
    let fitting = found.into_iter().filter(|one| one.starts_with(&last));
    fitting.map(|one| one + "\n").collect::<String>() + DIRECTIVE
}

/// The bit mask of cobra's completions that keeps the shell from offering files.
const DIRECTIVE: &str = ":4\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb;

    #[test]
    fn the_name_of_the_file_decides() {
        assert_eq!(program("/usr/bin/kubectl-ostria".as_ref()), "kubectl ostria");
        assert_eq!(program("./bin/ostria".as_ref()), "ostria");
        assert!(is_completion("/usr/bin/kubectl_complete-ostria".as_ref()));
        assert!(!is_completion("kubectl-ostria".as_ref()));
    }

    #[test]
    fn verbs_flags_and_values_are_completed() {
        let complete =
            |line: &str| completions(&verb::command(), line.split(' ').map(str::to_owned).collect());
        assert_eq!(complete("proxy-s"), "proxy-status\n:4\n");
        assert!(complete("").contains("inject\n") && !complete("").contains("sandbox"));
        assert_eq!(complete("-n shop get --show-k"), "--show-kind\n:4\n");
        assert_eq!(complete("get --kubec"), "--kubeconfig\n:4\n");
        assert_eq!(complete("proxy-config sec"), "secrets\n:4\n");
    }
}
