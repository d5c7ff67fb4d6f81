//! Kubernetes YAML: objects with their keys and kinds, and the files that define them.

pub mod read;

pub mod template;

pub mod object;
