//! The command `ostria`: a mesh on one machine. `ostria up` is a small kubelet: it runs the pods of Kubernetes YAML as
//! processes in network namespaces, and the control plane beside them. The other verbs show and change the mesh with
//! kubectl's conventions. This crate makes no decisions about the mesh itself. As on Kubernetes, the control plane
//! makes them.

pub mod app;

pub mod verb;

pub mod place;
pub mod up;
pub mod survey;
pub mod helm;

pub mod inside;
pub mod client;
pub mod view;

pub mod kubelet;
pub mod check;

pub mod manifest;

pub mod wire;
pub mod state;

pub mod beneath;
pub mod cgroup;
pub mod exchange;
pub mod review;
pub mod tls;

pub mod arguments;
pub mod failure;
