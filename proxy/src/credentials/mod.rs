//! The secrets of this proxy by name, and TLS configurations that look them up at each handshake. Exists so that a
//! renewed certificate or changed roots apply to the next handshake without a change of configuration, and without
//! disturbing open connections. Keys never leave this module: dumps hold names and dates only.

mod client;
mod server;

mod session;
mod verify;

mod file;
mod loaded;

pub use client::{client_config, own_certificate, server_name};
pub use loaded::{SecretInfo, SecretKind};
pub use server::{Own, Server, server_config};

use api::model::secret::SecretContent;
use arc_swap::ArcSwap;
use loaded::Loaded;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The current secrets by name. One writer at a time is expected (control); any number of handshakes may read.
#[derive(Debug, Default)]
pub struct Store {
    secrets: ArcSwap<BTreeMap<String, Arc<Loaded>>>,
    files: Mutex<BTreeMap<String, file::FileSecret>>,
}

impl Store {
    /// Creates a store without secrets.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Sets or replaces a secret. On an error the previous one stays.
    pub fn set(&self, name: &str, content: &SecretContent) -> Result<(), CredentialError> {
        let loaded = Arc::new(Loaded::parse(name, content)?);
        self.secrets.rcu(|secrets| {
            let mut next = BTreeMap::clone(secrets);
            next.insert(name.to_owned(), loaded.clone());
            next
        });
        Ok(())
    }

    /// Removes a secret; later handshakes that need it fail.
    pub fn remove(&self, name: &str) {
        self.secrets.rcu(|secrets| {
            let mut next = BTreeMap::clone(secrets);
            next.remove(name);
            next
        });
    }

    /// Whether the store has a secret of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.secrets.load().contains_key(name)
    }

    /// When the secret's first certificate expires.
    pub fn expiry(&self, name: &str) -> Option<SystemTime> {
        self.secrets.load().get(name).map(|loaded| loaded.info.not_after)
    }

    /// The public facts of every secret.
    pub fn dump(&self) -> Vec<SecretInfo> {
        self.secrets.load().values().map(|loaded| loaded.info.clone()).collect()
    }

    /// Reads file secrets again if their files have changed. Returns the errors; a secret that cannot be read keeps
    /// its last good version.
    pub fn reload_files(&self) -> Vec<CredentialError> {
        let mut files = self.files.lock().expect("no holder of this lock panics");
        let mut errors = vec![];
        for (name, source) in files.iter_mut() {
            match source.read_if_changed() {
                Ok(Some(content)) => errors.extend(self.set(name, &content).err()),
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Loads a secret from files under a name derived from them, and registers it for `reload_files`.
    fn add_file(&self, mut source: file::FileSecret) -> Result<String, CredentialError> {
        let name = source.name();
        let mut files = self.files.lock().expect("no holder of this lock panics");
        if !files.contains_key(&name) {
            if let Some(content) = source.read_if_changed()? {
                self.set(&name, &content)?;
            }
            files.insert(name.clone(), source);
        }
        Ok(name)
    }

    fn find(&self, name: &str) -> Option<Arc<Loaded>> {
        self.secrets.load().get(name).cloned()
    }
}

/// Why a secret or a TLS context cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CredentialError {
    /// The secret's content is invalid.
    #[error("secret `{name}` cannot be used")]
    Secret {
        /// The secret's name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: api::process::tls::TlsError,
    },
    /// A file cannot be read.
    #[error("`{path}` cannot be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// The system's error message.
        reason: String,
    },
    /// The TLS context has a setting that is not supported or not valid.
    #[error("{path}: {reason}")]
    Context {
        /// The field of the TLS context.
        path: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A handshake needs a secret that the store does not have.
    #[error("secret `{0}` has not arrived yet")]
    Missing(String),
    /// The peer's certificate has none of the accepted names.
    #[error("the peer's certificate is for {found}, which is none of the accepted names")]
    Name {
        /// The names in the certificate.
        found: String,
    },
}

impl CredentialError {
    /// Converts the error into a handshake error.
    fn refuse(self) -> rustls::Error {
        rustls::CertificateError::Other(rustls::OtherError(Arc::new(self))).into()
    }
}

#[cfg(test)]
pub(crate) mod tests;
