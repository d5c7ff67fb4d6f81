//! The proxy's DNS server: resolves names of the mesh from configuration, and forwards all other queries to the
//! system's name servers. Exists so that names without a DNS record (a ServiceEntry's host) resolve, and so that a
//! query for the mesh does not need the cluster's DNS.

mod server;

pub mod reply;

pub mod zone;

pub use server::{Dns, bind, serve};
