//! Envoy's and Istio's protobuf, and the only place that names it: model values to wire and back.
//!
//! Everything above this module speaks `model`; everything on the network is Envoy xDS v3. `xds` holds the
//! messages and service stubs of the discovery protocol itself.

pub mod xds;

mod value;
