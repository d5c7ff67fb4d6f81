//! The command `ostria`: a mesh on one machine. `ostria up` is a small kubelet that runs the pods of
//! Kubernetes YAML as processes in network namespaces, with the control plane beside them; the other verbs
//! look at it and change it with kubectl's habits. It never decides anything about the mesh itself: that is
//! the control plane's job, here as on Kubernetes.

pub mod app;

pub mod verb;

pub mod up;

pub mod inside;
pub mod client;
pub mod view;

pub mod kubelet;

pub mod manifest;

pub mod wire;
pub mod state;

pub mod beneath;

pub mod arguments;
pub mod failure;
