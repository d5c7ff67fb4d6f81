//! A namespace of one test.

use crate::cluster::{kubectl, must, state};

/// A namespace that is deleted when the test ends.
pub(crate) struct Namespace(&'static str);

impl Namespace {
    /// Makes a namespace whose pods get a sidecar.
    pub(crate) fn with_sidecars(name: &'static str) -> Self {
        let namespace = Self::plain(name);
        must(&["label", "namespace", name, "istio-injection=enabled"]);
        namespace
    }

    /// Makes a namespace whose pods get none.
    pub(crate) fn plain(name: &'static str) -> Self {
        must(&["create", "namespace", name]);
        Self(name)
    }

    /// Takes over a namespace that a sample has made.
    pub(crate) fn of_sample(name: &'static str) -> Self {
        Self(name)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", state(self.0));
        }
        if let Err(error) = kubectl(&["delete", "namespace", self.0, "--wait=false", "--ignore-not-found"]) {
            eprintln!("the namespace stays: {error}");
        }
    }
}
