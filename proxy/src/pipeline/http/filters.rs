//! Runs the filters of one request in order, and is the only place that carries out their steps.

use super::body::{BrokenOff, ResponseBody};
use super::exchange::Exchange;
use super::reply;
use super::timer::{Expired, Limits};
use crate::filter::step::{
    Event, FilterState, RequestHeaders, RequestView, ResponseStep, ResponseView, Stat, Step,
};
use crate::filter::table::{Change, EffectiveFilter};
use crate::flow::head::is_grpc_type;
use crate::flow::refusal::Refusal;
use crate::send::Incoming;
use crate::send::body::{ReadError, RequestBody};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response};
use http_body::Body;
use std::borrow::Cow;
use std::pin::pin;
use std::rc::Rc;

/// The filters of one request, and the values that they keep.
pub(super) struct RequestFilters<'a> {
    filters: Cow<'a, [EffectiveFilter]>,
    /// States, each with the index of its filter.
    states: Vec<(usize, FilterState)>,
    /// Changes to the request's body, in order.
    changes: Vec<Change>,
    /// Whether a filter may have changed the request's headers.
    changed_headers: bool,
    /// Whether the request has waited, during which its body may have arrived.
    waited: bool,
}

/// Why a request ends in its filters.
pub(super) enum Ended {
    Refused(Refusal),
    Responded(Response<ResponseBody>),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<'a> RequestFilters<'a> {
    pub(super) fn new(filters: Cow<'a, [EffectiveFilter]>) -> Self {
        Self { filters, states: vec![], changes: vec![], changed_headers: false, waited: false }
    }

    /// Runs the filters on a request, in order. Without filters, their input is not built. Waits are boxed, because they
    /// are rare and would enlarge the future of every request.
    pub(super) async fn request<'r>(
        &mut self,
        exchange: &Rc<Exchange>,
        view: impl FnOnce() -> RequestView<'r>,
        (headers, body): (&mut HeaderMap, &mut Incoming),
    ) -> Result<(), Ended> {
        if self.filters.is_empty() {
            return Ok(());
        }
        let view = &RequestView { ends: body.is_end_stream(), ..view() };
        let headers = &mut RequestHeaders::new(headers);
        for (place, filter) in self.filters.iter().enumerate() {
            let (mut event, mut state) = (Event::Head, FilterState::default());
            loop {
                let step = filter.request(&event, view, headers, &mut state);
                self.changed_headers = headers.changed();
                event = match step {
                    Step::Next => break,
                    Step::Refuse(refusal) => {
                        self.receive(exchange, body);
                        if !state.is_empty() {
                            self.states.push((place, state));
                        }
                        return Err(Ended::Refused(*refusal));
                    }
                    Step::Respond(response) => {
                        self.receive(exchange, body);
                        self.states.push((place, state));
                        return Err(Ended::Responded(reply::of_filter(*response, exchange)));
                    }
                    Step::ReadBody(most) => {
                        let changes = std::mem::take(&mut self.changes);
                        Event::Body(Box::pin(read_body(exchange, changes, body, most)).await?)
                    }
                    Step::Wait { time, flags } => {
                        exchange.flag(flags);
                        Box::pin(tokio::time::sleep(time)).await;
                        self.waited = true;
                        Event::Waited
                    }
                };
            }
            if !state.is_empty() {
                self.changes.extend(filter.request_body(&state));
                self.states.push((place, state));
            }
        }
        if self.changed_headers && headers.get(CONTENT_TYPE).is_some_and(is_grpc_type) {
            exchange.set_forwards_grpc();
        }
        Ok(())
    }

    /// Counts what has arrived of the body of a request that ends here, if it has waited. As in Envoy, a response that is
    /// there at once precedes the body.
    pub(super) fn receive(&self, exchange: &Exchange, body: &mut Incoming) {
        if self.waited {
            exchange.meter.receive(body);
        }
    }

    /// The request's body with the filters' changes.
    pub(super) fn body(&mut self, body: Incoming) -> Incoming {
        changed(body, std::mem::take(&mut self.changes))
    }

    /// Whether a filter may have changed the request's headers.
    pub(super) fn changed_headers(&self) -> bool {
        self.changed_headers
    }

    /// Whether a filter wants to see the response.
    pub(super) fn awaits_response(&self) -> bool {
        !self.states.is_empty()
    }

    /// Runs on the response, in reverse order, the filters that kept a value of the request.
    pub(super) async fn response(self, exchange: &Rc<Exchange>, response: &mut Response<ResponseBody>) {
        let count = |stat: Stat<'_>| exchange.connection.count(stat);
        for (place, mut state) in self.states.into_iter().rev() {
            let filter = &self.filters[place];
            let mut event = Event::Head;
            loop {
                let ends = response.body().is_end_stream();
                let status = response.status();
                let headers = response.headers_mut();
                let mut view = ResponseView {
                    status: &status,
                    headers,
                    ends,
                    node: &exchange.connection.thread.node,
                    count: &count,
                };
                match filter.response(&event, &mut view, &mut state) {
                    ResponseStep::Next => break,
                    ResponseStep::ReadBody(most) => match response.body_mut().read_to_end(most).await {
                        Ok(body) => event = Event::Body(body),
                        Err(BrokenOff(refusal)) => {
                            *response = reply::refuse(*refusal, exchange);
                            return;
                        }
                    },
                }
            }
            if let Some(change) = filter.response_body(&state).filter(|_| !response.body().is_end_stream()) {
                let (filter, exchange) = (filter.clone(), exchange.clone());
                response.body_mut().change(change, move |trailers| {
                    exchange.trailers(trailers);
                    filter.end(trailers, &|stat| exchange.connection.count(stat), &state);
                });
            }
        }
    }
}

fn changed(body: Incoming, changes: Vec<Change>) -> Incoming {
    if body.is_end_stream() {
        return body;
    }
    changes.into_iter().fold(body, |body, change| body.changed(change, None))
}

/// Reads the request's body, with the changes of the filters so far, and replaces it by what was read. The time limits
/// for the arrival of a request apply.
async fn read_body(
    exchange: &Rc<Exchange>,
    changes: Vec<Change>,
    body: &mut Incoming,
    most: usize,
) -> Result<Bytes, Refusal> {
    let arriving = changed(std::mem::replace(body, Incoming::buffered(Bytes::new(), None)), changes);
    let mut arriving = RequestBody::stream(arriving, &exchange.meter);
    let read = {
        let mut request = exchange.read_limits();
        let mut limits = Limits { request: request.as_mut(), ..Limits::default() };
        limits.wait(pin!(arriving.read(most))).await
    };
    let (data, trailers) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(ReadError::TooLong)) => {
            if let Some(mut rest) = arriving.into_incoming() {
                exchange.meter.receive(&mut rest);
            }
            exchange.connection.count(Stat::Connection("downstream_rq_too_large"));
            return Err(Refusal::too_large());
        }
        Ok(Err(ReadError::Broken(_))) => return Err(Refusal::of_client(&exchange.meter)),
        Err(Expired::RequestTimeout) => return Err(Refusal::slow()),
        Err(Expired::RequestIdle | Expired::Whole | Expired::Attempt | Expired::Idle) => {
            return Err(Refusal::stalled());
        }
    };
    *body = Incoming::buffered(data.clone(), trailers);
    Ok(data)
}
