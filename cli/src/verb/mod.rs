//! The verbs, a file for each.

pub mod apply;
pub mod completion;
pub mod crds;
pub mod delete;
pub mod down;
pub mod exec;
pub mod get;
pub mod logs;
pub mod proxy_config;
pub mod status;
pub mod up;
pub mod version;

pub mod print;
