//! The bookstore that service mesh users know, as one small binary: a page that asks `details` and
//! `reviews`, and reviews that ask `ratings`.
//!
//! It exists so that routing, faults, timeouts and identities can be tried on something visible.
//! It never knows that a mesh is there: plain HTTP to the services' names, headers passed on.
//! Modules are listed top-down: a module uses only those below it.

pub mod app;

pub mod role;

pub mod upstream;

pub mod answer;
pub mod page;
pub mod session;

pub mod book;
pub mod forward;

pub mod config;
