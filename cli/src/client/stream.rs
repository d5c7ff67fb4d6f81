//! Streams that a mesh gives a verb, wherever the mesh is; and the runtime in which a verb reads them.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::failure::Failure;

/// The frames of a command that runs in a container (`wire::frame`).
pub type Frames = Box<dyn Stream>;

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The output of a container.
pub type Log = BoxStream<'static, Result<Bytes, Failure>>;

/// Runs the future of a verb that talks to a mesh.
pub fn block_on<T>(verb: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::blocked(format!("the runtime cannot be started: {error}"), "free some memory")
    })?;
    let result = runtime.block_on(verb);
    // A thread that still waits for input must not keep the command from returning.
    runtime.shutdown_background();
    result
}
