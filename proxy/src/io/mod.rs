//! Byte streams between a socket and the stages: the first bytes that were looked at are read again, TLS or not makes
//! no difference to a reader, and connections are served by hyper on tokio.

mod executor;
mod stream;

pub mod copy;

pub use executor::{LocalExecutor, TokioTimer};
pub use stream::{Prefixed, Stream};
