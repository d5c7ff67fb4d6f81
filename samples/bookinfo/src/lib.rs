//! A version of Istio's Bookinfo sample in one small binary: `productpage` calls `details` and `reviews`, and `reviews`
//! calls `ratings`.
//!
//! It makes routing, faults, timeouts and identities visible to users. It does not know that it runs in a mesh: it
//! sends plain HTTP to the services' names and forwards headers. Modules are listed top-down: a module uses only
//! modules below it.

pub mod app;

pub mod role;

pub mod upstream;

pub mod response;
pub mod page;
pub mod session;

pub mod book;
pub mod forward;

pub mod config;
