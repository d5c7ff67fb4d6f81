//! Pure. Output for users: tables as kubectl and istioctl print them, and the final message of `up`.

pub mod sync;

pub mod describe;
pub mod events;
pub mod findings;
pub mod form;
pub mod forward;
pub mod get;
pub mod proxy;
pub mod rollout;
pub mod settle;
pub mod status;
pub mod summary;
pub mod version;

pub mod jsonpath;
pub mod sheet;

pub mod colour;
pub mod table;
