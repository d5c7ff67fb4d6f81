//! Entry point of `echo`: reads the command line and runs the server or the client.
//!
//! One thread is enough for both and keeps a test pod small.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use echo::config::{ClientOptions, Command, CommandLine, ServerOptions};
use echo::{client, server};
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    run(command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        // Exit code 1 is for failed requests.
        ExitCode::from(2)
    })
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    runtime.block_on(async {
        match command {
            Command::Server(options) => serve(&options).await,
            Command::Client(options) => call(&options).await,
        }
    })
}

/// Waits for a signal to end the process.
fn stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn serve(options: &ServerOptions) -> anyhow::Result<ExitCode> {
    let stop = stop()?;
    let server = server::Server::bind(options).await?;
    for (name, address) in server.addresses() {
        println!("{name} {address}");
    }
    server.serve(stop).await;
    Ok(ExitCode::SUCCESS)
}

async fn call(options: &ClientOptions) -> anyhow::Result<ExitCode> {
    let report = client::run(options, stop()?).await?;
    println!("{}", serde_json::to_string_pretty(&report).context("cannot write the report")?);
    let good = report.failed == 0 && report.requests > 0;
    Ok(if good || options.allow_failures { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
