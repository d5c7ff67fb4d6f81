//! The body of an incoming HTTP/1 message. The task that polls the body reads it directly from the connection.

use super::invalid::Invalid;
use super::upgrade::Upgraded;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The body of one message on a connection.
pub struct Body {
    source: Rc<dyn Source>,
    /// The number of the message on the connection. A body that is kept after its message must not read the next
    /// message.
    number: u32,
}

/// Why a body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection ended.
    #[error("the connection ended within the body")]
    Broken,
    /// The bytes received are not a valid body.
    #[error("the body is malformed")]
    Invalid(#[source] Invalid),
}

/// The connection that a body reads from.
pub(super) trait Source {
    fn poll_frame(
        &self,
        number: u32,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>;
    fn is_end(&self, number: u32) -> bool;
    fn hint(&self, number: u32) -> SizeHint;
    /// The body was dropped: no task reads the rest of message `number`.
    fn leave(&self, number: u32);
    /// Requests the connection's stream after an upgrade.
    fn upgrade(&self, number: u32) -> Option<oneshot::Receiver<Upgraded>>;
}

impl Body {
    pub(super) fn new(source: Rc<dyn Source>, number: u32) -> Self {
        Self { source, number }
    }

    /// Requests the connection's stream, which arrives once the connection has left HTTP.
    pub fn upgrade(&self) -> Option<oneshot::Receiver<Upgraded>> {
        self.source.upgrade(self.number)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.source.poll_frame(self.number, context)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end(self.number)
    }

    fn size_hint(&self) -> SizeHint {
        self.source.hint(self.number)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.source.leave(self.number);
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Body").field("number", &self.number).finish_non_exhaustive()
    }
}
