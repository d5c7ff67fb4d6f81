//! Citadel, the mesh's certificate authority: issues the certificates that prove workloads' identities to their peers.
//!
//! A client presents a token or its current certificate, sends a signing request, and gets a short-lived certificate
//! for the identity that its credentials prove. Nothing in the request can change that identity.
//!
//! Imports go down this list only; a blank line ends a layer, whose modules do not import each other.

pub mod app;

pub mod serve;
pub mod control;

pub mod pipeline;

pub mod authenticate;
pub mod request;
pub mod authorize;
pub mod limit;
pub mod issue;
pub mod audit;
pub mod bundle;

pub mod root;
pub mod jwks;
pub mod telemetry;

pub mod flow;

pub mod config;
