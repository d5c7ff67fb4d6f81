//! A port of this machine that leads to a Service of the cluster.

use std::net::SocketAddr;

use tests::port;
use tests::program::{Running, terminate};

/// A running `kubectl port-forward`.
pub(crate) struct Forward {
    running: Running,
    address: SocketAddr,
}

impl Forward {
    /// Starts to forward a port; requests before it listens fail and can be tried again.
    pub(crate) fn start(namespace: &str, target: &str, to: u16) -> Self {
        let address = port::free_address();
        let ports = format!("{}:{to}", address.port());
        let running =
            Running::start("kubectl".as_ref(), &["-n", namespace, "port-forward", target, &ports], &[]);
        Self { running, address }
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        terminate(self.running.pid());
    }
}
