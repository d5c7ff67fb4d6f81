//! Kubernetes YAML as `ostria` handles it: objects with their keys and kinds, and the files they come from.

pub mod read;

pub mod object;
