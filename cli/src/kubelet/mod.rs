//! Pure. The decisions of a kubelet, its controllers and its proxy: which pods must exist, their names, addresses,
//! files and health. `up` carries them out.

pub mod check;

pub mod rules;
pub mod shape;
pub mod support;

pub mod reply;
pub mod workload;

pub mod event;
pub mod nat;

pub mod host_port;
pub mod probe;
pub mod resolve;

pub mod status;

pub mod service;

pub mod inject;
pub mod verdict;
pub mod volume;

pub mod hierarchy;

pub mod environment;
pub mod limit;
pub mod security;

pub mod delegation;
pub mod field;
pub mod name;

pub mod address;
pub mod backoff;
pub mod history;
pub mod logmark;
pub mod ending;
pub mod mount;
pub mod mountinfo;
pub mod template;
pub mod token;
