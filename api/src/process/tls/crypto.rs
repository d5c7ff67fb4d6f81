//! The one crypto provider of every process.

use rustls::crypto::CryptoProvider;
use std::sync::{Arc, LazyLock};

/// The crypto provider of every process. Choosing another is a change of this function alone.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    PROVIDER.clone()
}
