//! Pure. The inputs and outputs of filters.

use crate::flow::flags::Flags;
use crate::flow::head::Head;
use crate::flow::node::Node;
use crate::flow::refusal::Refusal;
use crate::flow::subject::Subject;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// What a filter wants the pipeline to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Continue with the next filter.
    Next,
    /// Refuse the request.
    Refuse(Box<Refusal>),
    /// Send this response.
    Respond(Box<LocalResponse>),
    /// Read the request's body to its end, then call the filter again with it. A body longer than this is refused with
    /// 413.
    ReadBody(usize),
    /// Wait, then call the filter again.
    Wait {
        /// The time to wait.
        time: Duration,
        /// Response flags to set.
        flags: Flags,
    },
}

/// A filter's own response, which has no body and is not an error.
#[derive(Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// Status code.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// Response code details.
    pub details: &'static str,
}

/// A counter to increment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stat<'a> {
    /// `http.<stat_prefix>.<name>`
    Connection(&'a str),
    /// `cluster.<cluster>.<name>`, by cluster and name.
    Cluster(&'a str, &'a str),
}

/// Why a filter is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The request's head has arrived.
    Head,
    /// The requested wait is over.
    Waited,
    /// The body was read: all of a request's, or a response's up to the number of bytes in `ReadBody`.
    Body(Bytes),
}

/// A value that a filter keeps between its calls for one request. Most filters need none.
#[derive(Default)]
pub struct FilterState(Option<Box<dyn Any>>);

impl FilterState {
    /// Stores a value.
    pub fn put<T: Any>(&mut self, value: T) {
        self.0 = Some(Box::new(value));
    }

    /// Removes the value and returns it.
    pub fn take<T: Any>(&mut self) -> Option<T> {
        self.0.take()?.downcast().ok().map(|value| *value)
    }

    /// The stored value.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }

    /// Whether no value is stored.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// A request's headers. A mutable borrow marks them as changed, and the pipeline then updates what it has read from them
/// before, such as the values for access logs.
pub struct RequestHeaders<'a> {
    map: &'a mut HeaderMap,
    changed: bool,
}

impl<'a> RequestHeaders<'a> {
    /// Headers that no filter has changed.
    pub fn new(map: &'a mut HeaderMap) -> Self {
        Self { map, changed: false }
    }

    /// Whether a filter may have changed them.
    pub fn changed(&self) -> bool {
        self.changed
    }
}

impl Deref for RequestHeaders<'_> {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        self.map
    }
}

impl DerefMut for RequestHeaders<'_> {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        self.changed = true;
        self.map
    }
}

/// A request as filters see it. Its headers are passed separately, because filters may change them.
#[derive(Clone, Copy)]
pub struct RequestView<'a> {
    /// Method.
    pub method: &'a Method,
    /// `host` or `:authority`.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The client, for authorization. Its `head` is unset.
    pub subject: Subject<'a>,
    /// The cluster of a route with a single cluster.
    pub cluster: &'a str,
    /// Whether the route forwards the request.
    pub forwarded: bool,
    /// Whether the client uses gRPC.
    pub grpc: bool,
    /// Whether there is no body. Set by `RequestFilters`, which holds the body.
    pub ends: bool,
    /// Source of random numbers.
    pub random: &'a dyn Fn() -> u32,
    /// Increments a counter.
    pub count: &'a dyn Fn(Stat<'_>),
}

/// What a filter wants the pipeline to do with a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseStep {
    /// Continue.
    Next,
    /// Read the response's body to its end, then call the filter again with up to this many of its bytes. The client
    /// receives no body.
    ReadBody(usize),
}

/// A response as filters see it.
pub struct ResponseView<'a> {
    /// Status.
    pub status: &'a StatusCode,
    /// Headers.
    pub headers: &'a mut HeaderMap,
    /// Whether there is no body.
    pub ends: bool,
    /// The proxy itself.
    pub node: &'a Node,
    /// Increments a counter.
    pub count: &'a dyn Fn(Stat<'_>),
}

impl<'a> RequestView<'a> {
    /// The head, for matching conditions.
    pub fn head(&self, headers: &'a HeaderMap) -> Head<'a> {
        let Self { method, authority, target, scheme, .. } = *self;
        Head { method, authority, target, scheme, headers }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Calls `with` with a GET request whose counters and random numbers are constant.
    pub(in crate::filter) fn with_request<T>(with: impl FnOnce(RequestView<'_>) -> T) -> T {
        let address: std::net::SocketAddr = "192.0.2.1:80".parse().unwrap();
        let subject = Subject {
            destination: address,
            source: address,
            client: address.ip(),
            server_name: None,
            tls: false,
            peer: None,
            head: None,
        };
        with(RequestView {
            method: &Method::GET,
            authority: "a",
            target: "/",
            scheme: "http",
            subject,
            cluster: "c",
            forwarded: true,
            grpc: false,
            ends: false,
            random: &|| 50,
            count: &|_| {},
        })
    }
}
