//! Pure. HTTP filters made ready, and what each of them decides: on a request's head, on its response, at the end of
//! either. A filter asks for what it wants as a `Step`; only `pipeline::http` does anything. One file per filter;
//! `ready` is the table of them, and whoever adds one is led by the compiler from one match to the next.

pub mod merge;

pub mod ready;

pub mod cors;
pub mod fault;
pub mod grpc_web;
pub mod rbac;

pub mod step;
