//! Parses the command line, runs the verb and returns the exit code.

use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};

use crate::arguments::Inner;
use crate::failure::Failure;
use crate::inside::{self, connect, container, fetch, guard, host_listen, init, sandbox};
use crate::place::Place;
use crate::verb::{self, plugin, print};

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if plugin::is_completion(&called) {
        print::out(&plugin::completions(&verb::command(), std::env::args().skip(1).collect()));
        return ExitCode::SUCCESS;
    }
    let matches = verb::command_of(plugin::program(&called)).get_matches();
    match dispatch(&matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Exit(code)) => {
            if std::io::IsTerminal::is_terminal(&std::io::stderr()) && code != 1 {
                print::failure(&failure);
            }
            ExitCode::from(code)
        }
        Err(failure) => {
            print::failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn dispatch(matches: &ArgMatches) -> Result<(), Failure> {
    let place = Place::of(matches);
    if let Some((name, own)) = matches.subcommand()
        && let Some(entry) = verb::TABLE.iter().find(|entry| entry.name() == name)
    {
        return entry.run(&place, own);
    }
    match Inner::from_arg_matches(matches).unwrap_or_else(|error| error.exit()) {
        Inner::Completion { shell } => {
            clap_complete::generate(shell, &mut verb::command(), "ostria", &mut std::io::stdout());
            Ok(())
        }
        Inner::Fetch { path, post } => hide(fetch::run(&path, post)),
        Inner::Connect { port } => hide(connect::run(port)),
        Inner::Sandbox(hidden) => hide(sandbox::run(&hidden.spec)),
        Inner::PodInit => hide(init::run()),
        Inner::Container(hidden) => hide(container::run(&hidden.spec)),
        Inner::HostListen => hide(host_listen::run()),
        Inner::Guard(guard) => hide(guard::run(guard.parent, &guard.command)),
    }
}

fn hide(result: Result<(), inside::Error>) -> Result<(), Failure> {
    result.map_err(|error| {
        Failure::blocked(error, "this runs inside a pod: look at `ostria logs` and `ostria get pods`")
    })
}
