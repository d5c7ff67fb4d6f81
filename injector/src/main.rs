//! The `ostria-injector` program: reads its flags, runs until it is asked to end, and says in one line why it could
//! not start.

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
