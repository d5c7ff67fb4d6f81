//! The crypto provider of all processes.

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, LazyLock};

/// The crypto provider of all processes.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}
