//! Runs a command in a container. The supervisor holds the command's input and output.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{UnixListener, UnixStream};

use crate::up::context::Context;
use crate::up::launch::{self, LaunchError};
use crate::up::sandbox::{Exit, Sandbox, SandboxError};

/// Why a command cannot be run in a container.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// Its process description cannot be made.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The socket for its input and output cannot be opened.
    #[error("{path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The command ended before it connected to the socket.
    #[error("the command exited at once with exit code {0}")]
    EndedAtOnce(i32),
    /// The pod's first process refused the order.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The pod has ended.
    #[error("the pod ended")]
    PodEnded,
    /// Reading or writing failed.
    #[error("reading the command's output failed: {0}")]
    Io(#[from] std::io::Error),
}

/// The container in which a probe or command runs.
#[derive(Debug, Clone, Copy)]
pub struct ContainerRef<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// The pod's namespaces.
    pub sandbox: &'a Sandbox,
    /// The pod's address.
    pub address: Ipv4Addr,
}

/// A running command.
#[derive(Debug)]
pub struct Attached {
    /// Standard input of the command.
    pub input: UnixStream,
    /// Standard output of the command.
    pub output: UnixStream,
    /// Standard error of the command.
    pub errors: UnixStream,
    /// Resolves when the command has ended.
    pub exit: Exit,
    /// Name of the command for signals.
    pub id: String,
}

/// Starts a command in a container.
pub async fn start(
    context: &Context,
    container: ContainerRef<'_>,
    command: &[String],
    terminal: Option<PathBuf>,
) -> Result<Attached, AttachError> {
    let address = container.address.to_string();
    let launch =
        launch::describe(context, container.pod, container.container, &address, Some((command, terminal)))?;
    // Names of containers contain no colon, so this name is unique.
    let id = format!("exec:{}", context.number());
    let socket = launch.with_file_name(format!("{id}.sock"));
    let listener =
        UnixListener::bind(&socket).map_err(|source| AttachError::Socket { path: socket.clone(), source })?;
    let mut exit = container.sandbox.attach(&id, launch, socket.clone(), &container.container.name);
    let connections =
        async { Ok([listener.accept().await?.0, listener.accept().await?.0, listener.accept().await?.0]) };
    let connected: Result<[UnixStream; 3], std::io::Error> = tokio::select! {
        connected = connections => connected,
        ended = &mut exit => return Err(match ended {
            Ok(Ok(code)) => AttachError::EndedAtOnce(code),
            Ok(Err(error)) => error.into(),
            Err(_) => AttachError::PodEnded,
        }),
    };
    let _ = std::fs::remove_file(&socket);
    let [input, output, errors] = connected?;
    Ok(Attached { input, output, errors, exit, id })
}

/// Runs a command to its end. Returns its exit code and the beginning of its output, or of its errors if it fails.
/// Output beyond `most` bytes is dropped, because a program in a pod may print without end.
pub async fn run(
    context: &Context,
    container: ContainerRef<'_>,
    command: &[String],
    most: usize,
) -> Result<(i32, Vec<u8>), AttachError> {
    let Attached { input, output, errors, exit, id } = start(context, container, command, None).await?;
    drop(input);
    let end = Killer { sandbox: container.sandbox, id };
    let read = tokio::join!(first(output, most), first(errors, most));
    let (mut text, complaints) = (read.0?, read.1?);
    let code = exit.await.map_err(|_| AttachError::PodEnded)??;
    end.disarm();
    if code != 0 {
        text.extend(complaints);
    }
    Ok((code, text))
}

/// Reads to the end and keeps the first `most` bytes.
async fn first(mut from: impl AsyncRead + Unpin, most: usize) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    (&mut from).take(most as u64).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(kept)
}

/// Kills a command when its caller stops waiting, for example at a probe's timeout.
struct Killer<'a> {
    sandbox: &'a Sandbox,
    id: String,
}

impl Killer<'_> {
    /// Call this when the command has ended by itself: its name is then invalid.
    fn disarm(mut self) {
        self.id.clear();
    }
}

impl Drop for Killer<'_> {
    fn drop(&mut self) {
        self.sandbox.signal(&self.id, nix::sys::signal::Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_beginning_of_the_output_is_kept_and_the_rest_is_discarded() {
        let (mut program, output) = tokio::io::duplex(64);
        let printing = tokio::spawn(async move {
            for _ in 0..1000 {
                tokio::io::AsyncWriteExt::write_all(&mut program, b"0123456789").await.unwrap();
            }
        });
        assert_eq!(first(output, 15).await.unwrap(), b"012345678901234");
        printing.await.unwrap();
    }
}
