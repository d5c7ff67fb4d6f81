//! Pure. Compiled HTTP filters and their decisions on a request's head, its response and its trailers. A filter returns a
//! `Step`, and only `pipeline::http` executes it. Each filter has its own file. `table` lists the filters; its matches
//! have no catch-all, so the compiler reports every place that a filter needs.

pub mod merge;

pub mod table;

pub mod buffer;
pub mod cors;
pub mod fault;
pub mod grpc_web;
pub mod health_check;
pub mod rbac;

pub mod step;
