//! The `ostria-injector` program: parses its flags, runs until shutdown, and prints one line if it cannot start.

use std::process::ExitCode;

use clap::Parser;
use injector::{app, config::Args};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match app::run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ostria-injector: {error:#}");
            ExitCode::FAILURE
        }
    }
}
