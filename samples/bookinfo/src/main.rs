//! Entry point of `bookinfo`: reads the settings, starts a runtime and calls `app`.
//!
//! One thread is enough for a sample service and keeps a pod at a few megabytes.

use std::process::ExitCode;

use anyhow::Context;
use bookinfo::{app, config::Arguments};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = arguments.into_config()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(app::run(config))
}
