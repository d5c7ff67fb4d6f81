//! Pure. The table of filters: what is made ready of each, and which part of it decides when.

use super::cors::Cors;
use super::fault::Fault;
use super::grpc_web::{self, FromText, ToWeb};
use super::rbac::Rules;
use super::step::{Answered, Asked, Event, Kept, ResponseStep, Stat, Step};
use crate::flow::refusal::Refusal;
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

/// A filter with the settings that hold for a route. One without effect is not made ready.
#[derive(Debug, Clone)]
pub enum Ready {
    /// Cross-origin rules.
    Cors(Arc<Cors>),
    /// Faults.
    Fault(Arc<Fault>),
    /// gRPC-Web to gRPC.
    GrpcWeb,
    /// Role-based access control.
    Rbac(Arc<Rules>),
}

impl Ready {
    /// Decides on a request.
    pub fn request(
        &self,
        event: &Event,
        asked: &Asked<'_>,
        headers: &mut HeaderMap,
        kept: &mut Kept,
    ) -> Step {
        match self {
            Self::Cors(cors) => cors.request(asked, headers, kept),
            Self::Fault(fault) => fault.request(event, asked, headers, kept),
            Self::GrpcWeb => grpc_web::request(asked, headers, kept),
            Self::Rbac(rules) => rules.request(asked, headers),
        }
    }

    /// Decides on a response to a request of which it keeps something.
    pub fn response(&self, event: &Event, answered: &mut Answered<'_>, kept: &mut Kept) -> ResponseStep {
        match self {
            Self::Cors(cors) => cors.response(answered.headers, kept),
            Self::GrpcWeb => grpc_web::response(event, answered, kept),
            Self::Fault(_) | Self::Rbac(_) => ResponseStep::Next,
        }
    }

    /// What is to be done to the body of a request of which it keeps something.
    pub fn request_body(&self, kept: &Kept) -> Option<Change> {
        match self {
            Self::GrpcWeb => grpc_web::request_body(kept).map(Change::FromText),
            Self::Cors(_) | Self::Fault(_) | Self::Rbac(_) => None,
        }
    }

    /// What is to be done to the body of the response.
    pub fn response_body(&self, kept: &Kept) -> Option<Change> {
        match self {
            Self::GrpcWeb => grpc_web::response_body(kept).map(Change::ToWeb),
            Self::Cors(_) | Self::Fault(_) | Self::Rbac(_) => None,
        }
    }

    /// Looks at the trailers of a response whose body it changes.
    pub fn end(&self, trailers: &HeaderMap, count: &dyn Fn(Stat<'_>), kept: &Kept) {
        match self {
            Self::GrpcWeb => grpc_web::trailers(trailers, count, kept),
            Self::Cors(_) | Self::Fault(_) | Self::Rbac(_) => {}
        }
    }
}

/// A change of a body that goes by.
#[derive(Debug)]
pub enum Change {
    /// gRPC-Web in base64 to gRPC.
    FromText(FromText),
    /// gRPC to gRPC-Web.
    ToWeb(ToWeb),
}

impl Change {
    /// The next piece.
    pub fn data(&mut self, data: Bytes) -> Result<Bytes, Refusal> {
        match self {
            Self::FromText(text) => text.data(&data),
            Self::ToWeb(web) => Ok(web.data(data)),
        }
    }

    /// The end: what is to be sent before it, or trailers.
    pub fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(Bytes, Option<HeaderMap>), Refusal> {
        match self {
            Self::FromText(text) => text.end().map(|()| (Bytes::new(), trailers)),
            Self::ToWeb(web) => Ok((web.end(trailers.as_ref()), None)),
        }
    }
}
