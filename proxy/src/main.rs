//! `ostria-proxy`: the data plane as a process.

use api::process::open_files;
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use proxy::config::args::{DrainArgs, MeshArgs, RunArgs, WaitArgs};
use proxy::redirect::args::InitArgs;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The data plane of the Ostria service mesh
#[derive(Parser)]
#[command(
    name = "ostria-proxy",
    version,
    after_help = "Examples:\n  ostria-proxy run --bootstrap envoy.yaml\n  ostria-proxy init --dry-run"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve as the proxy of a pod in a mesh
    Proxy(MeshArgs),
    /// Serve what an Envoy bootstrap file describes
    Run(RunArgs),
    /// Capture the traffic of this network namespace
    Init(Box<InitArgs>),
    /// Wait until the proxy beside is ready
    Wait(WaitArgs),
    /// Tell the proxy beside that its pod is about to end: inbound connections drain from now on
    Drain(DrainArgs),
    /// Say which version this is
    Version,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Failing to print leaves nothing better to do.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    // Huge pages would make a few megabytes of small objects many; where they cannot be turned off, nothing is lost.
    let _ = nix::sys::prctl::set_thp_disable(true);
    open_files::raise();
    match cli.verb {
        Verb::Proxy(args) => proxy::app::mesh(&args),
        Verb::Run(args) => proxy::app::run(&args),
        Verb::Wait(args) => proxy::app::wait(&args),
        Verb::Drain(args) => proxy::app::drain(&args),
        Verb::Init(args) => match proxy::redirect::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ostria-proxy: {error}");
                ExitCode::FAILURE
            }
        },
        Verb::Version => {
            println!("ostria-proxy {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
    }
}
