//! Byte streams between a socket and the stages: the first bytes that were looked at are read again, TLS or not makes
//! no difference to a reader, and an HTTP/2 connection is watched for floods.

mod guard;

pub mod copy;

mod pipe;
mod purse;
mod stream;

pub mod frames;
mod tls;
mod turn;

mod clock;
mod number;
mod prefixed;
mod space;

pub use clock::now;
pub use guard::{Guarded, Warden};
pub use number::number;
pub use prefixed::{Prefixed, hand_out};
pub use space::STEP;
pub use stream::{Stream, reset};
pub use tls::Tls;
pub use turn::Turn;
