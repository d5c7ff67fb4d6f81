//! Background tasks that keep the state used by requests up to date: the token issuer's keys, the signing root, the
//! server's own certificate, and the metrics about expiry. In a cluster also the trust bundles of its namespaces.

pub mod keys;
pub mod fetch;
pub mod bundles;
pub mod secrets;
pub mod reload;
pub mod serving;
pub mod expiry;
