//! From the command line to an exit code.

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Verb};
use crate::failure::Failure;
use crate::inside::{self, container, fetch, guard, host_listen, init, sandbox};
use crate::state::State;
use crate::verb::{
    apply, completion, crds, delete, down, exec, get, logs, proxy_config, status, up, version,
};

/// Does what the command line says.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure @ Failure::Exit(code)) => {
            if std::io::IsTerminal::is_terminal(&std::io::stderr()) && code != 1 {
                eprintln!("{failure}");
            }
            ExitCode::from(code)
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let state = State::new(arguments.state);
    match arguments.verb {
        Verb::Up(arguments) => up::run(state, &arguments),
        Verb::Down => down::run(&state),
        Verb::Status { output } => status::run(&state, output),
        Verb::Apply(files) => apply::run(&state, &files),
        Verb::Delete(arguments) => delete::run(&state, &arguments),
        Verb::Get(arguments) => get::run(&state, &arguments),
        Verb::Logs(arguments) => logs::run(&state, &arguments),
        Verb::Exec(arguments) => exec::run(&state, &arguments),
        Verb::Version { output } => {
            version::run(output);
            Ok(())
        }
        Verb::Crds => crds::run(),
        Verb::Completion { shell } => {
            completion::run(shell);
            Ok(())
        }
        Verb::ProxyConfig(arguments) => proxy_config::run(&state, &arguments),
        Verb::Fetch { path } => hide(fetch::run(&path)),
        Verb::Sandbox(hidden) => hide(sandbox::run(&hidden.spec)),
        Verb::PodInit => hide(init::run()),
        Verb::Container(hidden) => hide(container::run(&hidden.spec)),
        Verb::HostListen => hide(host_listen::run()),
        Verb::Guard(guard) => hide(guard::run(guard.parent, &guard.command)),
    }
}

fn hide(result: Result<(), inside::Error>) -> Result<(), Failure> {
    result.map_err(|error| {
        Failure::blocked(error, "this runs inside a pod: look at `ostria logs` and `ostria get pods`")
    })
}
