//! Byte streams between a socket and the stages: the first bytes can be inspected and are then read again, plain
//! and TLS streams look the same to a reader, and HTTP/2 connections are monitored for floods.

mod guard;

pub mod copy;

mod pipe;
mod frame_budget;
mod stream;

pub mod frames;
mod tls;
mod turn;

mod clock;
mod number;
mod prefixed;
mod space;

pub use clock::{now, uptime};
pub use guard::{Guarded, Monitor};
pub use number::number;
pub use prefixed::{Prefixed, hand_out};
pub use space::STEP;
pub use stream::{Stream, reset};
pub use tls::Tls;
pub use turn::Turn;
