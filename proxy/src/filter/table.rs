//! Pure. The table of filters: how each is compiled, which settings of a route it accepts, and which of its functions run
//! at each stage.

use super::buffer;
use super::cors::Cors;
use super::fault::Fault;
use super::grpc_web::{self, FromText, ToWeb};
use super::health_check::{self, HealthCheck};
use super::rbac::Rules;
use super::step::{Event, FilterState, RequestHeaders, RequestView, ResponseStep, ResponseView, Stat, Step};
use crate::flow::refusal::Refusal;
use crate::matcher::InvalidConfig;
use api::model::filter::buffer::Buffer;
use api::model::filter::{Filter, Setting};
use bytes::Bytes;
use http::HeaderMap;
use std::borrow::Cow;
use std::sync::Arc;

/// A filter as it runs for a route: the listener's filter, changed by the route's settings. A filter without effect for
/// the route has none.
#[derive(Debug, Clone)]
pub enum EffectiveFilter {
    /// Request buffering.
    Buffer(Buffer),
    /// Cross-origin resource sharing.
    Cors(Arc<Cors>),
    /// Fault injection.
    Fault(Arc<Fault>),
    /// gRPC-Web to gRPC conversion.
    GrpcWeb,
    /// Health checks of the proxy.
    HealthCheck(Arc<HealthCheck>),
    /// Role-based access control.
    Rbac(Arc<Rules>),
}

impl EffectiveFilter {
    /// Handles a request's head.
    pub fn request(
        &self,
        event: &Event,
        request: &RequestView<'_>,
        headers: &mut RequestHeaders<'_>,
        state: &mut FilterState,
    ) -> Step {
        match self {
            Self::Buffer(buffer) => buffer::request(*buffer, event, request, headers),
            Self::Cors(cors) => cors.request(request, headers, state),
            Self::Fault(fault) => fault.request(event, request, headers, state),
            Self::GrpcWeb => grpc_web::request(request, headers, state),
            Self::HealthCheck(check) => check.request(request, headers, state),
            Self::Rbac(rules) => rules.request(request, headers),
        }
    }

    /// Handles a response's head. Called only if the filter stored state for the request.
    pub fn response(
        &self,
        event: &Event,
        response: &mut ResponseView<'_>,
        state: &mut FilterState,
    ) -> ResponseStep {
        match self {
            Self::Cors(cors) => cors.response(response.headers, state),
            Self::GrpcWeb => grpc_web::response(event, response, state),
            Self::HealthCheck(_) => health_check::response(response, state),
            Self::Buffer(_) | Self::Fault(_) | Self::Rbac(_) => ResponseStep::Next,
        }
    }

    /// The change to a request's body. Called only if the filter stored state for the request.
    pub fn request_body(&self, state: &FilterState) -> Option<Change> {
        match self {
            Self::GrpcWeb => grpc_web::request_body(state).map(Change::FromText),
            Self::Buffer(_) | Self::Cors(_) | Self::Fault(_) | Self::HealthCheck(_) | Self::Rbac(_) => None,
        }
    }

    /// The change to a response's body.
    pub fn response_body(&self, state: &FilterState) -> Option<Change> {
        match self {
            Self::GrpcWeb => grpc_web::response_body(state).map(Change::ToWeb),
            Self::Buffer(_) | Self::Cors(_) | Self::Fault(_) | Self::HealthCheck(_) | Self::Rbac(_) => None,
        }
    }

    /// Handles the trailers of a response whose body the filter changes.
    pub fn end(&self, trailers: &HeaderMap, count: &dyn Fn(Stat<'_>), state: &FilterState) {
        match self {
            Self::GrpcWeb => grpc_web::trailers(trailers, count, state),
            Self::Buffer(_) | Self::Cors(_) | Self::Fault(_) | Self::HealthCheck(_) | Self::Rbac(_) => {}
        }
    }
}

/// A filter as the listener configures it.
#[derive(Debug)]
pub(super) enum ListenerFilter {
    Buffer(Buffer),
    Cors,
    Fault(Arc<Fault>),
    GrpcWeb,
    HealthCheck(Arc<HealthCheck>),
    Rbac(Arc<Rules>),
}

impl ListenerFilter {
    /// `None` for filters that are implemented elsewhere: the ALPN and metrics filters, and the router at the end of
    /// the list.
    pub(super) fn compile(from: &Filter) -> Result<Option<Self>, InvalidConfig> {
        Ok(match from {
            Filter::Fault(fault) => Some(Self::Fault(Fault::compile(fault)?.into())),
            Filter::Rbac(rules) => Some(Self::Rbac(Rules::compile(rules)?.into())),
            Filter::Buffer(buffer) => Some(Self::Buffer(*buffer)),
            Filter::Cors => Some(Self::Cors),
            Filter::GrpcWeb => Some(Self::GrpcWeb),
            Filter::HealthCheck(check) => Some(Self::HealthCheck(HealthCheck::compile(check)?.into())),
            Filter::GrpcStats | Filter::Alpn | Filter::Stats | Filter::PeerMetadata | Filter::Router => None,
        })
    }

    /// The filter with a route's setting, which is not `Off`; `None`: it has no effect on the route.
    pub(super) fn with_setting(&self, setting: Option<&Override>) -> Option<EffectiveFilter> {
        match self {
            Self::Buffer(own) => {
                let buffer = if let Some(Override::Buffer(given)) = setting { given } else { own };
                Some(EffectiveFilter::Buffer(*buffer))
            }
            Self::Cors => match setting {
                Some(Override::Cors(policy)) => Some(EffectiveFilter::Cors(policy.clone())),
                Some(_) | None => None,
            },
            Self::Fault(own) => {
                let fault = if let Some(Override::Fault(given)) = setting { given } else { own };
                fault.has_effect().then(|| EffectiveFilter::Fault(fault.clone()))
            }
            Self::GrpcWeb => Some(EffectiveFilter::GrpcWeb),
            Self::HealthCheck(own) => Some(EffectiveFilter::HealthCheck(own.clone())),
            Self::Rbac(own) => {
                let rules = if let Some(Override::Rbac(given)) = setting { given } else { own };
                rules.has_effect().then(|| EffectiveFilter::Rbac(rules.clone()))
            }
        }
    }
}

/// Compiled settings of a route, a virtual host or a route table.
#[derive(Debug)]
pub(super) enum Override {
    Off,
    Buffer(Buffer),
    Cors(Arc<Cors>),
    Fault(Arc<Fault>),
    Rbac(Arc<Rules>),
}

impl Override {
    pub(super) fn compile(from: &Setting) -> Result<Self, InvalidConfig> {
        Ok(match from {
            Setting::Off => Self::Off,
            Setting::Buffer(buffer) => Self::Buffer(*buffer),
            Setting::Cors(policy) => Self::Cors(Cors::compile(policy)?.into()),
            Setting::Fault(fault) => Self::Fault(Fault::compile(fault)?.into()),
            Setting::Rbac(rules) => Self::Rbac(Rules::compile(rules)?.into()),
        })
    }
}

/// Fills unset fields from the setting of a wider level, for the filters that merge levels.
pub(super) fn inherit(setting: &mut Cow<'_, Setting>, wider: &Setting) {
    if let (Setting::Cors(own), Setting::Cors(wider)) = (&**setting, wider) {
        *setting = Cow::Owned(Setting::Cors(own.over(wider)));
    }
}

/// A change that a filter makes to a body while it is streamed.
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
