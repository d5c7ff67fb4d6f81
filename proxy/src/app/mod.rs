//! Builds, starts and ends the process: settings become a plan, and a plan becomes a running process. The only
//! module that knows all parts.

mod bootstrap;
mod mesh;
mod wait;

mod process;

mod capture;
mod drain;
mod environment;
mod workers;

mod plan;

mod failure;

use crate::config::args::{DrainArgs, MeshArgs, RunArgs, WaitArgs};
use failure::Failure;
use std::process::ExitCode;

/// Runs `proxy sidecar` and `proxy router`: a proxy in a mesh.
pub fn mesh(args: &MeshArgs) -> ExitCode {
    finish(mesh::plan(args).and_then(process::run))
}

/// Runs `run --bootstrap`: a proxy configured by a file.
pub fn run(args: &RunArgs) -> ExitCode {
    finish(bootstrap::plan(args).and_then(|plan| if args.check { Ok(()) } else { process::run(plan) }))
}

/// Runs `wait`: returns when the proxy in the same pod is ready.
pub fn wait(args: &WaitArgs) -> ExitCode {
    finish(wait::until_ready(args))
}

/// Runs `drain`: announces the pod's end to the proxy in the same pod.
pub fn drain(args: &DrainArgs) -> ExitCode {
    finish(wait::drain(args.port))
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
