//! `ostria-pilot`: the control plane.

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    match pilot::app::run(pilot::config::Config::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ostria-pilot: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
