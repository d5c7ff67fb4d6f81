//! Pure. The table of filters: their compiled forms, and the function that each of them calls at each stage.

use super::buffer;
use super::cors::Cors;
use super::fault::Fault;
use super::grpc_web::{self, FromText, ToWeb};
use super::rbac::Rules;
use super::step::{Answered, Asked, Event, Kept, ResponseStep, Stat, Step};
use crate::flow::refusal::Refusal;
use api::model::filter::buffer::Buffer;
use bytes::Bytes;
use http::HeaderMap;
use std::sync::Arc;

/// A filter under the settings of a route. Filters without effect are left out.
#[derive(Debug, Clone)]
pub enum Ready {
    /// Holds requests until their bodies have arrived.
    Buffer(Buffer),
    /// Cross-origin resource sharing.
    Cors(Arc<Cors>),
    /// Fault injection.
    Fault(Arc<Fault>),
    /// gRPC-Web to gRPC conversion.
    GrpcWeb,
    /// Role-based access control.
    Rbac(Arc<Rules>),
}

impl Ready {
    /// Handles a request's head.
    pub fn request(
        &self,
        event: &Event,
        asked: &Asked<'_>,
        headers: &mut HeaderMap,
        kept: &mut Kept,
    ) -> Step {
        match self {
            Self::Buffer(buffer) => buffer::request(*buffer, event, asked, headers),
            Self::Cors(cors) => cors.request(asked, headers, kept),
            Self::Fault(fault) => fault.request(event, asked, headers, kept),
            Self::GrpcWeb => grpc_web::request(asked, headers, kept),
            Self::Rbac(rules) => rules.request(asked, headers),
        }
    }

    /// Handles a response's head. Called only if the filter kept a value of the request.
    pub fn response(&self, event: &Event, answered: &mut Answered<'_>, kept: &mut Kept) -> ResponseStep {
        match self {
            Self::Cors(cors) => cors.response(answered.headers, kept),
            Self::GrpcWeb => grpc_web::response(event, answered, kept),
            Self::Buffer(_) | Self::Fault(_) | Self::Rbac(_) => ResponseStep::Next,
        }
    }

    /// The change to a request's body. Called only if the filter kept a value of the request.
    pub fn request_body(&self, kept: &Kept) -> Option<Change> {
        match self {
            Self::GrpcWeb => grpc_web::request_body(kept).map(Change::FromText),
            Self::Buffer(_) | Self::Cors(_) | Self::Fault(_) | Self::Rbac(_) => None,
        }
    }

    /// The change to a response's body.
    pub fn response_body(&self, kept: &Kept) -> Option<Change> {
        match self {
            Self::GrpcWeb => grpc_web::response_body(kept).map(Change::ToWeb),
            Self::Buffer(_) | Self::Cors(_) | Self::Fault(_) | Self::Rbac(_) => None,
        }
    }

    /// Handles the trailers of a response whose body the filter changes.
    pub fn end(&self, trailers: &HeaderMap, count: &dyn Fn(Stat<'_>), kept: &Kept) {
        match self {
            Self::GrpcWeb => grpc_web::trailers(trailers, count, kept),
            Self::Buffer(_) | Self::Cors(_) | Self::Fault(_) | Self::Rbac(_) => {}
        }
    }
}

/// A change to a body while it is streamed.
#[derive(Debug)]
pub enum Change {
    /// gRPC-Web in base64 to gRPC.
    FromText(FromText),
    /// gRPC to gRPC-Web.
    ToWeb(ToWeb),
}

impl Change {
    /// Changes the next piece of data.
    pub fn data(&mut self, data: Bytes) -> Result<Bytes, Refusal> {
        match self {
            Self::FromText(text) => text.data(&data),
            Self::ToWeb(web) => Ok(web.data(data)),
        }
    }

    /// Ends the body. Returns data to send before its end, and the trailers.
    pub fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(Bytes, Option<HeaderMap>), Refusal> {
        match self {
            Self::FromText(text) => text.end().map(|()| (Bytes::new(), trailers)),
            Self::ToWeb(web) => Ok((web.end(trailers.as_ref()), None)),
        }
    }
}
