//! The secrets of this proxy by name, and TLS configurations that look them up at each handshake. Exists so that a
//! renewed certificate or changed roots apply to the next handshake without a change of configuration, and without
//! disturbing open connections. Keys never leave this module: dumps hold names and dates only.

mod client;
mod server;

mod session;
mod verify;

mod store;

mod file;
mod loaded;

mod error;

pub use client::{client_config, own_certificate, server_name};
pub use error::CredentialError;
pub use loaded::{SecretInfo, SecretKind};
pub use server::{Own, Server, server_config};
pub use store::Store;

#[cfg(test)]
pub(crate) mod tests;
