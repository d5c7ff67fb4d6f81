//! Pure. What filters are told and what they ask for.

use crate::flow::flags::Flags;
use crate::flow::head::Head;
use crate::flow::refusal::Refusal;
use crate::flow::subject::Subject;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use std::any::Any;
use std::time::Duration;

/// What a filter asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Go on to the next filter.
    Next,
    /// Tell the client so, and go no further.
    Refuse(Box<Refusal>),
    /// Answer with this, and go no further.
    Answer(Box<Answer>),
    /// Ask a cluster, and ask the filter again.
    Ask(Box<Question>),
    /// Wait, and ask the filter again.
    Wait {
        /// How long.
        time: Duration,
        /// What logs say of it.
        flags: Flags,
    },
}

/// An answer without a body, which is no refusal.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// Response code details.
    pub details: &'static str,
}

/// A request of the proxy's own to a cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// Which cluster.
    pub cluster: Box<str>,
    /// Method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Headers, with `host`.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<Bytes>,
    /// It stands for a client's that speaks HTTP/2, where the cluster is spoken to as the client speaks.
    pub http2: bool,
    /// Bytes of the answer's body to keep; what is longer is read and dropped.
    pub most: usize,
    /// How long it may take.
    pub within: Duration,
}

/// What a cluster answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body, as far as it was to be kept.
    pub body: Bytes,
}

/// Something to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stat<'a> {
    /// `http.<stat_prefix>.<name>`
    Connection(&'a str),
    /// `cluster.<cluster>.<name>`, by cluster and name.
    Cluster(&'a str, &'a str),
}

/// Why a filter is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The head has come.
    Head,
    /// It has waited as long as it wanted.
    Waited,
    /// The cluster has answered, or there is no answer.
    Replied(Result<Reply, Box<Refusal>>),
    /// The body, as far as it wanted it.
    Held(Bytes),
}

/// What a filter keeps of a request until it is asked again: a value of its own type, which most never need.
#[derive(Default)]
pub struct Kept(Option<Box<dyn Any>>);

impl Kept {
    /// Keeps a value.
    pub fn put<T: Any>(&mut self, value: T) {
        self.0 = Some(Box::new(value));
    }

    /// Gives the value back, which is then no longer kept.
    pub fn take<T: Any>(&mut self) -> Option<T> {
        self.0.take()?.downcast().ok().map(|value| *value)
    }

    /// The value.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// A request as filters see it, but for its headers, which they may change.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Method.
    pub method: &'a Method,
    /// `host` or `:authority`.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Who asks; without the head.
    pub subject: Subject<'a>,
    /// The cluster of a route that has but one.
    pub cluster: &'a str,
    /// The route sends it to a cluster.
    pub forwarded: bool,
    /// The client speaks gRPC.
    pub grpc: bool,
    /// Where chance comes from.
    pub random: &'a dyn Fn() -> u32,
    /// Where counters are.
    pub count: &'a dyn Fn(Stat<'_>),
}

/// What a filter asks for when the head of the response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseStep {
    /// Go on.
    Next,
    /// Take the body away, and ask the filter again with this many of its bytes.
    Hold(usize),
}

/// A response as filters see it.
pub struct Answered<'a> {
    /// Status.
    pub status: &'a StatusCode,
    /// Headers.
    pub headers: &'a mut HeaderMap,
    /// There is no body.
    pub ends: bool,
    /// Where counters are.
    pub count: &'a dyn Fn(Stat<'_>),
}

impl<'a> Asked<'a> {
    /// The head, for conditions.
    pub fn head(&self, headers: &'a HeaderMap) -> Head<'a> {
        let Self { method, authority, target, scheme, .. } = *self;
        Head { method, authority, target, scheme, headers }
    }
}
