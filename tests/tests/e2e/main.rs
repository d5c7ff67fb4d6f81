//! Installs the mesh on a Kubernetes cluster as a user would, runs bookinfo in it, and takes it away again.
//!
//! The test needs a cluster (`KUBECONFIG`), `kubectl`, `helm`, and images that the cluster can start, so `make e2e` runs it
//! and `make test` does not. It works in a namespace of its own and in `istio-system`, which must hold no mesh.
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure time and read their settings where they need them"
)]

mod bookinfo;
mod cluster;
mod forward;
