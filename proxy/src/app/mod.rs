//! Builds everything, starts it, and ends it: settings to a plan, a plan to a running process. Alone knows all parts.

mod bootstrap;
mod mesh;
mod wait;

mod process;

mod capture;
mod drain;
mod environment;
mod workers;

mod plan;

use crate::config::args::{DrainArgs, MeshArgs, RunArgs, WaitArgs};
use std::process::ExitCode;

/// `proxy sidecar` and `proxy router`: a proxy of a mesh.
pub fn mesh(args: &MeshArgs) -> ExitCode {
    finish(mesh::plan(args).and_then(process::run))
}

/// `run --bootstrap`: a proxy of a file.
pub fn run(args: &RunArgs) -> ExitCode {
    finish(bootstrap::plan(args).and_then(|plan| if args.check { Ok(()) } else { process::run(plan) }))
}

/// `wait`: returns when the proxy beside is ready.
pub fn wait(args: &WaitArgs) -> ExitCode {
    finish(wait::until_ready(args))
}

/// `drain`: tells the proxy beside that its pod is about to end.
pub fn drain(args: &DrainArgs) -> ExitCode {
    finish(wait::drain(args.port))
}

/// What ends the process with an error.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The settings are wrong: each mistake on a line of its own.
    #[error("{}", .0.join("\n"))]
    Settings(Vec<String>),
    /// The settings are right and the machine does not allow it.
    #[error("{0}")]
    Start(String),
}

impl Failure {
    /// 64 is what shells know as a wrong use of a command.
    fn code(&self) -> ExitCode {
        match self {
            Self::Settings(_) => ExitCode::from(64),
            Self::Start(_) => ExitCode::FAILURE,
        }
    }
}

fn finish(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.to_string().lines() {
                eprintln!("ostria-proxy: {line}");
            }
            failure.code()
        }
    }
}
