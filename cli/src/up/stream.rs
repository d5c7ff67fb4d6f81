//! The byte stream of `exec`: input frames in one direction; output, error and exit code frames in the other.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf};
use tokio::sync::mpsc;

use crate::up::attach::{self, AttachError, Attached, ContainerRef};
use crate::up::context::Context;
use crate::up::sandbox::Sandbox;
use crate::wire::{ExecQuery, frame};

/// A running command with its terminal, if it has one.
pub struct Running {
    attached: Attached,
    /// Both ends of the terminal. The command's end stays open here until the command has ended. Otherwise reads from
    /// the other end would fail before the command has opened its end.
    terminal: Option<(OwnedFd, OwnedFd)>,
}

/// Why a command cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// No terminal can be opened.
    #[error("cannot create a terminal: {0}")]
    Terminal(#[from] nix::Error),
    /// The command cannot be run.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// Starts the command.
pub async fn begin(
    context: &Context,
    container: ContainerRef<'_>,
    query: &ExecQuery,
) -> Result<Running, StreamError> {
    let (terminal, path) = if query.tty {
        let pair = nix::pty::openpty(None, None)?;
        let path: PathBuf = nix::unistd::ttyname(&pair.slave)?;
        (Some((pair.master, pair.slave)), Some(path))
    } else {
        (None, None)
    };
    let attached = attach::start(context, container, &query.command, path).await?;
    Ok(Running { attached, terminal })
}

/// Copies frames until the command ends or the client disconnects.
pub async fn pass(upgraded: Upgraded, running: Running, sandbox: &Sandbox) {
    let (reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
    let Attached { input, output, errors, exit, id } = running.attached;
    let (frames, mut queue) = mpsc::channel::<Vec<u8>>(16);
    let (master, slave) = running.terminal.unzip();
    let (taker, outputs) = match master {
        Some(master) => terminal(master, reader, &frames),
        None => (
            tokio::spawn(take(reader, input)),
            vec![
                tokio::spawn(give(output, frame::OUTPUT, frames.clone())),
                tokio::spawn(give(errors, frame::ERROR, frames.clone())),
            ],
        ),
    };
    let end = tokio::spawn(async move {
        let code = match exit.await {
            Ok(Ok(code)) => code,
            _ => 137,
        };
        drop(slave);
        for output in outputs {
            // If the copy failed, there is no more output.
            let _ = output.await;
        }
        let _ = frames.send(frame::encode(frame::EXIT, code.to_string().as_bytes())).await;
    });
    while let Some(bytes) = queue.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            sandbox.signal(&id, nix::sys::signal::Signal::SIGKILL);
            break;
        }
    }
    let _ = writer.shutdown().await;
    taker.abort();
    end.abort();
}

type Tasks = (tokio::task::JoinHandle<()>, Vec<tokio::task::JoinHandle<()>>);

/// Connects a terminal to the stream. A terminal is one blocking file for both directions, so threads read and write
/// it.
fn terminal(master: OwnedFd, reader: ReadHalf<TokioIo<Upgraded>>, frames: &mpsc::Sender<Vec<u8>>) -> Tasks {
    use std::io::{Read, Write};
    let mut output = std::fs::File::from(master);
    let input = output.try_clone();
    let frames = frames.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 4096];
        // The read fails when the last process of the terminal has ended.
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if frames.blocking_send(frame::encode(frame::OUTPUT, &buffer[..length])).is_err() {
                return;
            }
        }
    });
    let writing = tokio::spawn(async move {
        let Ok(mut input) = input else { return };
        let mut reader = reader;
        while let Some(bytes) = next(&mut reader).await {
            let bytes = if bytes.is_empty() { vec![4] } else { bytes };
            if input.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    (writing, vec![reading])
}

async fn take(mut reader: ReadHalf<TokioIo<Upgraded>>, mut input: impl AsyncWrite + Unpin) {
    while let Some(bytes) = next(&mut reader).await {
        if bytes.is_empty() || input.write_all(&bytes).await.is_err() {
            let _ = input.shutdown().await;
            return;
        }
    }
}

/// The next input frame; `None` at the end of the input.
async fn next(reader: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let kind = reader.read_u8().await.ok()?;
    let length = reader.read_u32().await.ok()?.min(1 << 20);
    let mut bytes = vec![0; length as usize];
    reader.read_exact(&mut bytes).await.ok()?;
    (kind == frame::INPUT).then_some(bytes)
}

async fn give(mut output: impl AsyncRead + Unpin, kind: u8, frames: mpsc::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        if frames.send(frame::encode(kind, &buffer[..length])).await.is_err() {
            return;
        }
    }
}
