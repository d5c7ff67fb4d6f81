//! `ostria-citadel`: the mesh's certificate authority.

use api::process::{log, open_files, shutdown};
use citadel::app::App;
use citadel::config::{Config, ConfigError};
use std::process::ExitCode;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let log = log::init(&config.log_level, config.log_format);
    match run(config, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs on a single thread, which is enough for thousands of certificates a second and keeps an idle authority small.
fn run(config: Config, log: log::Handle) -> anyhow::Result<()> {
    open_files::raise();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let drain = CancellationToken::new();
        let (asked, end) = (shutdown::signal(), drain.clone());
        tokio::spawn(async move {
            asked.await;
            end.cancel();
        });
        // In a cluster this waits for the API server.
        match drain.run_until_cancelled(App::bind(config, log)).await {
            Some(app) => app?.run(drain).await,
            None => Ok(()),
        }
    })
}

fn refuse(error: &ConfigError) -> ExitCode {
    match error {
        ConfigError::CommandLine(error) if !error.use_stderr() => {
            // Help or the version was requested. An error of printing to a closed pipe is ignored.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("ostria-citadel: {error}");
            ExitCode::from(USAGE)
        }
    }
}

/// `EX_USAGE` of sysexits(3).
const USAGE: u8 = 64;
