//! Reads a cluster for `ostria check`, `install` and `uninstall`, and tries its webhooks. What is read becomes findings in
//! `check`. Nothing here changes the cluster but the probe, which works in a namespace of its own and deletes it, and the
//! removal of what an uninstallation leaves.

pub mod after;
pub mod before;
pub mod leftover;
pub mod probe;

pub mod release;
mod unsupported;

#[cfg(test)]
mod fake;
mod handshake;
mod read;
mod trial;
