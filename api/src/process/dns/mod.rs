//! What the name servers of the mesh share, the node's under `ostria up` and each proxy's: the sockets with their limits,
//! and how an answer is built from a question. What is known of a name is theirs.

mod server;

pub mod message;

pub use server::{Answer, serve};
