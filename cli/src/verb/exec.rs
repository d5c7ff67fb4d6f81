//! `ostria exec`.

use std::io::{IsTerminal, Read, Write};

use clap::Args;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::client::stream::{Frames, block_on};
use crate::failure::Failure;
use crate::place::Place;
use crate::verb::entry::Verb;
use crate::wire::{ExecQuery, Target, frame};

/// `ostria exec`
#[derive(Debug, Args)]
pub struct Exec {
    /// Name of the pod, or deployment/NAME
    pod: String,
    /// Name of the container; without it, the application's container
    #[arg(short, long)]
    container: Option<String>,
    /// Pass standard input to the command
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Allocate a terminal for the command
    #[arg(short = 't', long)]
    tty: bool,
    /// Command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Verb for Exec {
    const NAME: &'static str = "exec";
    const ABOUT: &'static str = "Run a command in a container";
    const EXAMPLES: &'static [&'static str] = &[
        "exec deployment/productpage-v1 -- curl -s http://reviews:9080/health",
        "exec -it deployment/reviews-v1 -- sh",
    ];

    fn run(self, place: &Place) -> Result<(), Failure> {
        run(place, &self)
    }
}

/// Runs a command in a container. Its exit code becomes the exit code of `ostria`.
fn run(place: &Place, exec: &Exec) -> Result<(), Failure> {
    let tty = exec.tty && std::io::stdin().is_terminal();
    let code = block_on(async {
        let mesh = place.mesh().await?;
        let namespace = mesh.namespace().to_string();
        let target = Target { namespace, pod: exec.pod.clone(), container: exec.container.clone() };
        let query = ExecQuery { target, command: exec.command.clone(), stdin: exec.stdin, tty };
        let size = tty.then(|| rustix::termios::tcgetwinsize(std::io::stdin()).ok()).flatten();
        let frames = mesh.exec(&query, size).await?;
        let _raw = tty.then(RawTerminal::enter).flatten();
        let (reader, writer) = tokio::io::split(frames);
        let input = tokio::spawn(feed(writer, exec.stdin));
        let code = print(reader).await;
        input.abort();
        Ok(code)
    })?;
    if code == 0 { Ok(()) } else { Err(Failure::Exit(code)) }
}

async fn feed(mut writer: WriteHalf<Frames>, stdin: bool) {
    let (sender, mut pieces) = tokio::sync::mpsc::channel::<Vec<u8>>(4);
    if stdin {
        // A read from a terminal cannot be cancelled, so the thread is left to end with the process.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = std::io::stdin().read(&mut buffer) {
                if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
    } else {
        drop(sender);
    }
    while let Some(piece) = pieces.recv().await {
        if writer.write_all(&frame::encode(frame::INPUT, &piece)).await.is_err() {
            return;
        }
    }
    // Marks the end of input. Without it a command that reads its input would wait forever.
    let _ = writer.write_all(&frame::encode(frame::INPUT, &[])).await;
    std::future::pending::<()>().await;
}

async fn print(mut reader: ReadHalf<Frames>) -> u8 {
    loop {
        let (Ok(kind), Ok(length)) = (reader.read_u8().await, reader.read_u32().await) else {
            eprintln!("error: the pod ended");
            return 137;
        };
        let mut bytes = vec![0; length as usize];
        if reader.read_exact(&mut bytes).await.is_err() {
            return 137;
        }
        // A closed output, such as a pipe to `head`, is not an error.
        let _ = match kind {
            frame::OUTPUT => std::io::stdout().write_all(&bytes).and_then(|()| std::io::stdout().flush()),
            frame::ERROR => std::io::stderr().write_all(&bytes),
            _ => return String::from_utf8_lossy(&bytes).parse().unwrap_or(1),
        };
    }
}

/// A terminal in raw mode, until this value is dropped.
struct RawTerminal(Termios);

impl RawTerminal {
    fn enter() -> Option<Self> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // If the terminal is gone, nothing can be restored.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.0);
    }
}
