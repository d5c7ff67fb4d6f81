//! The shell that all server processes share: logging, readiness, metrics, admin pages, TLS, and serving with a
//! graceful shutdown. Exists so that all binaries start, report and stop in the same way.

pub mod own_certificate;

pub mod dns;
pub mod enroll;

pub mod admin;
pub mod ask;
pub mod channel;
pub mod serve;
pub mod tls;

pub mod metrics;
pub mod ready;
pub mod log;
pub mod shutdown;
pub mod open_files;
pub mod duration;
