//! Pure. Compiled HTTP filters and their decisions: on a request's head, on its response, and on the trailers. A filter
//! returns a `Step`, and only `pipeline::http` carries it out. Each filter has its own file. `ready` is the table of
//! filters; when a filter is added, its exhaustive matches show where.

pub mod merge;

pub mod ready;

pub mod buffer;
pub mod cors;
pub mod fault;
pub mod grpc_web;
pub mod health_check;
pub mod rbac;

pub mod step;
