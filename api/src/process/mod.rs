//! The shell that every server process wears: logging, readiness, metrics, the admin pages, TLS, and serving with a
//! graceful end. Exists so that five binaries start, report and stop alike, and so that operators learn it once.

pub mod dns;
pub mod enroll;

pub mod admin;
pub mod channel;
pub mod serve;
pub mod tls;

pub mod metrics;
pub mod ready;
pub mod log;
pub mod shutdown;
pub mod open_files;
pub mod duration;
