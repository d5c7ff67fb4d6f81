//! The tasks that keep what requests read up to date: the token issuer's keys, the signing root, the server's own
//! certificate, and the metrics that tell when the root ends.

pub mod keys;
pub mod fetch;
pub mod reload;
pub mod serving;
pub mod expiry;
