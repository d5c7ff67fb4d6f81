//! Runs the filters of one request in order, and is the only place that carries out their steps.

use super::body::{BrokenOff, ResponseBody};
use super::exchange::Exchange;
use super::reply;
use super::timer::{Expired, Limits};
use crate::filter::ready::{Change, Ready};
use crate::filter::step::{Answered, Asked, Event, Kept, ResponseStep, Stat, Step};
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
pub(super) struct Chain<'a> {
    filters: Cow<'a, [Ready]>,
    /// Kept values, each with the index of its filter.
    kept: Vec<(usize, Kept)>,
    /// Changes to the request's body, in order.
    changes: Vec<Change>,
    /// Whether the request's body was held, after which filters may have changed its head.
    held: bool,
}

/// Why a request ends in its filters.
pub(super) enum Ended {
    Refused(Refusal),
    Answered(Response<ResponseBody>),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl<'a> Chain<'a> {
    pub(super) fn new(filters: Cow<'a, [Ready]>) -> Self {
        Self { filters, kept: vec![], changes: vec![], held: false }
    }

    /// Runs the filters on a request, in order. Without filters, their input is not built. Waits are boxed, because they
    /// are rare and would enlarge the future of every request.
    pub(super) async fn request<'r>(
        &mut self,
        exchange: &Rc<Exchange>,
        asked: impl FnOnce() -> Asked<'r>,
        (headers, body): (&mut HeaderMap, &mut Incoming),
    ) -> Result<(), Ended> {
        if self.filters.is_empty() {
            return Ok(());
        }
        let asked = &Asked { ends: body.is_end_stream(), ..asked() };
        for (place, filter) in self.filters.iter().enumerate() {
            let (mut event, mut kept) = (Event::Head, Kept::default());
            loop {
                event = match filter.request(&event, asked, headers, &mut kept) {
                    Step::Next => break,
                    Step::Refuse(refusal) => {
                        if !kept.is_empty() {
                            self.kept.push((place, kept));
                        }
                        return Err(Ended::Refused(*refusal));
                    }
                    Step::Answer(answer) => {
                        self.kept.push((place, kept));
                        return Err(Ended::Answered(reply::answer(*answer, exchange)));
                    }
                    Step::Hold(most) => {
                        self.held = true;
                        let changes = std::mem::take(&mut self.changes);
                        Event::Held(Box::pin(hold(exchange, changes, body, most)).await?)
                    }
                    Step::Wait { time, flags } => {
                        exchange.flag(flags);
                        Box::pin(tokio::time::sleep(time)).await;
                        Event::Waited
                    }
                };
            }
            if !kept.is_empty() {
                self.changes.extend(filter.request_body(&kept));
                self.kept.push((place, kept));
                if headers.get(CONTENT_TYPE).is_some_and(is_grpc_type) {
                    exchange.call_grpc();
                }
            }
        }
        Ok(())
    }

    /// The request's body with the filters' changes.
    pub(super) fn body(&mut self, body: Incoming) -> Incoming {
        changed(body, std::mem::take(&mut self.changes))
    }

    /// Whether filters may have changed the request's head.
    pub(super) fn may_change_head(&self) -> bool {
        self.held || self.awaits_response()
    }

    /// Whether a filter wants to see the response.
    pub(super) fn awaits_response(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Runs on the response, in reverse order, the filters that kept a value of the request.
    pub(super) async fn response(self, exchange: &Rc<Exchange>, response: &mut Response<ResponseBody>) {
        let count = |stat: Stat<'_>| exchange.connection.count(stat);
        for (place, mut kept) in self.kept.into_iter().rev() {
            let filter = &self.filters[place];
            let mut event = Event::Head;
            loop {
                let ends = response.body().is_end_stream();
                let status = response.status();
                let headers = response.headers_mut();
                let mut answered = Answered {
                    status: &status,
                    headers,
                    ends,
                    node: &exchange.connection.thread.node,
                    count: &count,
                };
                match filter.response(&event, &mut answered, &mut kept) {
                    ResponseStep::Next => break,
                    ResponseStep::Hold(most) => match response.body_mut().hold(most).await {
                        Ok(body) => event = Event::Held(body),
                        Err(BrokenOff(refusal)) => {
                            *response = reply::refuse(*refusal, exchange);
                            return;
                        }
                    },
                }
            }
            if let Some(change) = filter.response_body(&kept).filter(|_| !response.body().is_end_stream()) {
                let (filter, exchange) = (filter.clone(), exchange.clone());
                response.body_mut().change(change, move |trailers| {
                    exchange.trailers(trailers);
                    filter.end(trailers, &|stat| exchange.connection.count(stat), &kept);
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
async fn hold(
    exchange: &Rc<Exchange>,
    changes: Vec<Change>,
    body: &mut Incoming,
    most: usize,
) -> Result<Bytes, Refusal> {
    let arriving = changed(std::mem::replace(body, Incoming::held(Bytes::new(), None)), changes);
    let mut arriving = RequestBody::stream(arriving, &exchange.meter);
    let (data, trailers) = {
        let mut arrival = exchange.arrival();
        let mut limits = Limits { arrival: arrival.as_mut(), ..Limits::default() };
        match limits.wait(pin!(arriving.read(most))).await {
            Ok(Ok(read)) => read,
            Ok(Err(ReadError::TooLong)) => {
                exchange.connection.count(Stat::Connection("downstream_rq_too_large"));
                return Err(Refusal::too_large());
            }
            Ok(Err(ReadError::Broken(_))) => return Err(Refusal::of_client(&exchange.meter)),
            Err(Expired::Arrival) => return Err(Refusal::slow()),
            Err(Expired::Stalled | Expired::Whole | Expired::Attempt | Expired::Idle) => {
                return Err(Refusal::stalled());
            }
        }
    };
    *body = Incoming::held(data.clone(), trailers);
    Ok(data)
}
