//! The proxy's DNS server: names of the mesh are answered from configuration, all others are asked of the system's
//! name servers. Exists so that names without a record anywhere (a ServiceEntry's host) resolve, and so that a query
//! for the mesh costs no trip to the cluster's DNS.

mod server;

pub mod reply;

pub mod zone;

pub use server::{Dns, bind, serve};
