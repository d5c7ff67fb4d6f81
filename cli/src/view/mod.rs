//! Pure. How things look: tables as kubectl and istioctl print them, and what `up` says at its end.

pub mod describe;
pub mod get;
pub mod proxy;
pub mod settle;
pub mod status;
pub mod summary;

pub mod sheet;
pub mod table;
