//! Cleans up after a test process that is killed and cannot do so itself. A shell in its own process group waits
//! for the end of a pipe that only the test process holds open, and then runs the given commands. After a test
//! process that ends normally there is nothing left to clean up.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Runs a line of shell after this process has ended. Lines run in the order of the calls.
pub fn when_killed(line: &str) {
    let mut shell = shell().lock().unwrap_or_else(PoisonError::into_inner);
    let pipe = shell.stdin.as_mut().expect("its input is a pipe");
    writeln!(pipe, "{line}").expect("the shell reads until this process ends");
}

/// Ends a process of this test after the test process has ended, if it still runs then.
pub fn end_when_killed(process: u32) {
    kill_when_killed(process, &process.to_string());
}

/// Ends a process of this test, and all processes of the group that it leads, after the test process has ended.
pub fn end_group_when_killed(process: u32) {
    kill_when_killed(process, &format!("-- -{process}"));
}

/// Kills `target` after the test process has ended, if `process` still runs then.
fn kill_when_killed(process: u32, target: &str) {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The process ID may have been reused by then, but not with the same start time.
    if let Some(start) = stat.split(' ').nth(STARTED) {
        let found = format!("$(cut -d' ' -f{} /proc/{process}/stat)", STARTED + 1);
        when_killed(&format!("test \"{found}\" = {start} && kill -KILL {target}"));
    }
}

/// Quotes a word for the shell.
pub fn quoted(word: impl AsRef<Path>) -> String {
    format!("'{}'", word.as_ref().display().to_string().replace('\'', r"'\''"))
}

fn shell() -> &'static Mutex<Child> {
    static CLEANUP: OnceLock<Mutex<Child>> = OnceLock::new();
    CLEANUP.get_or_init(|| {
        let child = Command::new("sh")
            .args(["-c", "lines=$(cat); eval \"$lines\""])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        Mutex::new(child.expect("a shell is there"))
    })
}

/// The index in `stat` of the process's start time. It relies on program names without spaces.
const STARTED: usize = 21;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;
    use std::io::{BufRead, BufReader};
    use std::time::Duration;

    const CHILD: &str = "OSTRIA_TEST_IS_KILLED";

    #[test]
    fn children_of_a_killed_test_process_are_killed() {
        if std::env::var_os(CHILD).is_some() {
            let mut running = Command::new("sleep").arg("1000").spawn().unwrap();
            end_when_killed(running.id());
            println!("started {}", running.id());
            running.wait().unwrap();
        }
        let name = "cleanup::tests::children_of_a_killed_test_process_are_killed";
        let mut test = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "yes")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
        let started =
            lines.find_map(|line| line.split_once("started ").map(|(_, id)| id.to_owned())).unwrap();
        let stat = format!("/proc/{started}/stat");
        assert!(std::fs::read_to_string(&stat).unwrap().contains("(sleep)"));
        test.kill().unwrap();
        test.wait().unwrap();
        wait::until("the process is gone", Duration::from_secs(10), || {
            match std::fs::read_to_string(&stat) {
                Ok(text) if !text.contains(") Z ") => Err(text),
                _ => Ok(()),
            }
        });
    }

    #[test]
    fn any_path_is_one_word() {
        let word = quoted("/tmp/it's a \"$HOME\" `x`");
        let output = Command::new("sh").args(["-c", &format!("printf %s {word}")]).output().unwrap();
        assert_eq!(output.stdout, b"/tmp/it's a \"$HOME\" `x`");
    }
}
