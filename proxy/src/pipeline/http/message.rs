//! A request to send upstream: its head, and its body as often as it can be sent.

use crate::send::Incoming;
use crate::send::body::{Meter, Replay};
use http::{HeaderMap, Method, Uri};
use std::rc::Rc;

/// A request, by how often it can be sent.
pub(super) enum Message {
    /// Without a body.
    NoBody { method: Method, uri: Uri, headers: HeaderMap },
    /// With a body that is kept for retries while it is short.
    Replayable { method: Method, uri: Uri, headers: HeaderMap, replay: Rc<Replay> },
    /// With a body that is streamed once.
    Streamed { method: Method, uri: Uri, headers: HeaderMap, body: Option<Incoming> },
}

impl Message {
    /// Whether the whole request can be sent again.
    pub(super) fn can_resend(&self) -> bool {
        match self {
            Self::NoBody { .. } => true,
            Self::Replayable { replay, .. } => replay.is_whole(),
            Self::Streamed { body, .. } => body.is_some(),
        }
    }

    /// Whether it has a safe method and no body, so that sending it twice does no harm.
    pub(super) fn is_safe(&self) -> bool {
        matches!(self, Self::NoBody { method, .. } if method.is_safe())
    }

    /// Restores headers that sending returned, for another attempt.
    pub(super) fn restore_headers(&mut self, returned: HeaderMap) {
        let (Self::NoBody { headers, .. }
        | Self::Replayable { headers, .. }
        | Self::Streamed { headers, .. }) = self;
        if headers.is_empty() {
            *headers = returned;
        }
    }

    /// Counts what has arrived of a body that no attempt has taken.
    pub(super) fn receive(&mut self, meter: &Meter) {
        match self {
            Self::Replayable { replay, .. } => replay.receive(meter),
            Self::Streamed { body: Some(body), .. } => meter.receive(body),
            Self::NoBody { .. } | Self::Streamed { body: None, .. } => {}
        }
    }

    pub(super) fn head(&mut self, again: bool) -> (Method, Uri, HeaderMap) {
        let (Self::NoBody { method, uri, headers }
        | Self::Replayable { method, uri, headers, .. }
        | Self::Streamed { method, uri, headers, .. }) = self;
        let headers = if again { headers.clone() } else { std::mem::take(headers) };
        (method.clone(), uri.clone(), headers)
    }
}
